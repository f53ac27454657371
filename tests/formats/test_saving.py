"""A pruned file is the same file with the pruned values overwritten, for every way to store them.

Each expected file is written anew from the expected values, by the encoder that wrote the input.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tests.formats.files_made import (
    BFLOAT16,
    DOUBLE,
    ENCODINGS,
    FLOAT,
    FLOAT16,
    INT8,
    NAMES,
    UINT8,
    Array,
    field,
    graph_of,
    model_of,
    number_field,
    one_weight,
    packed,
    pieces,
    prune,
    read,
    real,
    scaling,
    some,
    tensor,
    varint,
    zeroed,
)

SMALL, LARGE = (3, 5), (40, 48)
FLOATS = (FLOAT, DOUBLE, FLOAT16, BFLOAT16)
SCALE = np.array([0.25], np.float32)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", FLOATS, ids=NAMES.get)
@pytest.mark.parametrize(
    ("shape", "sparsity"), [(SMALL, 0.0), (SMALL, 0.1), (LARGE, 0.5), (SMALL, 0.99)]
)
def test_floats_are_zeroed_where_they_lie(
    tmp_path: Path, encoding: str, kind: int, shape: tuple[int, int], sparsity: float
) -> None:
    values = some(kind, shape)
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    content = one_weight(kind, tensor("w", kind, values, encoding), shape)
    path.write_bytes(content)
    report = prune(path, output, sparsity)
    expected = zeroed(values, np.abs(real(kind, values)), sparsity)
    # A varint keeps its width, if need be by leading zeros: nothing moves in the file.
    patched = one_weight(kind, tensor("w", kind, expected, encoding, values), shape)
    assert output.read_bytes() == patched
    assert len(patched) == len(content)
    assert path.read_bytes() == content
    assert read(output).tobytes() == expected.tobytes()
    assert read(path).tobytes() == values.tobytes()
    (row,) = report.tensors
    assert (row.weight.path, row.mask_zeros) == ("w", round(sparsity * values.size))
    assert row.tally.zeros == np.count_nonzero(real(kind, expected) == 0)
    assert row.tally.zeros_before == 2
    assert np.isclose(row.tally.squares, np.sum(real(kind, values) ** 2))
    gone = real(kind, values) - real(kind, expected)
    assert np.isclose(row.tally.removed, np.sum(gone**2))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("kind", "zero"), [(INT8, 0), (INT8, -3), (INT8, 100), (UINT8, 0), (UINT8, 128)]
)
@pytest.mark.parametrize(("shape", "sparsity"), [(SMALL, 0.0), (LARGE, 0.5), (SMALL, 0.9)])
def test_quantised_values_become_the_zero_point(
    tmp_path: Path,
    encoding: str,
    kind: int,
    zero: int,
    shape: tuple[int, int],
    sparsity: float,
) -> None:
    values = some(kind, shape)
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    others = scaling(kind, np.array([zero]), SCALE)
    content = one_weight(kind, tensor("w", kind, values, encoding), shape, *others)
    path.write_bytes(content)
    report = prune(path, output, sparsity)
    magnitude = np.abs(values.astype(np.float64) - zero) * 0.25
    expected = zeroed(values, magnitude, sparsity, zero)
    # A zero point that takes more bytes than the value had makes the file longer.
    patched = one_weight(kind, tensor("w", kind, expected, encoding, values), shape, *others)
    assert output.read_bytes() == patched
    assert read(output).tobytes() == expected.tobytes()
    (row,) = report.tensors
    assert row.tally.zeros == np.count_nonzero(expected == zero)
    assert row.mask_zeros == round(sparsity * values.size)
    fits = zero in (0, 100) or encoding == "raw" or not sparsity
    assert len(patched) == len(content) if fits else len(patched) > len(content)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", [INT8, UINT8], ids=NAMES.get)
@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=["small", "large"])
def test_every_channel_is_zeroed_to_its_own_zero_point(
    tmp_path: Path, encoding: str, kind: int, shape: tuple[int, int]
) -> None:
    values = some(kind, shape)
    zero = np.arange(shape[1]) * (2 if kind == UINT8 else -2)
    scale = 1 + np.arange(shape[1]) / 8
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    others = scaling(kind, zero, scale)
    weight = tensor("w", kind, values, encoding)
    path.write_bytes(one_weight(kind, weight, shape, *others))
    report = prune(path, output, 0.5)
    magnitude = np.abs(values.astype(np.float64) - zero) * scale
    expected = zeroed(values, magnitude, 0.5, zero.astype(values.dtype))
    assert report.zeros == np.count_nonzero(expected == zero)
    weight = tensor("w", kind, expected, encoding, values)
    assert output.read_bytes() == one_weight(kind, weight, shape, *others)
    assert read(output).tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", FLOATS, ids=NAMES.get)
def test_a_pruned_minus_zero_becomes_plain_zero(tmp_path: Path, kind: int) -> None:
    values = some(kind, (2, 4))
    values.reshape(-1)[[0, 6]] = values.reshape(-1)[4]  # three of -0.0
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(one_weight(kind, tensor("w", kind, values), (2, 4)))
    report = prune(path, output, 3 / 8)
    bits = read(output).reshape(-1).view(f"u{values.itemsize}")
    # In order of place 0, 1 and 4 go; 6 stays the -0.0 that it was.
    assert bits[[0, 1, 4]].tolist() == [0, 0, 0]
    assert bits[6] == 1 << (values.itemsize * 8 - 1)
    assert report.tensors[0].tally.zeros == 4
    assert report.tensors[0].mask_zeros == 3


def test_zeros_that_were_there_stay_although_the_mask_has_fewer(tmp_path: Path) -> None:
    values = np.zeros((4, 5), np.float32)
    values[0, :3] = 1, 2, 3
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(one_weight(FLOAT, tensor("w", FLOAT, values), (4, 5)))
    report = prune(path, output, 0.25)
    assert output.read_bytes() == path.read_bytes()
    assert (report.tensors[0].tally.zeros, report.tensors[0].mask_zeros) == (17, 5)


def test_what_lies_between_and_behind_the_values_stays(tmp_path: Path) -> None:
    values = some(FLOAT, LARGE)
    unknown = field(3000, b"from the future") + number_field(3001, 5)

    def content(weight: Array) -> bytes:
        parts = pieces(FLOAT, weight)
        inner = unknown.join(packed(4, 5, parts[i : i + 480]) for i in range(0, 1920, 480))
        dims = number_field(1, 40) + number_field(1, 48) + number_field(2, FLOAT)
        own = field(8, b"w") + inner + dims + field(12, b"doc") + unknown
        return unknown + one_weight(FLOAT, own, LARGE) + unknown

    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(content(values))
    prune(path, output, 0.7)
    assert output.read_bytes() == content(zeroed(values, np.abs(values), 0.7))


def test_the_floats_of_a_constant_node_are_patched(tmp_path: Path) -> None:
    values = some(FLOAT, (300,))

    def content(floats: Array) -> bytes:
        graph = graph_of(FLOAT, (300, 1), ["column"])
        constant = helper.make_node("Constant", [], ["w"], value_floats=floats.tolist())
        column = helper.make_node("Unsqueeze", ["w", "axes"], ["column"])
        graph.node.insert(0, column)
        graph.node.insert(0, constant)
        return model_of([tensor("axes", 7, np.array([1], np.int64))], graph)

    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(content(values))
    report = prune(path, output)
    assert [row.weight.path for row in report.tensors] == ["w"]
    assert output.read_bytes() == content(zeroed(values, np.abs(values), 0.5))


def test_several_tensors_are_ranked_together_and_patched_apart(tmp_path: Path) -> None:
    kinds = {"a": "raw", "b": "unpacked", "c": "packed", "d": "mixed"}
    values = {name: some(FLOAT, (3, 5), seed) for seed, name in enumerate(kinds)}

    def content(weights: dict[str, Array]) -> bytes:
        tensors = [tensor(name, FLOAT, weights[name], kinds[name]) for name in kinds]
        return model_of(tensors, graph_of(FLOAT, (3, 5), list(kinds)))

    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(content(values))
    prune(path, output, 0.5)
    together = np.stack(list(values.values()))
    expected = zeroed(together, np.abs(together), 0.5)
    assert output.read_bytes() == content(dict(zip(kinds, expected, strict=True)))


def test_a_splice_in_one_tensor_moves_the_patches_of_the_others(tmp_path: Path) -> None:
    first, second = some(UINT8, LARGE), some(UINT8, LARGE, 1)
    others = scaling(UINT8, np.array([128]), SCALE)

    def content(a: Array, b: Array) -> bytes:
        tensors = [
            tensor("a", UINT8, a, "split", first),
            tensor("b", UINT8, b, "raw"),
            tensor("c", UINT8, b, "packed", second),
        ]
        return model_of([*tensors, *others], graph_of(UINT8, LARGE, ["a", "b", "c"]))

    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    path.write_bytes(content(first, second))
    prune(path, output, 0.5)
    together = np.stack([first, second, second])
    magnitude = np.abs(together.astype(np.float64) - 128)
    a, b, c = zeroed(together, magnitude, 0.5, 128)
    assert [np.array_equal(read(output, name), v) for name, v in (("a", a), ("b", b))]
    assert np.array_equal(read(output, "c"), c)
    assert len(output.read_bytes()) > len(path.read_bytes())
    onnx.checker.check_model(output)


def test_onnx_runtime_reads_overlong_zeros(tmp_path: Path) -> None:
    values = some(FLOAT16, LARGE)
    graph = graph_of(FLOAT, LARGE, ["wide"])
    graph.node.insert(0, helper.make_node("Cast", ["w"], ["wide"], to=FLOAT))
    path, output, again = (tmp_path / f"{name}.onnx" for name in ("in", "out", "again"))
    path.write_bytes(model_of([tensor("w", FLOAT16, values, "packed")], graph))
    prune(path, output, 0.5)
    assert output.read_bytes().count(varint(0, 2)) > 900
    onnx.save(onnx.load(output), again)
    assert len(again.read_bytes()) < len(output.read_bytes())
    x = np.arange(80, dtype=np.float32).reshape(2, 40)
    found = [
        onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        for model in (output, again)
    ]
    assert np.array_equal(*found)
    expected = zeroed(values, np.abs(values), 0.5).astype(np.float32)
    assert np.allclose(found[0], x @ expected, rtol=1e-3, atol=1e-3)

"""New values in place of those of a file, for every way to store them.

Each expected file is written anew from the expected values, by the encoder that wrote the input.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import helper

from onnxprune.errors import OutputError, UnsupportedError
from onnxprune.formats import reading_back
from onnxprune.formats.edits import Edit, Edits
from onnxprune.formats.onnx_data import encode_floats
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.saving import Saving
from onnxprune.types import Tally
from tests import models
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
    graph_of,
    model_of,
    one_weight,
    outside,
    pieces,
    read,
    real,
    scaling,
    some,
    tensor,
)

SHAPE = (12, 10)
SIZE = 120
FLOATS = (FLOAT, DOUBLE, FLOAT16, BFLOAT16)
TYPES: dict[int, Any] = {
    FLOAT: "f4",
    DOUBLE: "f8",
    FLOAT16: "f2",
    BFLOAT16: ml_dtypes.bfloat16,
}
FALLEN = np.arange(SIZE) % 5 == 0
CHANGED = np.arange(SIZE) % 3 != 0
"""Of these values some fall, too."""


def fallen(start: int, values: Array) -> Array:
    return FALLEN[start : start + values.size]


def write(path: Path, edits: Edits) -> tuple[Path, dict[str, Tally]]:
    output = path.with_name("out.onnx")
    with load_onnx(path) as model:
        done = Saving(model, output, edits)
        done.run()
    return output, done.tallies


def encoded(kind: int, values: Array) -> Array:
    """Encode by numpy, without the package."""
    made = values.astype("f4").astype(TYPES[kind]) if kind == BFLOAT16 else values
    return made.astype(TYPES[kind]).view(np.uint16 if kind == BFLOAT16 else TYPES[kind])


@pytest.mark.parametrize("precision", ["f4", "f8"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", FLOATS, ids=NAMES.get)
def test_new_floats_take_the_place_of_old_ones(
    tmp_path: Path, kind: int, encoding: str, precision: str
) -> None:
    stored = some(kind, SHAPE).reshape(-1)
    before = real(kind, stored)
    new = np.random.default_rng(3).standard_normal(SIZE).astype("f4").astype("f8")
    given = np.where(CHANGED, new, before)
    given[4] = 0.0  # it is -0.0 in the file, and stays that
    expected = np.where(CHANGED, encoded(kind, given), stored)
    expected[4] = stored[4]
    expected = np.where(FALLEN, 0, expected).astype(stored.dtype).reshape(SHAPE)
    path = tmp_path / "in.onnx"
    weight = tensor("w", kind, stored.reshape(SHAPE), encoding)
    path.write_bytes(one_weight(kind, weight, SHAPE))
    output, tallies = write(path, {"w": Edit(fallen, given.astype(precision))})
    weight = tensor("w", kind, expected, encoding, stored.reshape(SHAPE))
    assert output.read_bytes() == one_weight(kind, weight, SHAPE)
    assert read(output).tobytes() == expected.tobytes()
    after = real(kind, expected).reshape(-1)
    assert tallies["w"].zeros == np.count_nonzero(after == 0)
    gone = before[after == 0]
    assert np.isclose(tallies["w"].removed, np.sum(gone**2))
    assert np.isclose(tallies["w"].squares, np.sum(before**2))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", [INT8, UINT8], ids=NAMES.get)
def test_quantised_values_are_rounded_to_the_steps_of_their_channel(
    tmp_path: Path, kind: int, encoding: str
) -> None:
    stored = some(kind, SHAPE)
    zero = np.arange(SHAPE[1]) * (3 if kind == UINT8 else -2)
    scale = (1 + np.arange(SHAPE[1]) / 8).astype("f4")
    limits = np.iinfo(stored.dtype)
    before = (stored.astype("f8") - zero) * scale
    new = before + np.random.default_rng(1).standard_normal(SHAPE) * 20
    new[0, :2] = 1e9, -1e300
    given = np.where(CHANGED.reshape(SHAPE), new, before)
    steps = np.clip(np.rint(given / scale) + zero, limits.min, limits.max)
    expected = np.where(FALLEN.reshape(SHAPE), zero, steps).astype(stored.dtype)
    others = scaling(kind, zero, scale)
    path = tmp_path / "in.onnx"
    path.write_bytes(one_weight(kind, tensor("w", kind, stored, encoding), SHAPE, *others))
    output, tallies = write(path, {"w": Edit(fallen, given.reshape(-1))})
    weight = tensor("w", kind, expected, encoding, stored)
    assert output.read_bytes() == one_weight(kind, weight, SHAPE, *others)
    assert tallies["w"].zeros == np.count_nonzero(expected == zero)


def test_values_equal_to_the_files_keep_its_bytes(tmp_path: Path) -> None:
    stored = some(INT8, (4, 3))
    # As 32 bits, negative numbers take five bytes instead of ten.
    parts = [
        piece if len(piece) < 10 else piece[:4] + b"\x0f" for piece in pieces(INT8, stored)
    ]
    weight = tensor("w", INT8, stored[:0], "packed").replace(b"\x2a\x00", b"")
    weight = weight.replace(b"\x08\x00\x08\x03", b"\x08\x04\x08\x03")
    weight += b"\x2a" + bytes([sum(map(len, parts))]) + b"".join(parts)
    others = scaling(INT8, np.array([2]), np.array([0.5]))
    path = tmp_path / "in.onnx"
    path.write_bytes(one_weight(INT8, weight, (4, 3), *others))
    same = (stored.reshape(-1).astype("f4") - 2) * 0.5
    output, _ = write(path, {"w": Edit(values=same)})
    assert output.read_bytes() == path.read_bytes()


def test_values_of_less_precision_change_only_what_they_can_tell(tmp_path: Path) -> None:
    stored = some(DOUBLE, SHAPE)
    path = tmp_path / "in.onnx"
    path.write_bytes(one_weight(DOUBLE, tensor("w", DOUBLE, stored), SHAPE))
    given = stored.reshape(-1).astype("f4")
    given[7] += 1
    output, _ = write(path, {"w": Edit(values=given)})
    stored.reshape(-1)[7] = given[7]
    assert read(output).tobytes() == stored.tobytes()


def test_doubles_are_rounded_once(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    values = np.ldexp(random.standard_normal(300), random.integers(-140, 100, 300))
    near = 1 + np.array([1, 3, 5, 7]) / 256  # half-way between neighbours
    tiny = np.ldexp(1.0, -60)
    values = np.concatenate(
        [values, near, near + tiny, near - tiny, -near - tiny, [0, 1e-300]]
    )
    made = encode_floats("BFLOAT16", values, "w")
    grid = np.arange(0x7F80, dtype=np.uint32) << 16
    known = [Fraction(float(each)) for each in grid.view("f4")]
    for value, bits in zip(values.tolist(), made.tolist(), strict=True):
        assert (bits >> 15) == (value < 0)
        place = bits & 0x7FFF
        off = abs(Fraction(abs(value)) - known[place])
        for other in {max(place - 1, 0), min(place + 1, 0x7F7F)} - {place}:
            further = abs(Fraction(abs(value)) - known[other])
            assert off < further or (off == further and place % 2 == 0)


@pytest.mark.parametrize("kind", FLOATS, ids=NAMES.get)
def test_what_a_type_cannot_hold_is_refused(tmp_path: Path, kind: int) -> None:
    stored = some(kind, SHAPE)
    path = tmp_path / "in.onnx"
    path.write_bytes(one_weight(kind, tensor("w", kind, stored), SHAPE))
    largest = {FLOAT: 3.4028234e38, DOUBLE: 1e308, FLOAT16: 65504.0, BFLOAT16: 3.3895e38}
    given = real(kind, stored).reshape(-1)
    given[1] = largest[kind]
    write(path, {"w": Edit(values=given)})
    wrong = {"NaN": np.nan, "Inf": -np.inf}
    if kind != DOUBLE:
        wrong["is too large for "] = -1.01 * largest[kind]
    for message, value in wrong.items():
        given[1] = value
        with pytest.raises(OutputError, match=f"'w': .*{message}"):
            write(path, {"w": Edit(values=given)})


def test_what_falls_may_have_been_anything(tmp_path: Path) -> None:
    stored = some(FLOAT16, SHAPE)
    path = tmp_path / "in.onnx"
    path.write_bytes(one_weight(FLOAT16, tensor("w", FLOAT16, stored), SHAPE))
    given = real(FLOAT16, stored).reshape(-1)
    given[FALLEN] = np.nan
    output, _ = write(path, {"w": Edit(fallen, given)})
    assert np.array_equal(read(output).reshape(-1), np.where(FALLEN, 0, stored.reshape(-1)))


def test_what_is_no_number_in_the_file_may_stay(tmp_path: Path) -> None:
    stored = some(FLOAT, SHAPE)
    stored.reshape(-1)[:2] = np.nan, np.inf
    path = tmp_path / "in.onnx"
    path.write_bytes(one_weight(FLOAT, tensor("w", FLOAT, stored), SHAPE))
    given = stored.reshape(-1).copy()
    given[2] = 7
    output, _ = write(path, {"w": Edit(values=given)})
    stored.reshape(-1)[2] = 7
    assert read(output).tobytes() == stored.tobytes()


def test_a_kept_value_may_round_to_zero(tmp_path: Path) -> None:
    stored = some(FLOAT16, SHAPE)
    path = tmp_path / "in.onnx"
    path.write_bytes(one_weight(FLOAT16, tensor("w", FLOAT16, stored), SHAPE))
    given = np.full(SIZE, 1e-12)
    _, tallies = write(path, {"w": Edit(values=given)})
    assert tallies["w"].zeros == SIZE


@pytest.mark.parametrize("encoding", ["raw", "split", "unpacked"])
def test_tensors_of_many_chunks_are_changed_alike(tmp_path: Path, encoding: str) -> None:
    shape = (300, 901)
    stored, given = some(FLOAT, shape), some(FLOAT, shape, 1)
    path = tmp_path / "in.onnx"
    path.write_bytes(one_weight(FLOAT, tensor("w", FLOAT, stored, encoding), shape))
    output, _ = write(path, {"w": Edit(values=given.reshape(-1))})
    # The zeros of the one are those of the other, and keep their signs.
    assert output.read_bytes() == one_weight(FLOAT, tensor("w", FLOAT, given, encoding), shape)


def test_the_floats_of_a_constant_node_take_new_values(tmp_path: Path) -> None:
    def content(floats: Array) -> bytes:
        graph = graph_of(FLOAT, (30, 1), ["column"])
        constant = helper.make_node("Constant", [], ["w"], value_floats=floats.tolist())
        graph.node.insert(0, helper.make_node("Unsqueeze", ["w", "axes"], ["column"]))
        graph.node.insert(0, constant)
        return model_of([tensor("axes", 7, np.array([1], np.int64))], graph)

    path = tmp_path / "in.onnx"
    path.write_bytes(content(some(FLOAT, (30,))))
    output, _ = write(path, {"w": Edit(values=some(FLOAT, (30,), 1))})
    assert output.read_bytes() == content(some(FLOAT, (30,), 1))


def biased(tensors: list[bytes]) -> bytes:
    graph = graph_of(FLOAT, SHAPE)
    graph.node.append(helper.make_node("Add", ["w_y", "b"], ["y"]))
    graph.output[0].name = "y"
    return model_of(tensors, graph)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bias_changes_as_a_weight_does(tmp_path: Path, encoding: str) -> None:
    weight = tensor("w", FLOAT, some(FLOAT, SHAPE))
    old, new = some(FLOAT, (10,)), some(FLOAT, (10,), 1)
    path = tmp_path / "in.onnx"
    path.write_bytes(biased([tensor("b", FLOAT, old, encoding), weight]))
    output, _ = write(path, {"b": Edit(values=new)})
    assert output.read_bytes() == biased([tensor("b", FLOAT, new, encoding), weight])


def test_a_splice_in_a_bias_moves_the_weight_behind_it(tmp_path: Path) -> None:
    weight, other = some(FLOAT, SHAPE), some(FLOAT, SHAPE, 1)
    small, large = np.full(10, 2.0**-24), some(FLOAT16, (10,), 1)

    def content(bias: Array, before: Array, values: Array) -> bytes:
        made = tensor("b", FLOAT16, bias.astype("f2"), "packed", before.astype("f2"))
        return biased([made, tensor("w", FLOAT, values)])

    path = tmp_path / "in.onnx"
    path.write_bytes(content(small, small, weight))
    edits = {
        "b": Edit(values=large.astype("f4")),
        "w": Edit(values=other.reshape(-1)),
    }
    output, _ = write(path, edits)
    assert output.read_bytes() == content(large, small, other)
    assert output.stat().st_size > path.stat().st_size


def test_external_values_change_where_they_lie(tmp_path: Path) -> None:
    old = some(FLOAT, (130,))
    (tmp_path / "w.bin").write_bytes(b"?" * 64 + old.tobytes() + b"!" * 9)
    tensors = [
        outside("w", FLOAT, SHAPE, location="w.bin", offset=64, length=480),
        outside("b", FLOAT, (10,), location="w.bin", offset=544, length=40),
    ]
    path = tmp_path / "in.onnx"
    path.write_bytes(biased(tensors))
    new = some(FLOAT, (10,), 1)
    output, _ = write(path, {"b": Edit(values=new)})
    (data,) = tmp_path.glob("out-*.data")
    assert data.read_bytes() == b"?" * 64 + old[:120].tobytes() + new.tobytes() + b"!" * 9
    assert read(output, "b").tobytes() == new.tobytes()


def test_constants_everywhere_have_values(tmp_path: Path) -> None:
    then = models.graph(
        [models.node("Add x inner -> t")], None, "t", [models.weight("inner", 5)]
    )
    other = models.graph(
        [
            models.node("Constant -> held", value=models.weight("", 5)),
            models.node("Add x held -> e"),
        ],
        None,
        "e",
    )
    nodes = [
        models.node("Constant -> scalar", value_float=2.0),
        models.node("If choice -> h", "if", then_branch=then, else_branch=other),
        models.node("F h -> k", domain="local"),
        models.node("BatchNormalization k s b m v -> y"),
    ]
    body = [
        models.node("Constant -> fixed", value=models.weight("", 5)),
        models.node("Add a fixed -> c"),
    ]
    tensors = [models.weight(name, 5) for name in "sbmv"]
    tensors.append(models.constant("choice", True, bool))
    proto = models.model(
        nodes, {"x": [2, 5]}, "y", tensors, [models.function("F", "a -> c", body)]
    )
    path = models.save(tmp_path / "in.onnx", proto)
    paths = ["if.then_branch/inner", "if.else_branch/held", "function:F/fixed", *"sbmv"]
    new = {path: some(FLOAT, (5,), seed) for seed, path in enumerate(paths)}
    output, _ = write(path, {name: Edit(values=values) for name, values in new.items()})
    with load_onnx(output) as model:
        for name, values in new.items():
            assert model.editable(name) is None
            assert model.values(name, 0, 5).tobytes() == values.tobytes()
        assert model.editable("choice") == "is of type bool, whose values stay"
        assert model.editable("scalar") == "is no constant of the model"
        assert model.editable("nothing") == "is no constant of the model"
    with pytest.raises(UnsupportedError, match="'choice' is of type bool"):
        write(path, {"choice": Edit(values=np.zeros(1))})
    with pytest.raises(OutputError, match="'s': 3 values for 5 elements"):
        write(path, {"s": Edit(values=np.zeros(3))})


def test_tensors_that_share_bytes_are_not_edited(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(some(FLOAT, (140,)).tobytes())
    entries = [("w", SHAPE, 0), ("b", (10,), 480), ("c", (10,), 480), ("d", (10,), 520)]
    tensors = [
        outside(name, FLOAT, shape, location="w.bin", offset=offset)
        for name, shape, offset in entries
    ]
    tensors.append(tensor("n", FLOAT, np.zeros((0,), "f4")))
    path = tmp_path / "in.onnx"
    path.write_bytes(biased(tensors))
    with load_onnx(path) as model:
        found = {name: model.editable(name) for name in "wbcdn"}
    assert found == {
        "w": None,
        "b": "shares bytes with 'c', which is not pruned",
        "c": "shares bytes with 'b', which is not pruned",
        "d": None,
        "n": "has no values",
    }
    with pytest.raises(UnsupportedError, match="'b' shares bytes with 'c'"):
        write(path, {"b": Edit(values=np.zeros(10))})


def test_a_twin_of_a_weight_changes_with_it_only(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(some(FLOAT, SHAPE).tobytes())
    tensors = [outside(name, FLOAT, SHAPE, location="w.bin") for name in "ab"]
    path = tmp_path / "in.onnx"
    path.write_bytes(model_of(tensors, graph_of(FLOAT, SHAPE, ["a", "b"])))
    with load_onnx(path) as model:
        assert model.editable("a") is None
        assert model.editable("b") == "has the bytes of another weight, with which it changes"
    new = some(FLOAT, SHAPE, 1)
    output, _ = write(path, {"a": Edit(values=new.reshape(-1))})
    assert read(output, "b").tobytes() == new.tobytes()


def test_integers_that_are_no_weights_are_not_edited(tmp_path: Path) -> None:
    path = tmp_path / "in.onnx"
    others = scaling(INT8, np.array([1]), np.array([0.5]))
    path.write_bytes(one_weight(INT8, tensor("w", INT8, some(INT8, SHAPE)), SHAPE, *others))
    with load_onnx(path) as model:
        assert model.editable("w") is None
        assert model.editable("zero") == "is of type int8, whose values stay"


def test_other_values_than_were_written_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.onnx"
    path.write_bytes(one_weight(FLOAT, tensor("w", FLOAT, some(FLOAT, SHAPE)), SHAPE))
    monkeypatch.setattr(reading_back, "value_checksum", lambda model, name: 7)
    with pytest.raises(OutputError, match="'w': other values were read back"):
        write(path, {"w": Edit(values=np.ones(SIZE))})
    write(path, {"w": Edit(fallen)})  # these are counted

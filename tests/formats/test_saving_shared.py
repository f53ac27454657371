"""Tensors over the same bytes of a data file, files of several names, and runs repeated."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from onnxprune.errors import UnsupportedError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.pruning import Settings, prune_file
from onnxprune.recipe import make_recipe
from tests.formats.data_files import SHAPE, hashes, one_file, runs_alike, write
from tests.formats.files_made import (
    FLOAT,
    FLOAT16,
    INT8,
    graph_of,
    model_of,
    number_field,
    outside,
    prune,
    read,
    some,
    tensor,
    zeroed,
)


def over(folder: Path, *places: tuple[str, int], extra: bytes = b"") -> Path:
    """Write a model whose weights `a`, `b`, ... lie at such places of data files."""
    (folder / "w.bin").write_bytes(some(FLOAT, (40, 9)).tobytes())
    names = [chr(ord("a") + index) for index in range(len(places))]
    tensors = [
        outside(name, FLOAT, SHAPE, location=at, offset=offset, length=288)
        for name, (at, offset) in zip(names, places, strict=True)
    ]
    return write(folder, [*tensors, *([extra] if extra else [])], names)


def test_weights_over_the_same_bytes_are_one(tmp_path: Path) -> None:
    path = over(tmp_path, ("w.bin", 288), ("w.bin", 0), ("w.bin", 288), ("w.bin", 288))
    first, second = read(path, "a"), read(path, "b")
    report = prune(path, tmp_path / "out.onnx")
    assert [row.weight.path for row in report.tensors] == ["a", "b"]
    reason = "the same bytes as another weight, pruned with it"
    assert [(skip.name, skip.reason) for skip in report.skipped] == [
        ("c", reason),
        ("d", reason),
    ]
    assert report.size == 144
    both = np.stack([first, second])
    first, second = zeroed(both, np.abs(both), 0.5)
    assert runs_alike(tmp_path / "out.onnx", {"a": first, "b": second, "c": first, "d": first})


@pytest.mark.parametrize("spelling", ["./w.bin", "sub/../w.bin", "link.bin"])
def test_weights_over_the_same_bytes_are_one_whatever_the_file_is_called(
    tmp_path: Path, spelling: str
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.bin").symlink_to("w.bin")
    path = over(tmp_path, ("w.bin", 0), (spelling, 0))
    values = read_at(tmp_path)
    report = prune(path, tmp_path / "out.onnx")
    assert [row.weight.path for row in report.tensors] == ["a"]
    expected = zeroed(values, np.abs(values), 0.5)
    assert runs_alike(tmp_path / "out.onnx", {"a": expected, "b": expected})


def read_at(folder: Path) -> np.ndarray:
    return np.frombuffer((folder / "w.bin").read_bytes(), "<f4", 72).reshape(SHAPE)


def test_weights_that_share_some_bytes_are_refused(tmp_path: Path) -> None:
    path = over(tmp_path, ("w.bin", 0), ("w.bin", 284))
    before = hashes(tmp_path)
    with pytest.raises(UnsupportedError, match="'a' shares bytes with 'b'") as caught:
        prune(path, tmp_path / "out.onnx")
    assert caught.value.exit_code == 6
    assert hashes(tmp_path) == before


def test_a_weight_that_shares_bytes_with_what_is_no_weight_is_refused(tmp_path: Path) -> None:
    bias = outside("bias", FLOAT, (9,), location="w.bin", offset=252, length=36)
    path = over(tmp_path, ("w.bin", 0), ("w.bin", 288), extra=bias)
    with pytest.raises(UnsupportedError, match="'a' shares bytes with 'bias'"):
        prune(path, tmp_path / "out.onnx")
    # The other weight only touches it.
    recipe = make_recipe({"sparsity": 0.5, "method": "global", "exclude": ["a"]})
    report = prune_file(path, recipe, Settings(output=tmp_path / "out.onnx", verify=False))
    assert [row.weight.path for row in report.tensors] == ["b"]
    assert read(tmp_path / "out.onnx", "a").tobytes() == read_at(tmp_path).tobytes()
    assert read(tmp_path / "out.onnx", "bias").tobytes() == read(path, "bias").tobytes()


def test_bytes_of_two_types_are_refused(tmp_path: Path) -> None:
    other = outside("other", FLOAT16, (144,), location="w.bin", offset=0)
    path = over(tmp_path, ("w.bin", 0), extra=other)
    with pytest.raises(UnsupportedError, match="'a' shares bytes with 'other'"):
        prune(path, tmp_path / "out.onnx")


def test_bytes_of_two_shapes_are_refused(tmp_path: Path) -> None:
    graph = graph_of(FLOAT, SHAPE, ["a", "b"])
    graph.node[0].input[1] = "turned"
    graph.node.insert(0, helper.make_node("Transpose", ["a"], ["turned"]))
    (tmp_path / "w.bin").write_bytes(some(FLOAT, SHAPE).tobytes())
    shapes = {"a": SHAPE[::-1], "b": SHAPE}
    weights = [outside(name, FLOAT, at, location="w.bin") for name, at in shapes.items()]
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(weights, graph))
    with pytest.raises(UnsupportedError, match="'a' shares bytes with 'b'"):
        prune(path, tmp_path / "out.onnx")


def test_every_weight_under_a_long_neighbour_is_refused(tmp_path: Path) -> None:
    long = outside("long", FLOAT, (40, 9), location="w.bin")
    path = over(tmp_path, ("w.bin", 0), ("w.bin", 288), ("w.bin", 1152), extra=long)
    with load_onnx(path) as model:
        assert model.conflicts.keys() == {"a", "b", "c"}


@pytest.mark.parametrize(("second", "shared"), [(0, True), (5, False)])
def test_quantised_weights_are_one_only_if_zero_is_the_same(
    tmp_path: Path, second: int, shared: bool
) -> None:
    (tmp_path / "w.bin").write_bytes(some(INT8, SHAPE).tobytes())
    graph = graph_of(INT8, SHAPE, ["a", "b"])
    graph.node[2].input[2] = "other"
    scale = tensor("scale", FLOAT, np.ones(1, np.float32))
    zeros = [
        tensor(name, INT8, np.array([zero], np.int8))
        for name, zero in (("zero", 0), ("other", second))
    ]
    weights = [outside(name, INT8, SHAPE, location="w.bin") for name in "ab"]
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of([*weights, scale, *zeros], graph))
    with load_onnx(path) as model:
        found = [weight.path for weight in model.weights]
        assert found == (["a"] if shared else ["a", "b"])
        assert model.conflicts == ({"b": ""} if shared else {"a": "b", "b": "a"})


def test_thousands_of_tensors_over_the_same_bytes_do_not_take_for_ever(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(288))
    more = [outside(f"t{i}", FLOAT, SHAPE, location="w.bin") for i in range(20_000)]
    path = write(tmp_path, [outside("w", FLOAT, SHAPE, location="w.bin"), *more], ["w"])
    with load_onnx(path) as model:
        assert model.conflicts.keys() == {"w"}


@pytest.mark.parametrize("threads", ["1", "2", "8"])
def test_two_runs_write_the_same_bytes(
    tmp_path: Path, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = over(tmp_path, ("w.bin", 0), ("w.bin", 288), ("w.bin", 576), ("w.bin", 1152))
    prune(path, tmp_path / "out.onnx")
    first = hashes(tmp_path)
    monkeypatch.setenv("ONNXPRUNE_THREADS", threads)
    prune(path, tmp_path / "out.onnx", force=True)
    assert hashes(tmp_path) == first


def test_another_sparsity_replaces_the_model_and_leaves_the_old_data_alone(
    tmp_path: Path,
) -> None:
    values = some(FLOAT, SHAPE)
    path, output = one_file(tmp_path, values), tmp_path / "out.onnx"
    prune(path, output, 0.25)
    first = hashes(tmp_path)
    prune(path, output, 0.75, force=True)
    second = hashes(tmp_path)
    assert [name for name in first if first[name] != second[name]] == [str(output)]
    assert len(second) == len(first) + 1
    assert runs_alike(output, {"w": zeroed(values, np.abs(values), 0.75)})


def test_data_in_a_cache_of_links_is_copied_where_links_would_lead_outside(
    tmp_path: Path,
) -> None:
    values = some(FLOAT, SHAPE)
    real = one_file(tmp_path / "blobs", values)
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.onnx").symlink_to(real)
    (tmp_path / "snapshot" / "w.bin").symlink_to(real.with_name("w.bin"))
    for sparsity in (0.0, 0.5):
        output = tmp_path / "snapshot" / f"{sparsity}.onnx"
        prune(tmp_path / "snapshot" / "model.onnx", output, sparsity)
        assert runs_alike(output, {"w": zeroed(values, np.abs(values), sparsity)})
        with load_onnx(output) as model:
            assert [weight.path for weight in model.weights] == ["w"]


def test_external_values_of_constant_nodes_are_patched(tmp_path: Path) -> None:
    values = some(FLOAT, SHAPE)
    (tmp_path / "w.bin").write_bytes(values.tobytes())
    node = helper.make_node("Constant", [], ["w"])
    attribute = node.attribute.add(name="value", type=4)
    attribute.t.ParseFromString(outside("", FLOAT, SHAPE, location="w.bin"))
    graph = graph_of(FLOAT, SHAPE)
    graph.node.insert(0, node)
    path, output = tmp_path / "model.onnx", tmp_path / "out.onnx"
    path.write_bytes(model_of([], graph) + number_field(5, 1))
    prune(path, output)
    with load_onnx(output) as model:
        stored = model.stored("w")
        assert stored.source.path.name.startswith("out-")
        found = stored.stored(0, 72).reshape(SHAPE)
    assert np.array_equal(found, zeroed(values, np.abs(values), 0.5))
    assert numpy_helper.to_array(attribute.t, str(tmp_path)).tobytes() == values.tobytes()

"""Sparse tensors of all legal forms are read as what they mean; illegal ones are refused."""

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxprune
from onnxprune.errors import InputError, LimitError, OnnxpruneError
from onnxprune.formats import onnx_cells, onnx_densifying, onnx_sparse
from onnxprune.formats.onnx_file import load_onnx
from tests.formats import files_made
from tests.formats.sparse_made import (
    INT8,
    INT16,
    INT32,
    INT64,
    OTHERS,
    SHAPE,
    VALUE,
    choice,
    constant,
    floats,
    function,
    indices,
    product,
    save,
    sparse,
    whole,
    wide,
    with_dense,
    with_sparse,
)

ROWS = np.argwhere(whole()).tolist()
BACKWARDS = [OTHERS[at] for at in (2, 0, 1)]
MIXED = [VALUE[at] for at in (2, 0, 1)]


def densified(tmp_path: Path, model: onnx.ModelProto | bytes) -> onnx.ModelProto:
    """Make a model dense, and read that with the onnx package."""
    path, output = save(tmp_path / "model.onnx", model), tmp_path / "dense.onnx"
    onnxprune.densify(path, output, verify=False)
    return onnx.load(output)


def refused(tmp_path: Path, model: onnx.ModelProto) -> OnnxpruneError:
    with pytest.raises(OnnxpruneError) as caught:
        load_onnx(save(tmp_path / "model.onnx", model))
    return caught.value


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "varints"])
@pytest.mark.parametrize("kind", [INT8, INT16, INT32, INT64])
@pytest.mark.parametrize("places", [OTHERS, ROWS], ids=["linear", "rows"])
def test_indices_of_any_form_mean_the_same(
    places: Any, kind: int, raw: bool, tmp_path: Path
) -> None:
    model = with_sparse(sparse(places=indices(places, kind, raw)))
    assert densified(tmp_path, model) == with_dense(whole())


@pytest.mark.parametrize("places", [BACKWARDS, [ROWS[at] for at in (2, 0, 1)]])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "varints"])
def test_indices_in_any_order_mean_the_same(raw: bool, places: Any, tmp_path: Path) -> None:
    tensor = sparse(floats(MIXED), indices(places, raw=raw))
    assert densified(tmp_path, with_sparse(tensor)) == with_dense(whole())


@pytest.mark.parametrize("places", [[], np.zeros((0, 2)), None])
def test_a_tensor_without_values_is_all_zeros(places: Any, tmp_path: Path) -> None:
    tensor = sparse(floats([]), indices(places if places is not None else []))
    if places is None:
        tensor.ClearField("indices")
    assert densified(tmp_path, with_sparse(tensor)) == with_dense(whole([], []))


def test_a_value_may_be_zero_and_keeps_its_sign(tmp_path: Path) -> None:
    values = [0.0, -0.0, 3.0]
    (found,) = densified(tmp_path, with_sparse(sparse(floats(values)))).graph.initializer
    assert found.raw_data == whole(values).tobytes()


TYPES: dict[str, Any] = {
    "float64": np.float64,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "int32": np.int32,
    "uint32": np.uint32,
    "int64": np.int64,
    "uint64": np.uint64,
    "bool": np.bool_,
}


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("name", TYPES)
def test_values_of_any_type_of_whole_bytes_are_spread(
    name: str, raw: bool, tmp_path: Path
) -> None:
    dtype = TYPES[name]
    stored = np.array([1, 100, 3]).astype(dtype)
    if np.dtype(dtype).kind in "if":
        stored[1] = -100
    kind = helper.np_dtype_to_tensor_dtype(stored.dtype)
    values = numpy_helper.from_array(stored, "w")
    if not raw:
        values = helper.make_tensor("w", kind, [3], stored.tolist())
    (found,) = densified(tmp_path, with_sparse(sparse(values))).graph.initializer
    expected = np.zeros(SHAPE, dtype)
    expected.reshape(-1)[OTHERS] = stored
    assert np.array_equal(numpy_helper.to_array(found), expected)
    # Numbers of a fixed width stay in their field, others become raw.
    assert found.HasField("raw_data") or name == "float64"


@pytest.mark.parametrize("encoding", files_made.TYPED)
def test_values_in_any_encoding_are_spread(encoding: str, tmp_path: Path) -> None:
    values = np.arange(1, 8, dtype=np.float32)
    tensor = files_made.tensor("w", files_made.FLOAT, values, encoding)
    places = indices(range(0, 28, 4)).SerializeToString()
    content = files_made.field(1, tensor) + files_made.field(2, places)
    content += files_made.field(3, files_made.varint(7) + files_made.varint(4))
    graph = product().graph.SerializeToString() + wide(15, content)
    head = files_made.number_field(1, 8)
    data = (
        head + files_made.field(7, graph) + files_made.field(8, files_made.number_field(2, 18))
    )
    (found,) = densified(tmp_path, data).graph.initializer
    expected = np.zeros((7, 4), np.float32)
    expected[:, 0] = values
    assert np.array_equal(numpy_helper.to_array(found), expected)


@pytest.mark.parametrize("place", [constant, choice, function])
def test_sparse_tensors_anywhere_are_made_dense(
    place: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    found = densified(tmp_path, place(sparse()))
    assert found == place(None, whole())
    with load_onnx(tmp_path / "model.onnx") as model:
        assert model.densified is not None
        assert model.densified.tensors == (2 if place is choice else 1)
        assert all(weight.size == 12 for weight in model.weights)
        assert len(model.weights) == model.densified.tensors


def test_all_else_that_is_said_of_a_tensor_stays(tmp_path: Path) -> None:
    tensor = sparse()
    tensor.values.doc_string = "a tensor"
    tensor.values.metadata_props.add(key="k", value="v")
    expected = with_dense(whole())
    expected.graph.initializer[0].doc_string = "a tensor"
    expected.graph.initializer[0].metadata_props.add(key="k", value="v")
    assert densified(tmp_path, with_sparse(tensor)) == expected


def test_many_tensors_between_others_are_made_dense_in_place(tmp_path: Path) -> None:
    model = product()
    graph = model.graph.SerializeToString()
    for number in range(5):
        graph += files_made.field(5, floats(name=f"dense{number}").SerializeToString())
        graph += files_made.field(15, sparse(floats(name=f"s{number}")).SerializeToString())
        graph += files_made.field(15, sparse(floats(name=f"t{number}")).SerializeToString())
    model.ClearField("graph")
    data = model.SerializeToString() + files_made.field(7, graph)
    found = [each.name for each in densified(tmp_path, data).graph.initializer]
    assert found == [f"{kind}{number}" for number in range(5) for kind in ("dense", "s", "t")]


def test_data_in_other_files_are_read_from_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.array(VALUE, np.float32).tobytes())
    (tmp_path / "i.bin").write_bytes(b"12345678" + np.array(OTHERS, np.int64).tobytes())
    values = TensorProto(name="w", data_type=1, dims=[3], data_location=1)
    values.external_data.add(key="location", value="w.bin")
    places = TensorProto(data_type=7, dims=[3], data_location=1)
    for key, value in (("location", "i.bin"), ("offset", "8"), ("length", "24")):
        places.external_data.add(key=key, value=value)
    model = with_sparse(sparse(values, places))
    assert densified(tmp_path, model) == with_dense(whole())
    report = onnxprune.inspect(tmp_path / "model.onnx", verify=False)
    assert report.storage is not None
    files = sum(
        path.stat().st_size for path in tmp_path.iterdir() if path.name != "dense.onnx"
    )
    assert report.sizes.before == files
    assert 36 < report.storage.sparse_bytes < files
    for location, code in (("../w.bin", 4), ("none.bin", 3), ("/etc/passwd", 4)):
        places.external_data[0].value = location
        assert refused(tmp_path, with_sparse(sparse(values, places))).exit_code == code
    os.link(tmp_path / "i.bin", tmp_path / "j.bin")
    places.external_data[0].value = "i.bin"
    assert refused(tmp_path, with_sparse(sparse(values, places))).exit_code == 4


def wrong(**changes: Any) -> onnx.SparseTensorProto:
    tensor = sparse(changes.get("values"), changes.get("places"), changes.get("shape", SHAPE))
    for name in changes.get("without", ()):
        tensor.ClearField(name)
    return tensor


def unnamed() -> TensorProto:
    values = floats()
    values.ClearField("name")
    return values


def tall() -> TensorProto:
    values = floats()
    values.dims.append(1)
    return values


ILLEGAL: dict[str, tuple[onnx.SparseTensorProto, int, str]] = {
    "past the end": (
        wrong(places=indices([1, 5, 12])),
        3,
        "'w': sparse index 12 is out of range of [4, 3]",
    ),
    "negative": (
        wrong(places=indices([1, -5, 11])),
        3,
        "'w': sparse index -5 is out of range of [4, 3]",
    ),
    "largest": (
        wrong(places=indices([1, 5, (1 << 63) - 1])),
        3,
        f"'w': sparse index {(1 << 63) - 1} is out of range of [4, 3]",
    ),
    "column": (
        wrong(places=indices([[0, 1], [0, 5], [3, 2]])),
        3,
        "'w': sparse index [0, 5] is out of range of [4, 3]",
    ),
    "negative row": (
        wrong(places=indices([[0, 1], [-1, 2], [3, 2]], raw=False)),
        3,
        "'w': sparse index [-1, 2] is out of range of [4, 3]",
    ),
    "twice": (wrong(places=indices([1, 5, 5])), 3, "'w': sparse index 5 is given twice"),
    "twice apart": (
        wrong(places=indices([5, 1, 5])),
        3,
        "'w': sparse index 5 is given twice",
    ),
    "too few indices": (
        wrong(places=indices([1, 5])),
        3,
        "'w': sparse indices of shape [2] for 3 values of a tensor of shape [4, 3]",
    ),
    "odd rows": (
        wrong(places=indices([[1, 0, 0], [1, 0, 1], [1, 0, 2]])),
        3,
        "'w': sparse indices of shape [3, 3] for 3 values of a tensor of shape [4, 3]",
    ),
    "no indices": (
        wrong(without=["indices"]),
        3,
        "'w': 3 sparse values without indices",
    ),
    "float indices": (
        wrong(places=floats([1, 5, 11], "")),
        3,
        "'w': sparse indices of FLOAT, not of INT64, INT32, INT16, INT8",
    ),
    "no values": (wrong(without=["values"]), 3, "sparse tensor #0 has no values"),
    "no name": (wrong(values=unnamed()), 3, "sparse initializer #0 has no name"),
    "values in a table": (
        wrong(values=tall()),
        3,
        "'w': sparse values of shape [3, 1], not in a row",
    ),
    "too many values": (
        wrong(shape=[2]),
        3,
        "'w': 3 sparse values for 2 elements",
    ),
    "no dimensions": (
        wrong(values=floats([1]), places=indices([0]), shape=[]),
        3,
        "'w': sparse tensor without dimensions",
    ),
    "negative dimension": (wrong(shape=[-4, 3]), 3, "'w': negative dimension -4"),
    "overflow": (
        wrong(shape=[1 << 32, 1 << 32]),
        3,
        "'w': dimension product overflows",
    ),
    "bomb": (
        wrong(shape=[1 << 20, 1 << 20]),
        5,
        "'w': sparse tensor expands to 4 TiB (the limit for this file is 64 MiB)",
    ),
    "cut values": (
        wrong(values=TensorProto(name="w", data_type=1, dims=[3], raw_data=bytes(8))),
        3,
        "'w': raw_data has 8 bytes, FLOAT[3] needs 12",
    ),
    "cut indices": (
        wrong(places=TensorProto(data_type=7, dims=[3], raw_data=bytes(16))),
        3,
        "'w (indices)': raw_data has 16 bytes, INT64[3] needs 24",
    ),
    "few numbers": (
        wrong(places=TensorProto(data_type=7, dims=[3], int64_data=[1, 2])),
        3,
        "'w (indices)': 2 values for 3 elements",
    ),
    "many numbers": (
        wrong(places=TensorProto(data_type=7, dims=[3], int64_data=[1, 2, 3, 4])),
        3,
        "'w (indices)': 4 values or more for 3 elements",
    ),
    "many values": (
        wrong(values=TensorProto(name="w", data_type=10, dims=[3], int32_data=[1, 2, 3, 4])),
        3,
        "'w': 4 values or more for 3 elements",
    ),
    "few values": (
        wrong(values=TensorProto(name="w", data_type=10, dims=[3], int32_data=[1, 2])),
        3,
        "'w': 2 values for 3 elements",
    ),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_what_is_no_sparse_tensor_is_refused(name: str, tmp_path: Path) -> None:
    tensor, code, message = ILLEGAL[name]
    error = refused(tmp_path, with_sparse(tensor))
    assert (error.exit_code, error.message) == (code, message)
    error = refused(tmp_path, constant(tensor)) if name != "no name" else error
    assert error.exit_code == code


def test_a_name_may_be_given_once(tmp_path: Path) -> None:
    model = with_sparse(sparse())
    model.graph.initializer.append(floats())
    assert refused(tmp_path, model).message == "initializer 'w' is given twice"


def test_tensors_together_are_over_a_limit(tmp_path: Path) -> None:
    model = product()
    for number in range(5):
        tensor = sparse(floats(name=f"w{number}"), shape=[1 << 22])
        model.graph.sparse_initializer.append(tensor)
    error = refused(tmp_path, model)
    assert isinstance(error, LimitError)
    assert error.message == (
        "'w4': sparse tensor expands to 16 MiB, 80 MiB with those before it (the limit for this"
        " file is 64 MiB)"
    )


def test_a_dense_model_has_to_fit_into_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_sparse, "FREE", 1 << 40)
    error = refused(tmp_path, with_sparse(sparse(shape=[1 << 30])))
    assert (error.exit_code, error.message) == (
        5,
        "with dense tensors the model has 4.0 GiB (one protobuf message holds 2)",
    )


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "varints"])
@pytest.mark.parametrize("flat", [True, False], ids=["linear", "rows"])
def test_pieces_of_any_size_give_the_same(
    flat: bool, raw: bool, ordered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(3)
    places = random.permutation(60 * 70)[:1000]
    if ordered:
        places.sort()
    stored = random.standard_normal(1000).astype(np.float32)
    expected = np.zeros((60, 70), np.float32)
    expected.reshape(-1)[places] = stored
    given = places if flat else np.stack(np.unravel_index(places, (60, 70)), 1)
    model = with_sparse(
        sparse(floats(stored.tolist()), indices(given, raw=raw), expected.shape)
    )
    monkeypatch.setattr(onnx_sparse, "ROWS", 37)
    monkeypatch.setattr(onnx_cells, "BLOCK", 101)
    monkeypatch.setattr(onnx_densifying, "BLOCK", 64)
    monkeypatch.setattr(onnx_densifying, "WINDOW", 1000)
    (found,) = densified(tmp_path, model).graph.initializer
    assert np.array_equal(numpy_helper.to_array(found), expected)
    twice = np.concatenate([given[:-1], given[:1]])
    tensor = sparse(floats(stored.tolist()), indices(twice, raw=raw), expected.shape)
    assert refused(tmp_path, with_sparse(tensor)).message == (
        f"'w': sparse index {places[0]} is given twice"
    )


@pytest.mark.parametrize("places", [[0, 1, (1 << 24) - 1], [(1 << 24) - 1, 0, 1]])
def test_memory_is_bounded(places: list[int], tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx", with_sparse(sparse(places=indices(places), shape=[1 << 24]))
    )
    tracemalloc.start()
    try:
        with load_onnx(path) as model:
            assert model.source.size > 1 << 26
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # What is in order is written piece by piece, the rest window by window.
    assert peak < (8 << 20 if places[0] == 0 else (1 << 26) * 2.5)


def test_nothing_is_left_open_or_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    good = save(tmp_path / "good.onnx", with_sparse(sparse()))
    twice = sparse(floats(MIXED), indices([5, 1, 5]))
    bad = save(tmp_path / "bad.onnx", with_sparse(twice))
    before = set(os.listdir("/proc/self/fd"))
    with load_onnx(good) as model:
        assert list(folder.iterdir()) == []
        assert [file.path for file in model.all_files()] == [good]
        assert model.densified is not None
    with pytest.raises(InputError, match="given twice"):
        load_onnx(bad)
    onnxprune.masks.load(good)
    assert set(os.listdir("/proc/self/fd")) == before
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("place", [with_sparse, constant])
def test_damaged_tensors_are_refused_or_read(
    place: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    tensor = sparse(places=indices(ROWS))
    data = place(tensor).SerializeToString()
    content = tensor.SerializeToString()
    first = data.index(content) - 2
    path = tmp_path / "m.onnx"
    ends = {"read": 0, "refused": 0}
    for _ in range(300):
        changed = bytearray(data)
        for at in random.integers(first, first + len(content) + 2, random.integers(1, 4)):
            changed[at] = random.integers(256)
        path.write_bytes(changed)
        try:
            with load_onnx(path) as model:
                for weight in model.weights:
                    model.values(weight.path, 0, weight.size)
            ends["read"] += 1
        except OnnxpruneError as error:
            assert error.exit_code in (3, 4, 5, 6)
            ends["refused"] += 1
    assert min(ends.values()) > 10

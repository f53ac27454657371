from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from onnxprune.errors import InputError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.reimport.constants import Coding, dense, read_array
from onnxprune.reimport.module import reimport
from tests import models
from tests.models import model, node

ROWS = np.arange(1024).reshape(32, 32)


@pytest.mark.parametrize(
    "dtype", ["f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"]
)
@pytest.mark.parametrize("raw", [True, False])
def test_large_tensors_of_all_types_are_read(tmp_path: Path, dtype: str, raw: bool) -> None:
    values = ROWS.astype(dtype)
    number = helper.np_dtype_to_tensor_dtype(values.dtype)
    data = values.tobytes() if raw else values.reshape(-1).tolist()
    proto = helper.make_tensor("k", number, values.shape, data, raw)
    found = read(tmp_path, proto)
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)


@pytest.mark.parametrize("number", [TensorProto.BFLOAT16, TensorProto.INT4])
def test_types_that_numpy_does_not_have_are_read(tmp_path: Path, number: int) -> None:
    values = (ROWS % 7).astype(np.float32)
    proto = helper.make_tensor("k", number, values.shape, values.reshape(-1).tolist())
    assert np.array_equal(read(tmp_path, proto).astype(np.float32), values)


def test_external_data_are_read(tmp_path: Path) -> None:
    proto = model([node("MatMul x w -> y")], {"x": [1, 32]}, "y")
    proto.graph.initializer.append(numpy_helper.from_array(ROWS.astype(np.float32), "w"))
    proto.graph.initializer.append(numpy_helper.from_array(ROWS, "i"))
    onnx.save(
        proto, tmp_path / "m.onnx", save_as_external_data=True, location="d", size_threshold=0
    )
    with load_onnx(tmp_path / "m.onnx") as opened:
        module = reimport(opened)
        (whole,) = (each for each in opened.graph.constants if each.name == "i")
        assert np.array_equal(read_array(opened, whole.record), ROWS)
    assert torch.equal(module.tensors["w"], torch.from_numpy(ROWS.astype(np.float32)))


def test_a_large_tensor_of_an_attribute_is_read(tmp_path: Path) -> None:
    made = node("Constant -> w")
    reference = models.onnx.AttributeProto(name="value", ref_attr_name="table", type=4)
    made.attribute.append(reference)
    function = models.function("Table", "a -> b", [made, node("MatMul a w -> b")], table=None)
    call = node("Table x -> y", domain="local", table=models.weight("t", 32, 32))
    proto = model([call], {"x": [1, 32]}, "y", [], [function])
    with load_onnx(models.save(tmp_path / "m.onnx", proto)) as opened:
        found = reimport(opened)(x=np.eye(1, 32, dtype=np.float32))["y"]
    table = numpy_helper.to_array(models.weight("t", 32, 32))
    assert np.array_equal(found.numpy(), table[:1])


def test_integers_are_what_their_real_values_stand_for() -> None:
    coding = Coding(torch.tensor([[0.5], [2.0]]), torch.tensor([[1.0], [-2.0]]))
    assert coding(torch.tensor([[1.0, 0], [4, -2]])).tolist() == [[3, 1], [0, -3]]


def test_a_scale_of_zero_makes_no_nan(tmp_path: Path) -> None:
    tensors = [
        models.constant("q", [[1, 2], [3, 4]], np.int8),
        models.constant("s", [0.0, 1.0]),
    ]
    nodes = [node("DequantizeLinear q s -> w", axis=1), node("MatMul x w -> y")]
    proto = model(nodes, {"x": [1, 2]}, "y", tensors)
    with load_onnx(models.save(tmp_path / "m.onnx", proto)) as opened:
        found = reimport(opened)(x=np.ones((1, 2), np.float32))["y"]
    assert found.tolist() == [[0, 6]]


def test_sparse_values_go_to_their_places() -> None:
    values = np.float32([5, 6])
    assert dense(values, np.array([1, 3]), (2, 2)).tolist() == [[0, 5], [0, 6]]
    assert dense(values, np.array([[0, 1], [1, 0]]), (2, 2)).tolist() == [[0, 5], [6, 0]]


def test_sparse_values_outside_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        dense(np.float32([5]), np.array([4]), (2, 2))
    assert str(caught.value) == "a sparse tensor of shape [2, 2] has indices outside"
    with pytest.raises(InputError):
        dense(np.float32([5]), np.array([[0, 2]]), (2, 2))


def read(tmp_path: Path, tensor: TensorProto) -> np.ndarray:
    proto = model([node("Identity k -> y")], {}, "y", [tensor])
    with load_onnx(models.save(tmp_path / "m.onnx", proto)) as opened:
        (constant,) = opened.graph.constants
        return read_array(opened, constant.record)

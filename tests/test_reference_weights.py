"""The reference reading of weights against models of a few numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.reference_weights import onnx_values, quantized_magnitudes

CODES = np.array([[-128, 0, 2], [127, 1, -1]], dtype=np.int8)


def write_model(
    path: Path, nodes: list[onnx.NodeProto], tensors: dict[str, Any], external: bool = False
) -> Path:
    initializers = [
        value
        if isinstance(value, TensorProto)
        else numpy_helper.from_array(np.asarray(value), name)
        for name, value in tensors.items()
    ]
    graph = helper.make_graph(nodes, "g", [], [], initializers)
    model = helper.make_model(graph)
    onnx.save(
        model, path, save_as_external_data=external, location="weights.bin", size_threshold=0
    )
    return path


@pytest.mark.parametrize("external", [False, True])
def test_initializers_of_every_float_type_come_as_float64(
    tmp_path: Path, external: bool
) -> None:
    values = [0.5, -1.5, 3.0]
    kinds = {
        "fp16": TensorProto.FLOAT16,
        "bf16": TensorProto.BFLOAT16,
        "fp32": TensorProto.FLOAT,
        "fp64": TensorProto.DOUBLE,
    }
    tensors = {
        name: helper.make_tensor(name, kind, [3], values) for name, kind in kinds.items()
    }
    read = onnx_values(write_model(tmp_path / "m.onnx", [], tensors, external))
    assert list(read) == list(kinds)
    for array in read.values():
        assert array.dtype == np.float64
        assert array.tolist() == values


def test_raw_bfloat16_and_external_constants_are_read(tmp_path: Path) -> None:
    raw = TensorProto(name="b", data_type=TensorProto.BFLOAT16, dims=[2])
    raw.raw_data = np.array([0x3F80, 0xC040], dtype="<u2").tobytes()
    value = numpy_helper.from_array(np.array([[1.0, 2.0]], dtype=np.float32))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=value),
        helper.make_node("Constant", [], ["f"], value_floats=[0.1, 2.0]),
    ]
    read = onnx_values(write_model(tmp_path / "m.onnx", nodes, {"b": raw}, external=True))
    assert read["b"].tolist() == [1.0, -3.0]
    assert read["c"].tolist() == [[1.0, 2.0]]
    assert read["f"].tolist() == [float(np.float32(0.1)), 2.0]


def test_strings_are_left_out(tmp_path: Path) -> None:
    words = numpy_helper.from_array(np.array(["x"], dtype=object), "words")
    assert onnx_values(write_model(tmp_path / "m.onnx", [], {"words": words})) == {}


@pytest.mark.parametrize(
    ("attributes", "scale", "zero_point", "expected"),
    [
        ({}, 0.5, 2, [[65, 1, 0], [62.5, 0.5, 1.5]]),
        ({}, [1.0, 2.0, 4.0], [0, 1, 2], [[128, 2, 0], [127, 0, 12]]),
        ({"axis": 0}, [1.0, 2.0], [0, 1], [[128, 0, 2], [252, 0, 4]]),
        ({"axis": -2}, [1.0, 2.0], None, [[128, 0, 2], [254, 2, 2]]),
        (
            {"axis": 1, "block_size": 2},
            [[1.0, 2.0], [4.0, 8.0]],
            None,
            [[128, 0, 4], [508, 4, 8]],
        ),
    ],
)
def test_dequantized_weights_follow_axis_and_block(
    tmp_path: Path, attributes: dict[str, Any], scale: Any, zero_point: Any, expected: Any
) -> None:
    inputs = ["q", "s"] if zero_point is None else ["q", "s", "z"]
    node = helper.make_node("DequantizeLinear", inputs, ["y"], **attributes)
    tensors = {"q": CODES, "s": np.array(scale, dtype=np.float32)}
    if zero_point is not None:
        tensors["z"] = np.array(zero_point, dtype=np.int8)
    read = quantized_magnitudes(write_model(tmp_path / "m.onnx", [node], tensors))
    assert list(read) == ["q"]
    assert read["q"].tolist() == expected


def test_a_scale_is_its_float32_value_in_float64_arithmetic(tmp_path: Path) -> None:
    node = helper.make_node("DequantizeLinear", ["q", "s"], ["y"])
    tensors = {"q": CODES, "s": np.float32(0.1)}
    read = quantized_magnitudes(write_model(tmp_path / "m.onnx", [node], tensors))["q"]
    assert read[1, 0] == 127 * float(np.float32(0.1))
    assert read[1, 0] != float(np.float32(12.7))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "by_row"),
    [
        ("QLinearConv", ["x", "xs", "xz", "q", "s", "z", "ys", "yz"], {}, True),
        ("QLinearMatMul", ["x", "xs", "xz", "q", "s", "z", "ys", "yz"], {}, False),
        ("QLinearMatMul", ["q", "s", "z", "x", "xs", "xz", "ys", "yz"], {}, True),
        ("QGemm", ["x", "xs", "xz", "q", "s", "z"], {}, False),
        ("QGemm", ["x", "xs", "xz", "q", "s", "z"], {"transB": 1}, True),
        ("ConvInteger", ["x", "q", "xz", "z"], {}, True),
        ("MatMulInteger", ["x", "q", "xz", "z"], {}, False),
        ("MatMulInteger", ["q", "x", "z"], {}, True),
    ],
)
def test_each_operator_has_its_channel_axis(
    tmp_path: Path, op: str, inputs: list[str], attributes: dict[str, Any], by_row: bool
) -> None:
    codes = np.array([[10, 20], [30, 40]], dtype=np.uint8)
    node = helper.make_node(op, inputs, ["y"], **attributes)
    tensors = {
        "q": codes,
        "s": np.array([1.0, 2.0], dtype=np.float32),
        "z": np.array([10, 40], dtype=np.uint8),
    }
    read = quantized_magnitudes(write_model(tmp_path / "m.onnx", [node], tensors))["q"]
    by_axis = {True: [[0, 10], [10, 0]], False: [[0, 20], [20, 0]]}
    scales = {True: [[1], [2]], False: [[1, 2]]}
    factor = np.array(scales[by_row] if "s" in inputs else 1)
    assert read.tolist() == (np.array(by_axis[by_row]) * factor).tolist()


def test_a_missing_zero_point_is_zero(tmp_path: Path) -> None:
    node = helper.make_node("MatMulInteger", ["x", "q"], ["y"])
    read = quantized_magnitudes(write_model(tmp_path / "m.onnx", [node], {"q": CODES}))
    assert read["q"].tolist() == [[128, 0, 2], [127, 1, 1]]


def test_what_is_computed_or_wider_than_eight_bits_is_left_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "computed"], ["y"]),
        helper.make_node("DequantizeLinear", ["bias", "s"], ["b"]),
        helper.make_node("DequantizeLinear", ["activation", "s"], ["a"]),
    ]
    tensors = {"q": CODES, "s": np.float32(1), "bias": np.array([1, 2], dtype=np.int32)}
    assert quantized_magnitudes(write_model(tmp_path / "m.onnx", nodes, tensors)) == {}

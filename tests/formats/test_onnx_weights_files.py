"""Model files of others: what they hold as their inventory says, and that nothing vanishes."""

from collections import Counter
from pathlib import Path

import onnx
import pytest

from onnxprune.errors import InputError
from tests.models import check_complete, float_tensors, look_at

MODELS = Path(__file__).parents[2] / ".." / "shared" / "models"
REFUSED = {"trt_testmodels/weightless.qdq_conv.onnx"}
FILES = {str(path.relative_to(MODELS)) for path in MODELS.rglob("*.onnx")} - REFUSED

# The operators with how many tensors they have, and the number of weights in all (biases of
# recurrent layers, which the inventory beside the models counts, are none).
INVENTORY = {
    "resnet20/ts_bn.onnx": ({"Conv": 19, "Gemm": 1}, 268_336),
    "resnet20/ts_folded.onnx": ({"Conv": 19, "Gemm": 1}, 268_336),
    "resnet20/dynamo.onnx": ({"Conv": 19, "Gemm": 1}, 268_336),
    "resnet20/dynamo_ext/resnet20.onnx": ({"Conv": 19, "Gemm": 1}, 268_336),
    "resnet20/fp16.onnx": ({"Conv": 19, "Gemm": 1}, 268_336),
    "resnet20/qdq_int8.onnx": ({"Conv": 19, "Gemm": 1}, 268_336),
    "resnet20/qoperator_int8.onnx": ({"QLinearConv": 19, "QGemm": 1}, 268_336),
    "magika/standard_v3_3.onnx": ({"Conv": 1, "MatMul": 2}, 781_376),
    "hand_gesture/keypoint.onnx": ({"MatMul": 3}, 1_070),
    "hand_gesture/point_history.onnx": ({"MatMul": 3}, 1_048),
    "hand_gesture/point_history_lstm.onnx": ({"LSTM": 2, "MatMul": 2}, 3_752),
    "silero_vad/silero_vad.onnx": ({"Conv": 12, "LSTM": 4}, 542_464),
    "silero_vad/op18_ifless.onnx": ({"Conv": 12, "Gemm": 4}, 542_464),
    "ultraface/rfb_320.onnx": ({"Conv": 52}, 270_144),
    "ultraface/slim_320.onnx": ({"Conv": 42}, 254_304),
    "dtln/model_1.onnx": ({"LSTM": 4, "MatMul": 1}, 361_088),
    "dtln/model_2.onnx": ({"Conv": 2, "MatMul": 5}, 622_592),
    "mnist_cntk/mnist.onnx": ({"Conv": 2, "MatMul": 1}, 5_960),
    "samplenet/samplenet.onnx": ({"Conv": 2, "Gemm": 3}, 61_770),
    "super_resolution/pytorch_super_resolution.onnx": ({"Conv": 4}, 59_488),
    "trt_testmodels/attention_head.onnx": ({"MatMul": 3}, 30_000),
    "trt_testmodels/constant_fold_bloater.onnx": ({}, 0),
    "trt_testmodels/ext_weights.onnx": ({}, 0),
    "trt_testmodels/loop.onnx": ({}, 0),
    "trt_testmodels/lstm.onnx": ({"LSTM": 2}, 220),
    "trt_testmodels/matmul.bf16.i32data.onnx": ({"MatMul": 1}, 1_024),
    "trt_testmodels/matmul.bf16.onnx": ({"MatMul": 1}, 128),
    "trt_testmodels/matmul.fp16.onnx": ({"MatMul": 1}, 128),
    "trt_testmodels/needs_constraints.onnx": ({"MatMul": 1}, 65_536),
    "trt_testmodels/nested_local_function.onnx": ({}, 0),
    "trt_testmodels/qdq_conv.onnx": ({"Conv": 1}, 81),
    "trt_testmodels/residual_block.onnx": ({"Conv": 5}, 83_136),
    "trt_testmodels/sparse.conv.onnx": ({"Conv": 1}, 1_024),
    "trt_testmodels/sparse.matmul.onnx": ({"MatMul": 1}, 128),
    "trt_testmodels/transpose_matmul.onnx": ({"MatMul": 1}, 128),
}


def model_file(name: str) -> Path:
    if not (MODELS / name).exists():
        pytest.skip(f"the test model {name} is not beside the repository")
    return MODELS / name


@pytest.mark.parametrize("name", INVENTORY)
def test_a_model_file_has_the_weights_of_its_inventory(name: str) -> None:
    found = look_at(model_file(name))
    operators, size = INVENTORY[name]
    assert Counter(of.op for of in found.weights.values()) == operators
    assert sum(of.size for of in found.weights.values()) == size


@pytest.mark.parametrize("name", sorted(FILES | INVENTORY.keys()))
def test_no_float_tensor_of_a_model_file_vanishes(name: str) -> None:
    path = model_file(name)
    proto = onnx.load(path, load_external_data=False)
    check_complete(float_tensors(proto), look_at(path))


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_model_file_without_data_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="raw_data has 0 bytes"):
        look_at(model_file(name))

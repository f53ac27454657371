"""Models that others trained and exported lose filters and compute the same."""

from pathlib import Path

import onnx
import pytest

from tests.shared import needs_models
from tests.structure.cutting import (
    TOLERANCE,
    take_out,
    tensors_of,
    zero,
    zero_filters,
    zero_units,
)

EXPORTED = [
    ("resnet20/ts_bn.onnx", 0.40),
    ("resnet20/ts_folded.onnx", 0.40),
    ("resnet20/dynamo.onnx", 0.45),
    ("resnet20/dynamo_ext/resnet20.onnx", 1.0),
    ("ultraface/slim_320.onnx", 0.60),
    ("ultraface/rfb_320.onnx", 0.60),
    ("mnist_cntk/mnist.onnx", 0.75),
    ("samplenet/samplenet.onnx", 0.45),
    ("super_resolution/pytorch_super_resolution.onnx", 0.55),
    ("hand_gesture/keypoint.onnx", 0.80),
]


@pytest.mark.parametrize("share", [0.3, 0.5])
@pytest.mark.parametrize(("name", "limit"), EXPORTED)
def test_an_exported_model_loses_its_zero_filters(
    name: str, limit: float, share: float
) -> None:
    model = onnx.load(needs_models(*name.split("/")))
    result = take_out(zero_filters(model, share), {"batch_size": 1})
    assert result.largest <= TOLERANCE
    assert result.bytes[1] < result.bytes[0]
    if share == 0.5:
        assert result.bytes[1] <= limit * result.bytes[0]


def test_channels_of_a_text_classifier_go(tmp_path: Path) -> None:
    model = onnx.load(needs_models("magika", "standard_v3_3.onnx"))
    zero_units(model, 0.5, tmp_path)
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert result.bytes[1] < 0.6 * result.bytes[0]


def test_a_quantised_model_loses_its_zero_filters() -> None:
    model = onnx.load(needs_models("resnet20", "qdq_int8.onnx"))
    tensors = tensors_of(model)
    for node in model.graph.node:
        if node.op_type == "Conv":
            for name in node.input[1:]:
                source = next(each for each in model.graph.node if name in each.output)
                tensor = tensors[source.input[0]]
                zero(tensor, 0, list(range(0, tensor.dims[0], 2)))
    result = take_out(model)
    # Its integers are the same; nothing is rounded in another way.
    assert result.largest == 0
    assert result.dims("onnx::Conv_287_quantized") == [8, 8, 3, 3]
    assert result.bytes[1] < 0.5 * result.bytes[0]

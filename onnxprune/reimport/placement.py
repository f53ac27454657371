"""Brings the inputs of an operator to one device; numbers that are read stay on the processor."""

from typing import Any

import torch
from torch import Tensor

from onnxprune.reimport.program import Call

READ_FROM: dict[str, int] = {
    **dict.fromkeys(("Expand", "Pad", "Reshape", "Resize", "Slice", "Split", "Tile"), 1),
    **dict.fromkeys(("CumSum", "CumProd", "Squeeze", "TopK", "Trilu", "Unsqueeze"), 1),
    **dict.fromkeys(("MaxUnpool",), 2),
    **dict.fromkeys(("AffineGrid", "Col2Im", "DFT", "OneHot", "SequenceAt", "Upsample"), 1),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"), 1),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"), 1),
    **dict.fromkeys(("CenterCropPad", "ReduceSumSquare"), 1),
    **dict.fromkeys(("ConstantOfShape", "Range"), 0),
}
"""By operator, the first of the inputs whose numbers it only reads."""


def placed(call: Call, operator: str, device: torch.device) -> Call:
    """Let an operator find all of its inputs on a device, if one of them is there."""
    if device.type == "cpu":
        return call
    first = READ_FROM.get(operator)

    def on_device(*values: Any) -> Any:
        moving = values if first is None else values[:first]
        if not any(isinstance(each, Tensor) and each.device == device for each in moving):
            return call(*values)
        moved = [each.to(device) if isinstance(each, Tensor) else each for each in moving]
        return call(*moved, *values[len(moving) :])

    return on_device

"""Functions of one value, and shares of a whole: what follows a layer."""

import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.registry import operator


@operator("Relu")
def relu(x: Tensor, *, consumed_inputs: list[int] | None = None) -> Tensor:
    """Replace what is negative by zero."""
    del consumed_inputs
    return torch.relu(x)


@operator("LeakyRelu")
def leaky_relu(
    x: Tensor, *, alpha: float = 0.01, consumed_inputs: list[int] | None = None
) -> Tensor:
    """Flatten what is negative."""
    del consumed_inputs
    return F.leaky_relu(x, alpha)


@operator("PRelu")
def parametric_relu(
    x: Tensor, slope: Tensor, *, consumed_inputs: list[int] | None = None, opset: int
) -> Tensor:
    """Flatten what is negative, by slopes that are learnt."""
    del consumed_inputs
    if opset < 7 and slope.dim() == 1:
        slope = slope.reshape(-1, *[1] * (x.dim() - 2))
    channels = x.dim() > 1 and list(slope.shape) == [x.shape[1], *[1] * (x.dim() - 2)]
    if x.is_floating_point() and (slope.numel() == 1 or channels):
        return F.prelu(x, slope.flatten())
    return torch.where(x < 0, x * slope, x)


@operator("Elu")
def elu(x: Tensor, *, alpha: float = 1.0, consumed_inputs: list[int] | None = None) -> Tensor:
    """Bend what is negative towards -alpha."""
    del consumed_inputs
    return F.elu(x, alpha)


@operator("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Bend what is negative towards -alpha, smoothly."""
    return F.celu(x, alpha)


@operator("Selu")
def selu(
    x: Tensor,
    *,
    alpha: float | None = None,
    consumed_inputs: list[int] | None = None,
    gamma: float | None = None,
    opset: int,
) -> Tensor:
    """Bend what is negative, and scale all."""
    del consumed_inputs
    bend, factor = (1.6732632, 1.0507010) if opset >= 6 else (1.6732, 1.0507)
    bent = F.elu(x, bend if alpha is None else alpha)
    return bent * (factor if gamma is None else gamma)


@operator("Sigmoid")
def sigmoid(x: Tensor, *, consumed_inputs: list[int] | None = None) -> Tensor:
    """Map to between 0 and 1."""
    del consumed_inputs
    return torch.sigmoid(x)


@operator("HardSigmoid")
def hard_sigmoid(
    x: Tensor,
    *,
    alpha: float = 0.2,
    beta: float = 0.5,
    consumed_inputs: list[int] | None = None,
) -> Tensor:
    """Cut a straight line off at 0 and 1."""
    del consumed_inputs
    return limit(x * alpha + beta, 0.0, 1.0)


@operator("HardSwish")
def hard_swish(x: Tensor) -> Tensor:
    """Multiply by a hard sigmoid."""
    return F.hardswish(x)


@operator("Tanh")
def tanh(x: Tensor, *, consumed_inputs: list[int] | None = None) -> Tensor:
    """Map to between -1 and 1."""
    del consumed_inputs
    return torch.tanh(x)


@operator("Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """Multiply by the normal distribution's share below."""
    return F.gelu(x, approximate=approximate)


@operator("Erf")
def error_function(x: Tensor) -> Tensor:
    """Compute the error function."""
    return torch.erf(x)


@operator("Softplus")
def softplus(x: Tensor) -> Tensor:
    """Compute log(1 + exp(x))."""
    return F.softplus(x)


@operator("Softsign")
def softsign(x: Tensor) -> Tensor:
    """Divide by one more than the size."""
    return F.softsign(x)


@operator("Mish")
def mish(x: Tensor) -> Tensor:
    """Multiply by tanh of softplus."""
    return F.mish(x)


@operator("Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Multiply by a sigmoid."""
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(x * alpha)


@operator("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Keep what is above a threshold."""
    return torch.where(x > alpha, x, 0)


@operator("Shrink")
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    """Pull towards zero what is far from it, and remove the rest."""
    moved = torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0))
    return moved.to(x.dtype)


@operator("Clip")
def clip(
    x: Tensor,
    low: Tensor | None = None,
    high: Tensor | None = None,
    *,
    consumed_inputs: list[int] | None = None,
    max: float | None = None,
    min: float | None = None,
) -> Tensor:
    """Limit values to a range."""
    del consumed_inputs
    if any(each is not None and each.requires_grad for each in (low, high)):
        x = x if low is None else torch.maximum(x, low)
        return x if high is None else torch.minimum(x, high)
    # As numbers they are faster than as tensors.
    least = min if low is None else low.item()
    most = max if high is None else high.item()
    if least is None and most is None:
        return x
    if x.is_floating_point() and least is not None and most is not None:
        return limit(x, least, most)
    return torch.clamp(x, least, most)


def limit(x: Tensor, low: float, high: float) -> Tensor:
    """Limit floats to a range; at its ends the slope is zero, as that of relu6."""
    # A clamp's gradient takes several times as long.
    return F.hardtanh(x, low, high) if low < high else torch.clamp(x, low, high)


@operator("Softmax")
def softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """Turn scores into shares of 1."""
    if opset >= 13:
        return torch.softmax(x, -1 if axis is None else axis)
    return torch.softmax(_rows(x, axis), 1).reshape(x.shape)


@operator("LogSoftmax")
def log_softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """Turn scores into logarithms of shares."""
    if opset >= 13:
        return torch.log_softmax(x, -1 if axis is None else axis)
    return torch.log_softmax(_rows(x, axis), 1).reshape(x.shape)


@operator("Hardmax")
def hardmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    """Put 1 at the first of the largest values and 0 elsewhere."""
    along = (-1 if axis is None else axis) if opset >= 13 else 1
    rows = x if opset >= 13 else _rows(x, axis)
    first = rows.argmax(along, keepdim=True)
    return torch.zeros_like(rows).scatter(along, first, 1.0).reshape(x.shape)


def _rows(x: Tensor, axis: int | None) -> Tensor:
    """Flatten to a matrix, as versions before 13 do."""
    start = 1 if axis is None else axis % x.dim()
    return x.reshape(x.shape[:start].numel(), -1)


@operator("Dropout")
def dropout(
    x: Tensor,
    share: Tensor | None = None,
    training_mode: Tensor | None = None,
    *,
    consumed_inputs: list[int] | None = None,
    is_test: int = 0,
    ratio: float = 0.5,
    seed: int | None = None,
    opset: int,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    """Pass values on; what drops some at random is refused."""
    del consumed_inputs, ratio, seed
    drops = training_mode is not None and bool(training_mode.item())
    if (drops and (share is None or share.item() > 0)) or (opset < 7 and not is_test):
        raise UnsupportedError("Dropout in training mode gives other values in every run")
    if outputs == 1:
        return x
    return x, torch.ones_like(x, dtype=torch.bool if opset >= 10 else x.dtype)

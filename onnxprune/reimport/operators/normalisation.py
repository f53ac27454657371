"""Normalisations: by stored statistics, of layers, groups and channels, and by norms."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.registry import operator

_of_batch: ContextVar[bool] = ContextVar("of_batch", default=False)


@contextlib.contextmanager
def batch_statistics() -> Iterator[None]:
    """Let BatchNormalization use the mean and variance of the batch for a while."""
    token = _of_batch.set(True)
    try:
        yield
    finally:
        _of_batch.reset(token)


@operator("BatchNormalization")
def batch_normalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    consumed_inputs: list[int] | None = None,
    epsilon: float = 1e-5,
    is_test: int = 0,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
    opset: int,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    """Normalise channels by their stored statistics, or by those of the batch."""
    del consumed_inputs
    if (opset < 7 and not is_test) or (opset < 14 and outputs > 1):
        raise UnsupportedError(f"BatchNormalization of opset {opset} in training mode")
    mean, variance = mean.detach(), variance.detach()
    if not spatial and mean.numel() != mean.shape[0]:
        factor = scale / (variance + epsilon).sqrt()
        return (x - mean) * factor + b
    if not training_mode:
        if _of_batch.get():
            return F.batch_norm(x, None, None, scale, b, True, 0.0, epsilon)
        return F.batch_norm(x, mean, variance, scale, b, False, 0.0, epsilon)
    y = F.batch_norm(x, None, None, scale, b, True, 0.0, epsilon)
    if outputs == 1:
        return y
    rest = [dimension for dimension in range(x.dim()) if dimension != 1]
    found, centre = torch.var_mean(x, rest, correction=0)
    running = [
        old * momentum + new.detach() * (1 - momentum)
        for old, new in ((mean, centre), (variance, found))
    ]
    return y, *running


@operator("LayerNormalization")
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    """Normalise the last dimensions, from an axis on."""
    del stash_type  # half precision is computed in single
    shape = x.shape[axis:]
    if scale.shape == shape and (b is None or b.shape == shape):
        y = F.layer_norm(x, shape, scale, b, epsilon)
    else:
        y = F.layer_norm(x, shape, None, None, epsilon) * scale
        y = y if b is None else y + b
    if outputs == 1:
        return y
    rest = list(range(axis % x.dim(), x.dim()))
    variance, mean = torch.var_mean(x, rest, correction=0, keepdim=True)
    return (y, mean, torch.rsqrt(variance + epsilon))[:outputs]


@operator("RMSNormalization")
def rms_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    """Divide the last dimensions by their root mean square."""
    del stash_type
    shape = list(x.shape[axis:])
    if list(scale.shape) == shape:
        return F.rms_norm(x, shape, scale, epsilon)
    return F.rms_norm(x, shape, None, epsilon) * scale


@operator("SimplifiedLayerNormalization")
def simplified_layer_normalization(
    x: Tensor,
    scale: Tensor,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    """Divide the last dimensions by their root mean square."""
    y: Tensor = rms_normalization(x, scale, axis=axis, epsilon=epsilon, stash_type=stash_type)
    if outputs == 1:
        return y
    rest = list(range(axis % x.dim(), x.dim()))
    return y, torch.rsqrt((x * x).mean(rest, keepdim=True) + epsilon)


@operator("InstanceNormalization")
def instance_normalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor,
    *,
    consumed_inputs: list[int] | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Normalise every channel of every sample."""
    del consumed_inputs
    return torch.group_norm(x, x.shape[1], scale, b, epsilon)


@operator("GroupNormalization")
def group_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
    stash_type: int = 1,
    opset: int,
) -> Tensor:
    """Normalise groups of channels of every sample."""
    del stash_type
    if opset < 21:  # one factor for each group
        repeats = x.shape[1] // num_groups
        scale, bias = scale.repeat_interleave(repeats), bias.repeat_interleave(repeats)
    return torch.group_norm(x, num_groups, scale, bias, epsilon)


@operator("LRN")
def local_response_normalization(
    x: Tensor, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Tensor:
    """Divide by the mean square over neighbouring channels."""
    before = (size - 1) // 2
    squares = (x * x).reshape(x.shape[0], 1, x.shape[1], -1)
    padded = F.pad(squares, [0, 0, before, size - 1 - before])
    means = F.avg_pool2d(padded, [size, 1], 1).reshape(x.shape)
    return x / (bias + alpha * means) ** beta


@operator("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """Divide by the norm along an axis; zeros stay."""
    norm = torch.linalg.vector_norm(x, p, axis, keepdim=True)
    return x / torch.where(norm == 0, 1.0, norm)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(x: Tensor, *, axes: list[int] | None = None) -> Tensor:
    """Subtract the mean and divide by the standard deviation."""
    chosen = [0, 2, 3] if axes is None else axes
    variance, mean = torch.var_mean(x, chosen, correction=0, keepdim=True)
    return (x - mean) / (variance.sqrt() + 1e-9)

"""ONNX Runtime's operators on quantised values that are no products."""

import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.reimport.operators.pooling import average_pool, global_average_pool
from onnxprune.reimport.operators.quantisation import MICROSOFT, kind_of, number, real
from onnxprune.reimport.registry import operator


@operator("QLinearAdd", domain=MICROSOFT)
def quantised_add(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor | None,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None,
    c_scale: Tensor,
    c_zero: Tensor | None = None,
) -> Tensor:
    """Add two quantised inputs."""
    total = real(a, a_scale, a_zero) + real(b, b_scale, b_zero)
    return number(total, c_scale, c_zero, kind_of(c_zero, a_zero, b_zero))


@operator("QLinearMul", domain=MICROSOFT)
def quantised_mul(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor | None,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None,
    c_scale: Tensor,
    c_zero: Tensor | None = None,
) -> Tensor:
    """Multiply two quantised inputs, value by value."""
    product = real(a, a_scale, a_zero) * real(b, b_scale, b_zero)
    return number(product, c_scale, c_zero, kind_of(c_zero, a_zero, b_zero))


@operator("QLinearSigmoid", domain=MICROSOFT)
def quantised_sigmoid(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
) -> Tensor:
    """Map quantised values to between 0 and 1."""
    y = torch.sigmoid(real(x, x_scale, x_zero))
    return number(y, y_scale, y_zero, kind_of(y_zero, x_zero))


@operator("QLinearLeakyRelu", domain=MICROSOFT)
def quantised_leaky_relu(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
    *,
    alpha: float = 0.01,
) -> Tensor:
    """Flatten quantised values that are negative."""
    y = F.leaky_relu(real(x, x_scale, x_zero), alpha)
    return number(y, y_scale, y_zero, kind_of(y_zero, x_zero))


@operator("QLinearAveragePool", domain=MICROSOFT)
def quantised_average_pool(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    kernel_shape: list[int],
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Average the quantised values of each window."""
    values = real(x, x_scale, x_zero)
    first = values.movedim(-1, 1) if channels_last else values
    y: Tensor = average_pool(
        first,
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    y = y.movedim(1, -1) if channels_last else y
    return number(y, y_scale, y_zero, kind_of(y_zero, x_zero))


@operator("QLinearGlobalAveragePool", domain=MICROSOFT)
def quantised_global_average_pool(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    *,
    channels_last: int = 0,
) -> Tensor:
    """Average the quantised values of each channel."""
    values = real(x, x_scale, x_zero)
    y: Tensor = global_average_pool(values.movedim(-1, 1) if channels_last else values)
    y = y.movedim(1, -1) if channels_last else y
    return number(y, y_scale, y_zero, kind_of(y_zero, x_zero))


@operator("QLinearConcat", domain=MICROSOFT)
def quantised_concat(y_scale: Tensor, y_zero: Tensor, *inputs: Tensor, axis: int) -> Tensor:
    """Join quantised inputs, each of which comes with its scale and zero point."""
    triples = zip(inputs[::3], inputs[1::3], inputs[2::3], strict=True)
    joined = torch.cat([real(x, scale, zero) for x, scale, zero in triples], axis)
    return number(joined, y_scale, y_zero, kind_of(y_zero))


@operator("QLinearWhere", domain=MICROSOFT)
def quantised_where(
    condition: Tensor,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    y: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    z_scale: Tensor,
    z_zero: Tensor,
) -> Tensor:
    """Choose between two quantised inputs."""
    left, right = real(x, x_scale, x_zero), real(y, y_scale, y_zero)
    chosen = torch.where(condition.to(left.device), left, right)
    return number(chosen, z_scale, z_zero, kind_of(z_zero))

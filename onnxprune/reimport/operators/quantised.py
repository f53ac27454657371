"""Products of quantised values, computed on their numbers as in quantisation."""

from collections.abc import Callable

import torch
from torch import Tensor

from onnxprune.reimport.operators.convolution import conv
from onnxprune.reimport.operators.quantisation import (
    MICROSOFT,
    centred,
    dynamic_quantize_linear,
    kind_of,
    number,
)
from onnxprune.reimport.registry import operator


@operator("ConvInteger")
def conv_integer(
    x: Tensor,
    w: Tensor,
    x_zero: Tensor | None = None,
    w_zero: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Slide a kernel of numbers over numbers."""
    sums: Tensor = conv(
        centred(x, _given(x_zero, _first)),
        centred(w, _given(w_zero, _outputs(w.dim()))),
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return sums


@operator("QLinearConv")
def quantised_conv(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Slide a kernel over the input; the bias is in steps of both scales."""
    sums: Tensor = conv_integer(
        x,
        w,
        x_zero,
        w_zero,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    if b is not None:
        sums = sums + b.to(sums.device, sums.dtype).reshape(-1, *[1] * (x.dim() - 2))
    step = _first(x_scale) * _outputs(x.dim() - 1)(w_scale)
    return number(sums * step, _first(y_scale), _first(y_zero), kind_of(y_zero))


@operator("QLinearConv", domain=MICROSOFT)
def quantised_conv_any_layout(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    *inputs: Tensor | None,
    auto_pad: str = "NOTSET",
    channels_last: int = 0,
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Slide a kernel over the input, whose channels may come last."""
    y: Tensor = quantised_conv(
        x.movedim(-1, 1) if channels_last else x,
        x_scale,
        x_zero,
        *inputs,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    return y.movedim(1, -1) if channels_last else y


@operator("MatMulInteger")
def matmul_integer(
    a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    """Multiply matrices of numbers."""
    return torch.matmul(centred(a, _given(a_zero, _rows)), centred(b, b_zero))


@operator("QLinearMatMul")
def quantised_matmul(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    """Multiply matrices; scales are of rows on the left, of columns on the right."""
    sums: Tensor = matmul_integer(a, b, a_zero, b_zero)
    step = _rows(a_scale) * b_scale
    return number(sums * step, _rows(y_scale), _rows(y_zero), kind_of(y_zero))


@operator("QGemm", domain=MICROSOFT)
def quantised_gemm(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    c: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """Multiply two matrices and add a third; without a scale for it the result is real."""
    left = centred(a, _first(a_zero))
    right = centred(b.t() if transB else b, b_zero)
    sums = torch.matmul(left.t() if transA else left, right)
    if c is not None:
        sums = sums + c.to(sums.device, sums.dtype)
    values = sums * (_first(a_scale) * b_scale * alpha)
    if y_scale is None:
        return values
    return number(values, _first(y_scale), _given(y_zero, _first), kind_of(y_zero))


@operator("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    a_zero: Tensor | None = None,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Multiply matrices of numbers to a real result."""
    sums: Tensor = matmul_integer(a, b, a_zero, b_zero)
    values = sums * (_rows(a_scale) * b_scale)
    return values if bias is None else values + bias


@operator("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(
    a: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Quantise the left matrix over its range, and multiply to a real result."""
    numbers, a_scale, a_zero = dynamic_quantize_linear(a)
    y: Tensor = matmul_integer_to_float(numbers, b, a_scale, b_scale, a_zero, b_zero, bias)
    return y


def _given(parameter: Tensor | None, laid: Callable[[Tensor], Tensor]) -> Tensor | None:
    return None if parameter is None else laid(parameter)


def _first(parameter: Tensor) -> Tensor:
    """Drop the dimensions of a parameter that is a single number."""
    return parameter.reshape(())


def _rows(parameter: Tensor) -> Tensor:
    """Lay one number per row over a matrix."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    return parameter.unsqueeze(-1) if parameter.dim() == 1 else parameter


def _outputs(rank: int) -> Callable[[Tensor], Tensor]:
    """Lay one number per output over a convolution's weight, or over what follows a batch."""

    def laid(parameter: Tensor) -> Tensor:
        if parameter.numel() == 1:
            return parameter.reshape(())
        return parameter.reshape(-1, *[1] * (rank - 1))

    return laid

"""From values to numbers of few bits and back, with gradients straight through the rounding.

A quantised value is its number, held in a float tensor: whole, but free to carry a gradient.
The type of a zero point says which numbers there are. A quantised weight arrives as a number,
too, which need not be whole while its real value is a parameter.
"""

import onnx
import torch
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.dtypes import PLAIN, float_type
from onnxprune.reimport.registry import operator
from onnxprune.reimport.values import NARROW

Types = onnx.TensorProto
NARROW_RANGES: dict[int, tuple[int, int]] = {
    Types.INT4: (-8, 7),
    Types.UINT4: (0, 15),
    Types.INT2: (-2, 1),
    Types.UINT2: (0, 3),
}
FLOAT8: dict[int, torch.dtype] = {
    Types.FLOAT8E4M3FN: torch.float8_e4m3fn,
    Types.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    Types.FLOAT8E5M2: torch.float8_e5m2,
    Types.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
}
INTEGERS = {dtype: number for number, dtype in PLAIN.items() if dtype != torch.bool}
MICROSOFT = "com.microsoft"


def real(x: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """Return the values of numbers; all three broadcast."""
    return centred(x, zero) * scale


def centred(x: Tensor, zero: Tensor | None) -> Tensor:
    """Subtract the zero point, in float."""
    numbers = x if x.is_floating_point() else x.to(float_type())
    return numbers if zero is None else numbers - zero.to(numbers.device, numbers.dtype)


def number(x: Tensor, scale: Tensor, zero: Tensor | None, kind: int) -> Tensor:
    """Return the whole numbers of values, clipped to what an integer type has.

    The slope is 1 / scale where nothing is clipped, as if nothing was rounded.
    """
    low, high = bounds(kind)
    ratio = x / scale
    rounded, exact = ratio.detach().round(), ratio
    if zero is not None:
        offset = zero.to(x.device, x.dtype)
        rounded, exact = rounded + offset, exact + offset
    return _straight(torch.clamp(rounded, low, high), torch.clamp(exact, low, high))


def _straight(forward: Tensor, backward: Tensor) -> Tensor:
    """Return one tensor's values with another's gradient."""
    return backward + (forward - backward).detach()


def bounds(kind: int) -> tuple[int, int]:
    """Return the least and the largest number of an integer type."""
    if kind in NARROW_RANGES:
        return NARROW_RANGES[kind]
    if kind not in PLAIN or kind == Types.BOOL:
        raise UnsupportedError(
            f"quantising to {_name(kind)} cannot be computed with gradients"
        )
    limits = torch.iinfo(PLAIN[kind])
    return limits.min, limits.max


def kind_of(*zeros: Tensor | None, default: int | None = None) -> int:
    """Return the element type that the first zero point is of."""
    zero = next((each for each in zeros if each is not None), None)
    if zero is None:
        if default is None:
            raise UnsupportedError("a quantised result has no zero point that says its type")
        return default
    narrow = getattr(zero, NARROW, None)
    found = INTEGERS.get(zero.dtype) if narrow is None else int(narrow)
    if found is None:
        raise UnsupportedError("a zero point is no integer, so the type of its result is open")
    return found


def _name(kind: int) -> str:
    return str(Types.DataType.Name(kind)) if kind in Types.DataType.values() else str(kind)


def spread(parameter: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """Lay a scale or zero point over values: one for all, for each slice, or for each block."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    if block:
        repeated = parameter.repeat_interleave(block, axis)
        return repeated.narrow(axis, 0, x.shape[axis])
    if parameter.dim() == 1:
        return parameter.reshape([-1 if at == axis % x.dim() else 1 for at in range(x.dim())])
    raise UnsupportedError(
        f"a scale of {parameter.dim()} dimensions without block_size has no meaning"
    )


@operator("QuantizeLinear")
@operator("QuantizeLinear", domain=MICROSOFT)
def quantize_linear(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Tensor:
    """Turn values into numbers."""
    if precision not in (0, Types.FLOAT, Types.FLOAT16, Types.BFLOAT16, Types.DOUBLE):
        raise UnsupportedError(f"QuantizeLinear with precision {_name(precision)}")
    kind = output_dtype or kind_of(zero, default=Types.UINT8)
    values = x if x.is_floating_point() else x.to(float_type())
    scales = spread(scale, x, axis, block_size)
    if kind in FLOAT8:
        if not saturate:
            raise UnsupportedError(f"QuantizeLinear to {_name(kind)} without saturation")
        return _eight_bits(values / scales, FLOAT8[kind])
    zeros = None if zero is None else spread(zero, x, axis, block_size)
    return number(values, scales, zeros, kind)


def _eight_bits(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Round to a float type of eight bits, and end where it does."""
    largest = torch.finfo(dtype).max
    kept = torch.clamp(x, -largest, largest)
    return _straight(kept.detach().to(dtype).to(x.dtype), kept)


@operator("DequantizeLinear")
@operator("DequantizeLinear", domain=MICROSOFT)
def dequantize_linear(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Tensor:
    """Turn numbers into values."""
    del output_dtype  # half precision is computed in single
    zeros = None if zero is None else spread(zero, x, axis, block_size)
    return real(x, spread(scale, x, axis, block_size), zeros)


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turn values into numbers over the range that they have."""
    values = x.detach()
    least, most = values.amin().clamp(max=0), values.amax().clamp(min=0)
    width = (most - least) / 255
    scale = torch.where(width == 0, 1.0, width).to(x.dtype)
    zero = torch.clamp((-least / scale).round(), 0, 255).to(torch.uint8)
    return number(x, scale, zero, Types.UINT8), scale, zero

"""What becomes of constant channels in operators with weights, and in normalisation."""

import numpy as np

from onnxprune.structure.registry import settles
from onnxprune.structure.steady.known import NOTHING, UNKNOWN, Known, Look
from onnxprune.types import Array


@settles("Conv")
def conv(look: Look) -> Known:
    """Give the bias where nothing is added to it."""
    weight = look.array(1)
    if weight is None or weight.ndim < 3:
        return NOTHING
    group = int(look.get("group", 1))
    rows, width = weight.shape[:2]
    used = (weight != 0).reshape(rows, width, -1).any(2)
    silent = look.known().zeros(1, width * group).reshape(group, 1, width)
    adds = used.reshape(group, rows // group, width) & ~silent
    return _biased(look, ~adds.any(2).ravel())


@settles("ConvTranspose")
def conv_transpose(look: Look) -> Known:
    """Give the bias where nothing is added to it."""
    weight = look.array(1)
    if weight is None or weight.ndim < 3:
        return NOTHING
    group = int(look.get("group", 1))
    inputs, width = weight.shape[:2]
    used = (weight != 0).reshape(group, inputs // group, width, -1).any(3)
    silent = look.known().zeros(1, inputs).reshape(group, inputs // group, 1)
    return _biased(look, ~(used & ~silent).any(1).ravel())


def _vector(look: Look, index: int) -> Array | None:
    """Return the number that each position of a vector holds, NaN for what is not known."""
    array = look.array(index)
    if array is not None:
        return array.astype(np.float64)
    known, shape = look.known(index), look.shapes[index]
    found = known.along(0)
    if found is not None:
        return found
    size = shape[0].size if len(shape) == 1 else None
    return None if size is None else np.full(size, known.whole)


def _biased(look: Look, empty: Array) -> Known:
    """Return a convolution's outputs where sums are empty."""
    shape = look.outputs[0]
    bias = _vector(look, 2) if look.has(2) else np.zeros(1)
    if bias is None:
        return NOTHING
    made: list[Array | None] = [None] * len(shape)
    if len(shape) > 1 and shape[1].labels is not None:
        made[1] = np.where(empty, bias, UNKNOWN)
    return Known(UNKNOWN, tuple(made))


def _sums(look: Look, sides: tuple[int, int], axes: tuple[int, int], size: int) -> Array:
    """Return which positions of an outer axis have empty sums.

    Args:
        look: the node.
        sides: the input that has the outer axis, and the other one.
        axes: the outer axis, and the other input's inner axis.
        size: of the outer axis.
    """
    own, other = sides
    outer, inner = axes
    empty = look.known(own).zeros(outer, size)
    array = look.array(own)
    if array is None or array.ndim < 2:
        return empty
    used = np.moveaxis(array != 0, (outer, -3 - outer), (0, 1))
    used = used.reshape(*used.shape[:2], -1).any(2)
    silent = look.known(other).zeros(inner, used.shape[1])
    return np.asarray(empty | ~(used & ~silent).any(1))


@settles("MatMul")
def matmul(look: Look) -> Known:
    """Give zero where all products are zero."""
    shape = look.outputs[0]
    left, right = look.shapes[0], look.shapes[1]
    made: list[Array | None] = [None] * len(shape)
    if len(left) < 2 or len(right) < 2:
        return Known(UNKNOWN, tuple(made))
    for place, axis in enumerate(shape):
        if axis.labels is None or axis.size is None:
            continue
        back = place - len(shape)
        if back == -1:
            zero = _sums(look, (1, 0), (-1, -1), axis.size)
        elif back == -2:
            zero = _sums(look, (0, 1), (-2, -2), axis.size)
        else:
            zero = _batch(look, 0, back, axis.size) | _batch(look, 1, back, axis.size)
        made[place] = np.where(zero, 0.0, UNKNOWN)
    return Known(UNKNOWN, tuple(made))


def _batch(look: Look, index: int, back: int, size: int) -> Array:
    shape = look.shapes[index]
    if len(shape) < -back or shape[back].size != size:
        return np.full(size, look.known(index).whole == 0)
    return look.known(index).zeros(back, size)


@settles("Gemm")
def gemm(look: Look) -> Known:
    """Give what is added where all products are zero."""
    shape = look.outputs[0]
    left = (-1, -2) if look.get("transA", 0) else (-2, -1)
    right = (-2, -1) if look.get("transB", 0) else (-1, -2)
    made: list[Array | None] = [None, None]
    sides = (((0, 1), (left[0], right[1])), ((1, 0), (right[0], left[1])))
    for place, (own, axes) in enumerate(sides):
        size = shape[place].size
        if shape[place].labels is not None and size is not None:
            empty = _sums(look, own, axes, size)
            made[place] = np.where(empty, _added(look, place - 2, size), UNKNOWN)
    return Known(UNKNOWN, tuple(made))


def _added(look: Look, back: int, size: int) -> Array:
    if not look.has(2):
        return np.zeros(size)
    shape, known = look.shapes[2], look.known(2)
    beta = float(look.get("beta", 1.0))
    found = known.along(back) if len(shape) >= -back and shape[back].size != 1 else None
    return beta * (np.full(size, known.whole) if found is None else found)


@settles("BatchNormalization")
def batch_normalization(look: Look) -> Known:
    """Shift and scale each channel's number."""
    shape = look.outputs[0]
    made: list[Array | None] = [None] * len(shape)
    given = [_vector(look, index) for index in range(1, 5)]
    vectors = [each for each in given if each is not None]
    if len(shape) < 2 or shape[1].labels is None or len(vectors) < 4:
        return Known(UNKNOWN, tuple(made))
    scale, bias, mean, variance = vectors
    found = look.known().along(1)
    values = np.full(scale.shape, look.known().whole) if found is None else found
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(variance + float(look.get("epsilon", 1e-5)))
        moved = (values - mean) / spread * scale + bias
    made[1] = np.where(scale == 0, bias, moved)
    return Known(UNKNOWN, tuple(made))


@settles("InstanceNormalization")
def instance_normalization(look: Look) -> Known:
    """Give the bias for a channel that is one number."""
    shape = look.outputs[0]
    made: list[Array | None] = [None] * len(shape)
    scale, bias = _vector(look, 1), _vector(look, 2)
    if len(shape) < 2 or shape[1].labels is None or scale is None or bias is None:
        return Known(UNKNOWN, tuple(made))
    found = look.known().along(1)
    even = np.zeros(scale.shape, bool) if found is None else found == 0
    made[1] = np.where(even | (scale == 0), bias, UNKNOWN)
    return Known(UNKNOWN, tuple(made))

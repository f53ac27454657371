"""Whole numbers that shapes are made of, followed as far as they are known."""

from typing import Any

import numpy as np
from onnx import numpy_helper

from onnxprune.structure.registry import follows
from onnxprune.structure.step import Step
from onnxprune.structure.values import Axis, Number, UnfollowableError, Value
from onnxprune.types import Array

LIMIT = 1024


@follows("Shape")
def shape(step: Step) -> list[Value]:
    """Count the positions of axes; that the count is known here freezes nothing."""
    axes = step.axes()
    step.touched.update(map(id, axes))
    last = step.get("end", None)
    chosen = axes[int(step.get("start", 0)) : len(axes) if last is None else int(last)]
    made = objects([Number(axis.size, axis) for axis in chosen])
    return [numbered(made)]


@follows("Size")
def size(step: Step) -> list[Value]:
    """Count elements, so that no axis may change."""
    for axis in step.axes():
        step.close(axis, f"{step.label} counts elements")
    return [Value((), None)]


@follows("ConstantOfShape")
def constant_of_shape(step: Step) -> list[Value]:
    """Repeat one value; the shape has to stay."""
    numbers = step.numbers(0).ravel().tolist()
    value = step.get("value", None)
    filled = numpy_helper.to_array(value).ravel()[0] if value is not None else np.float32(0)
    axes = tuple(_counted(step, number) for number in numbers)
    sizes = [axis.size for axis in axes if axis.labels is None and axis.size is not None]
    whole = np.asarray(filled).dtype.kind in "iu"
    if not whole or len(sizes) < len(axes) or np.prod(sizes) > LIMIT:
        return [Value(axes)]
    made = np.empty(sizes, object)
    made.fill(Number(int(filled)))
    return [Value(axes, made)]


def _counted(step: Step, number: Number) -> Axis:
    """Return an axis that is as long as a number says, or as the axis that it counts."""
    if number.axis is not None and number.axis.labels is not None:
        return number.axis
    return Axis(number.value, None, f"{step.label} makes it")


def compute(step: Step) -> list[Value] | None:
    """Compute whole numbers from whole numbers; None for other operators and values."""
    inputs = step.inputs
    given = [None if value is None else value.numbers for value in inputs]
    arrays = [numbers for numbers in given if numbers is not None]
    if not inputs or len(arrays) < len(given):
        return None
    found = _moved(step, arrays) if step.node.op_type in MOVING else _reckoned(step, arrays)
    if found is None or found.size > LIMIT:
        return None
    step.used.update(range(len(inputs)))
    return [numbered(found)]


def numbered(made: Array) -> Value:
    """Return a value that holds whole numbers."""
    return Value(tuple(Axis(size, None, "it is a shape") for size in made.shape), made)


def objects(numbers: list[Number]) -> Array:
    """Return numbers as an array."""
    made = np.empty(len(numbers), object)
    made[:] = numbers
    return made


MOVING = (
    *(
        "Cast",
        "Concat",
        "Expand",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Squeeze",
        "Transpose",
    ),
    "Unsqueeze",
)
"""Operators that put numbers together and take them apart."""


def _plain(step: Step, array: Array) -> list[int]:
    return [step.settled(number) for number in array.ravel().tolist()]


def _moved(step: Step, arrays: list[Array]) -> Array | None:
    data, *others = arrays
    try:
        match step.node.op_type:
            case "Cast" | "Identity":
                return data if step.get("to", 7) in (6, 7) else None
            case "Concat":
                return np.concatenate(arrays, int(step.get("axis", 0)))
            case "Transpose":
                return data.transpose(step.get("perm", None))
            case "Gather":
                taken = np.array(_plain(step, others[0]), np.int64).reshape(others[0].shape)
                found = np.take(data, taken, int(step.get("axis", 0)))
                return _array(found)
            case "Slice":
                return _sliced(data, [_plain(step, each) for each in others])
            case _:
                return _reshaped(step, data, others)
    except (ValueError, IndexError) as error:
        raise UnfollowableError(f"{step.label} has inputs that do not fit") from error


def _reshaped(step: Step, data: Array, others: list[Array]) -> Array | None:
    named = step.get("axes", None)
    given = _plain(step, others[0]) if others else named
    match step.node.op_type:
        case "Squeeze":
            axes = None if given is None else tuple(int(axis) for axis in given)
            return _array(np.squeeze(data, axes))
        case "Unsqueeze" if given is not None:
            return np.expand_dims(data, tuple(int(axis) for axis in given))
        case "Expand" if given is not None:
            return np.broadcast_to(data, np.broadcast_shapes(data.shape, tuple(given)))
        case "Reshape" if given is not None and 0 not in given:
            return data.reshape(given)
    return None


def _array(found: Any) -> Array:
    if isinstance(found, np.ndarray):
        return found
    made = np.empty((), object)
    made[()] = found
    return made


def _sliced(data: Array, given: list[list[int]]) -> Array:
    starts, ends, *rest = given
    axes = rest[0] if rest else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    cut = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        low = None if step < 0 and start >= data.shape[axis] else start
        high = None if step < 0 and end < -data.shape[axis] else end
        cut[axis] = slice(low, high, step)
    return data[tuple(cut)]


def _reckoned(step: Step, arrays: list[Array]) -> Array | None:
    """Do sums with numbers that are known, and so stay."""
    if step.node.op_type not in ("Add", "Sub", "Mul", "Div", "Mod"):
        return None
    left, right = (
        np.array(_plain(step, array), np.int64).reshape(array.shape) for array in arrays
    )
    match step.node.op_type:
        case "Add":
            made = left + right
        case "Sub":
            made = left - right
        case "Mul":
            made = left * right
        case _:
            if not np.all(right > 0) or not np.all(left >= 0):
                return None
            made = left % right if step.node.op_type == "Mod" else left // right
    numbers = objects([Number(int(number)) for number in np.ravel(made).tolist()])
    return numbers.reshape(np.shape(made))

"""What is known of a value's channels: the one number that each of them holds, if it is one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from onnxprune.formats.onnx_rules import any_attribute
from onnxprune.structure.values import Axis
from onnxprune.types import Array

UNKNOWN = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of a value.

    Args:
        whole: the number that all of it is; NaN where it is not one number.
        axes: for each axis, the number that each position holds; None where none is known.
    """

    whole: float = UNKNOWN
    axes: tuple[Array | None, ...] = ()

    def along(self, axis: int) -> Array | None:
        """Return what positions of an axis hold, if anything is known."""
        return self.axes[axis] if -len(self.axes) <= axis < len(self.axes) else None

    def zeros(self, axis: int, size: int) -> Array:
        """Return which positions of an axis are zero."""
        found = self.along(axis)
        if self.whole == 0:
            return np.ones(size, bool)
        return np.zeros(size, bool) if found is None else found == 0


NOTHING = Known()


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A node and what is known of its inputs.

    Args:
        node: the node.
        inputs: what is known; None for inputs left out.
        shapes: the axes of the inputs; empty where they are not known.
        outputs: the axes of the outputs.
        array: gives the values of an input that is constant, else None.
    """

    node: onnx.NodeProto
    inputs: list[Known | None]
    shapes: list[tuple[Axis, ...]]
    outputs: list[tuple[Axis, ...]]
    array: Callable[[int], Array | None] = field(default=lambda _: None)

    def get(self, name: str, default: Any) -> Any:
        """Return the value of an attribute."""
        return any_attribute(self.node, name, default)

    def known(self, index: int = 0) -> Known:
        """Return what is known of an input."""
        found = self.inputs[index] if index < len(self.inputs) else None
        return NOTHING if found is None else found

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None


def apply(known: Known, function: Callable[[Array], Array]) -> Known:
    """Apply a function of numbers to all that is known."""
    axes = tuple(None if each is None else function(each) for each in known.axes)
    return Known(float(function(np.array(known.whole))), axes)


def only_zero(values: Array) -> Array:
    """Keep zeros alone."""
    return np.where(values == 0, 0.0, UNKNOWN)


def combine(look: Look, function: Callable[..., Array]) -> Known:
    """Combine what is known of inputs that are combined element by element."""
    whole = function(*[np.array(look.known(at).whole) for at in range(len(look.inputs))])
    made: list[Array | None] = []
    axes = look.outputs[0]
    for back in range(len(axes), 0, -1):
        axis = axes[-back]
        if axis.labels is None or axis.size is None:
            made.append(None)
            continue
        sides = [_side(look, at, back, axis.size) for at in range(len(look.inputs))]
        made.append(function(*sides))
    return Known(float(whole), tuple(made))


def _side(look: Look, index: int, back: int, size: int) -> Array:
    """Return what an input adds to each position of an axis, counted from behind."""
    known, shape = look.known(index), look.shapes[index]
    whole = np.full(size, known.whole)
    if back > len(shape) or shape[-back].size == 1:
        return whole
    found = known.along(-back)
    return whole if found is None or found.size != size else found


def of_array(array: Array, axes: Sequence[Axis]) -> Known:
    """Return what is known of a constant."""
    if array.dtype.kind not in "fiubV" or not array.size:
        return Known(UNKNOWN, (None,) * len(axes))
    values = array if array.dtype.kind in "fiub" else array.astype(np.float32)
    made = [
        None if axis.labels is None else _even(np.moveaxis(values, place, 0))
        for place, axis in enumerate(axes)
    ]
    return Known(float(_even(values.reshape(1, -1))[0]), tuple(made))


def _even(values: Array) -> Array:
    """Return the number that each row holds everywhere, NaN for others."""
    rows = values.reshape(len(values), -1)
    low, high = rows.min(1), rows.max(1)
    return np.where(low == high, low.astype(np.float64), UNKNOWN)

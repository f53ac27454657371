"""One node as the rules of operators see it, while channels are followed through it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from onnxprune.formats.onnx_rules import any_attribute
from onnxprune.structure.labels import Labels
from onnxprune.structure.values import (
    Axis,
    Item,
    Number,
    Operand,
    Repair,
    Site,
    UnfollowableError,
    Value,
)
from onnxprune.types import Array

RUN_TIME = "a shape that is computed at run time"


@dataclass(slots=True, eq=False)
class Step:
    """A node, its inputs and what a rule finds out about it.

    Args:
        node: the node; `position`: its place in the graph; `label`: what it is called.
        position: see above.
        label: see above.
        opset: the version of the standard operators.
        labels: all channels.
        inputs: what is known of the inputs; None for those left out.
        sizes: of the outputs' axes, as shape inference knows them.
        floats: the constant behind each input that is one, if it is small.
        fixed: whether each input is a constant, moved or not.
        lost: tells for an axis of the first output whether it is of no use behind the node.
        sites: receives sums over channels.
        repairs: receives constants that tell of channels.
        rows: receives the labels of weights' outputs; `columns`: of their inputs.
        columns: see above.
        used: the inputs whose whole numbers a rule has dealt with.
        touched: the axes that a rule has dealt with.
    """

    node: onnx.NodeProto
    position: int
    label: str
    opset: int
    labels: Labels
    inputs: list[Value | None]
    sizes: list[list[int | None] | None]
    floats: list[Array | None]
    fixed: list[bool]
    lost: Any
    sites: list[Site] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    rows: list[Array] = field(default_factory=list)
    columns: list[Array] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)

    def get(self, name: str, default: Any) -> Any:
        """Return the value of an attribute."""
        return any_attribute(self.node, name, default)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def axes(self, index: int = 0) -> tuple[Axis, ...]:
        """Return the axes of an input that has to be there."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise UnfollowableError(f"{self.label} lacks its input {index}")
        if value.axes is None:
            raise UnfollowableError(value.why)
        return value.axes

    def axis_of(self, rank: int, name: str = "axis", default: int = 0) -> int:
        """Return the axis that an attribute names, counted from the front."""
        found = int(self.get(name, default))
        if not -rank <= found < rank:
            raise UnfollowableError(f"{self.label}: axis {found} of {rank}")
        return found % rank

    def close(self, axis: Axis, why: str) -> Axis:
        """Let the channels of an axis stay; return the axis without them."""
        self.touched.add(id(axis))
        if axis.labels is not None:
            self.labels.freeze(axis.labels, why)
        return Axis(axis.size, None, why if axis.labels is not None else axis.why or why)

    def meet(self, *axes: Axis) -> Axis:
        """Make the channels of axes the same, which are equally long; return that axis."""
        self.touched.update(map(id, axes))
        first = next((axis for axis in axes if axis.labels is not None), None)
        if first is None:
            return next((axis for axis in axes if axis.size is not None), axes[0])
        for axis in axes:
            if axis.labels is None:
                if axis.size not in (None, first.size):
                    raise UnfollowableError(f"{self.label} has inputs that do not fit")
                self._freeze(first, axis.why)
            elif axis.size != first.size:
                raise UnfollowableError(f"{self.label} has inputs that do not fit")
            elif axis is not first:
                assert first.labels is not None
                self.labels.unite(first.labels, axis.labels)
        return first

    def _freeze(self, axis: Axis, why: str) -> None:
        assert axis.labels is not None
        self.labels.freeze(axis.labels, why or f"{self.label} cannot be followed")

    def broadcast(self, *shapes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """Make the channels of values the same that are combined element by element."""
        rank = max(len(shape) for shape in shapes)
        made = []
        for back in range(rank, 0, -1):
            here = [shape[-back] for shape in shapes if len(shape) >= back]
            long = [axis for axis in here if axis.size != 1]
            self.touched.update(map(id, here))
            made.append(self.meet(*long) if long else here[0])
        return tuple(made)

    def contract(self, left: tuple[int, int], right: tuple[int, int] | None = None) -> None:
        """Note a sum over an axis of one input, or of the products of two."""
        sides = [left] if right is None else [left, right]
        axes = [self.axes(index)[axis] for index, axis in sides]
        met = self.meet(*axes)
        if met.labels is not None:
            operands = tuple(Operand(self.node.input[index], axis) for index, axis in sides)
            self.sites.append(Site(met.labels, operands, self.label))
            for (index, _), axis in zip(sides, axes, strict=True):
                if self.fixed[index] and axis.labels is not None:
                    self.columns.append(axis.labels)

    def produce(self, index: int, place: int) -> Axis:
        """Return an axis of an input that is an output's; of a weight it counts its rows."""
        axis = self.axes(index)[place]
        self.touched.add(id(axis))
        if axis.labels is not None and self.fixed[index]:
            self.rows.append(axis.labels)
        return axis

    def numbers(self, index: int) -> Array:
        """Return the whole numbers that an input holds, as far as they are known."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None or value.numbers is None:
            raise UnfollowableError(f"{RUN_TIME} ({self.label})")
        for axis in value.axes or ():
            self.close(axis, f"it is a shape, of {self.label}")
        self.used.add(index)
        return value.numbers

    def integers(self, index: int) -> list[int]:
        """Return known whole numbers; an axis whose length counts here stays as it is."""
        return [self.settled(number) for number in self.numbers(index).ravel().tolist()]

    def settled(self, number: Number) -> int:
        """Return a number whose value is known, and stays."""
        if number.axis is not None:
            self.close(number.axis, f"{RUN_TIME} ({self.label})")
        if number.value is None:
            raise UnfollowableError(f"{RUN_TIME} ({self.label})")
        return number.value

    def scalar(self, index: int) -> float | None:
        """Return the value of a constant with one element; None if it is none."""
        array = self.floats[index] if index < len(self.floats) else None
        return float(array.ravel()[0]) if array is not None and array.size == 1 else None

    def repair(
        self,
        target: int | str,
        items: list[Item],
        before: list[int] | None,
        scalar: bool = False,
        drop: str = "",
    ) -> None:
        """Note a constant that tells of channels."""
        known = None if before is None else tuple(before)
        self.repairs.append(Repair(self.position, target, tuple(items), known, scalar, drop))


def positions(count: int) -> Array:
    """Return the positions of an axis that stays as it is."""
    return np.arange(count).reshape(-1, 1)

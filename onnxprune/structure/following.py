"""Follows the channels of a model from node to node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import onnx

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Scope, node_label
from onnxprune.structure.constants import Constants
from onnxprune.structure.folding import Folding
from onnxprune.structure.labels import Labels
from onnxprune.structure.lookahead import Ahead
from onnxprune.structure.operators import FAMILIES
from onnxprune.structure.operators.numbers import compute, objects
from onnxprune.structure.ordering import in_order
from onnxprune.structure.registry import FOLLOWING
from onnxprune.structure.sources import counted, listed, opaque, overridable, read_elsewhere
from onnxprune.structure.step import Step
from onnxprune.structure.values import (
    Axis,
    Given,
    Moves,
    Number,
    Origin,
    Repair,
    Same,
    Site,
    UnfollowableError,
    Value,
)
from onnxprune.types import Array

Shapes = Mapping[str, Sequence[int | None]]
DEFAULT = ("", "ai.onnx")
MALFORMED = (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError)
"""What comes of attributes and shapes that no valid model has."""

SMALL = 64
assert FAMILIES


@dataclass(slots=True, eq=False)
class Followed:
    """All that was found out about a model's channels.

    Args:
        labels: the channels.
        constants: the model's tensors; `folding`: what follows from them alone.
        folding: see above.
        values: what is known of each value of the main graph, constants included.
        origins: where axes of outputs come from, by name, for operators that only move.
        sites: the sums over channels.
        repairs: the constants that tell of channels.
        rows: labels of what weights give; `columns`: of what they take.
        columns: see above.
    """

    labels: Labels
    constants: Constants
    folding: Folding
    values: dict[str, Value] = field(default_factory=dict)
    origins: dict[str, tuple[Origin, ...]] = field(default_factory=dict)
    sites: list[Site] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    rows: list[Array] = field(default_factory=list)
    columns: list[Array] = field(default_factory=list)


def follow(model: OnnxModel, shapes: Shapes) -> Followed:
    """Follow the channels of a model's main graph.

    Args:
        model: the model.
        shapes: the shapes of its values, as far as they are known.
    """
    walk = _Walk(model, shapes)
    for position in in_order(walk.scope.nodes):
        walk.take(position, walk.scope.nodes[position])
    return walk.found


class _Walk:
    """One walk over the nodes of the main graph."""

    def __init__(self, model: OnnxModel, shapes: Shapes) -> None:
        self.model = model
        self.shapes = shapes
        self.scope: Scope = model.graph.scopes[0]
        self.labels = Labels()
        constants = Constants(model)
        folding = Folding(self.scope, constants)
        self.found = Followed(self.labels, constants, folding)
        self.values = self.found.values
        imports = model.graph.model.opset_import
        self.opset = max(
            (each.version for each in imports if each.domain in DEFAULT), default=1
        )
        self.overridable = overridable(model)
        self.kept = read_elsewhere(self.scope)
        for name in self.scope.inputs:
            if name not in self.scope.constants:
                sizes = shapes.get(name)
                self._set(name, opaque(sizes, f"it is the model's input '{name}'"))

    def _set(self, name: str, value: Value) -> None:
        self.values[name] = value
        if name in self.kept:
            self._freeze(value, self.kept[name])

    def _freeze(self, value: Value, why: str) -> None:
        for axis in (*(value.axes or ()), *counted(value)):
            if axis.labels is not None:
                self.labels.freeze(axis.labels, why)

    def value(self, name: str) -> Value | None:
        """Return what is known of a value; constants get their labels when they are read."""
        if not name:
            return None
        if name not in self.values and name in self.scope.constants:
            self._set(name, self._constant(name))
        if name not in self.values:
            self._set(name, Value(None, None, f"'{name}' is not followed"))
        return self.values[name]

    def _constant(self, name: str) -> Value:
        dims = self.scope.constants[name].record.dims
        axes = tuple(
            Axis(size, self.labels.fresh(size) if size > 1 else None, "it is one position")
            for size in dims
        )
        whole = self.found.constants.integers(name)
        numbers = None
        if whole is not None:
            flat = objects([Number(int(each)) for each in whole.ravel().tolist()])
            numbers = flat.reshape(whole.shape)
        value = Value(axes, numbers)
        if name in self.overridable:
            self._freeze(value, f"'{name}' is also an input of the model")
        return value

    def take(self, position: int, node: onnx.NodeProto) -> None:
        """Follow channels through one node."""
        if node.op_type == "Constant" and node.domain in DEFAULT:
            if node.output[0] not in self.scope.constants:
                self._set(node.output[0], listed(node, self.shapes.get(node.output[0])))
            return
        step = self._step(position, node)
        try:
            outputs = self._outputs(step)
        except UnfollowableError as error:
            for value in step.inputs:
                if value is not None:
                    self._freeze(value, str(error))
            for name in node.output:
                if name:
                    self._set(name, opaque(self.shapes.get(name), str(error)))
            return
        for name, value in zip(node.output, outputs, strict=False):
            if name:
                self._set(name, self._fitted(name, value, step))
        self._finish(step, outputs)

    def _step(self, position: int, node: onnx.NodeProto) -> Step:
        label = f"{node.op_type} '{node_label(node)}'"
        sizes = [self.shapes.get(name) if name else None for name in node.output]
        lost = partial(_lost, Ahead(self.scope, self.shapes), node)
        return Step(
            node=node,
            position=position,
            label=label,
            opset=self.opset,
            labels=self.labels,
            inputs=[self.value(name) for name in node.input],
            sizes=[None if each is None else list(each) for each in sizes],
            floats=[self._small(name) for name in node.input],
            fixed=[bool(name) and self.scope.is_fixed(name) for name in node.input],
            lost=lost,
        )

    def _small(self, name: str) -> Array | None:
        """Return a value that is constant and has few elements."""
        if name in self.found.constants:
            return self.found.constants.small(name)
        sizes = self.shapes.get(name)
        if sizes is None or None in sizes or np.prod([*filter(None, sizes), 1]) > SMALL:
            return None
        return self.found.folding.array(name)

    def _outputs(self, step: Step) -> list[Value]:
        node = step.node
        if any(each.HasField("g") or each.graphs for each in node.attribute):
            raise UnfollowableError(f"{step.label} has a subgraph")
        domain = "" if node.domain in DEFAULT else node.domain
        computed = compute(step) if domain == "" else None
        if computed is not None:
            return computed
        rule = FOLLOWING.get((domain, node.op_type))
        if rule is None or self.model.graph.called(node) is not None:
            raise UnfollowableError(f"{step.label} is not followed")
        try:
            found: Any = rule(step)
        except MALFORMED as error:
            raise UnfollowableError(f"{step.label} is not as it should be") from error
        if isinstance(found, Moves):
            for name, origins in zip(node.output, found.outputs, strict=False):
                self.found.origins[name] = origins
            return [self._moved(step, origins) for origins in found.outputs]
        return [each if isinstance(each, Value) else Value(tuple(each)) for each in found]

    def _moved(self, step: Step, origins: tuple[Origin, ...]) -> Value:
        """Make the axes of an output that only moves values."""
        return Value(tuple(self._axis(step, origin) for origin in origins))

    def _axis(self, step: Step, origin: Origin) -> Axis:
        if isinstance(origin, str):
            return Axis(1 if origin == "an axis of length one" else None, None, origin)
        if isinstance(origin, Given):
            return origin.axis
        if isinstance(origin, Same):
            axis = step.axes(origin.input)[origin.axis]
            step.touched.add(id(axis))
            return axis
        sources = [step.axes(part.input)[part.axis] for part in origin if part.input >= 0]
        step.touched.update(map(id, sources))
        size = sum(len(part.positions) for part in origin)
        if all(axis.labels is None for axis in sources):
            return Axis(size, None, next((axis.why for axis in sources), ""))
        pieces = []
        for part in origin:
            source = step.axes(part.input)[part.axis] if part.input >= 0 else None
            pieces.append(self._piece(source, part.positions, part.labels))
        return Axis(size, np.concatenate(pieces))

    def _piece(self, axis: Axis | None, positions: Array, filled: Array | None) -> Array:
        if axis is None:
            assert filled is not None
            return filled
        if axis.labels is None:
            made = self.labels.fresh(len(positions))
            self.labels.freeze(made, axis.why or "it is not followed")
            return made
        table = axis.labels[positions]
        for column in range(1, table.shape[1]):
            self.labels.unite(table[:, 0], table[:, column])
        return table[:, 0] if len(positions) else axis.labels[:0]

    def _fitted(self, name: str, value: Value, step: Step) -> Value:
        """Hold what a rule says against what shape inference says."""
        sizes = self.shapes.get(name)
        if sizes is None or value.axes is None:
            return value
        if len(sizes) != len(value.axes):
            self._freeze(value, f"{step.label} has an output of another rank")
            return opaque(sizes, f"{step.label} has an output of another rank")
        axes = []
        for axis, size in zip(value.axes, sizes, strict=True):
            known = axis
            if axis.labels is not None and size not in (None, axis.size):
                self.labels.freeze(axis.labels, f"{step.label} has an output of another size")
                known = Axis(size, None, f"{step.label} has an output of another size")
            elif axis.size is None and size is not None:
                known = Axis(size, None, axis.why)
            axes.append(known)
        return Value(tuple(axes), value.numbers)

    def _finish(self, step: Step, outputs: list[Value]) -> None:
        """Let channels stay that a rule has not dealt with; keep what it found."""
        passed = {id(axis) for value in outputs for axis in value.axes or ()}
        for index, value in enumerate(step.inputs):
            if value is None:
                continue
            for axis in value.axes or ():
                if id(axis) not in passed | step.touched and axis.labels is not None:
                    self.labels.freeze(axis.labels, f"{step.label} is not followed")
            for axis in counted(value) if index not in step.used else ():
                if axis.labels is not None:
                    self.labels.freeze(axis.labels, f"{step.label} computes with a shape")
        self.found.sites += step.sites
        self.found.repairs += step.repairs
        self.found.rows += step.rows
        self.found.columns += step.columns


def _lost(ahead: Ahead, node: onnx.NodeProto, axis: int, rank: int) -> bool:
    return ahead.is_lost(node.output[0], axis, rank)

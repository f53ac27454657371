"""Finds the channels that hold one number whatever the model is fed."""

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.structure.following import DEFAULT, MALFORMED, Followed
from onnxprune.structure.ordering import in_order
from onnxprune.structure.registry import STEADY
from onnxprune.structure.steady import elementwise, layers, moving
from onnxprune.structure.steady.known import NOTHING, Known, Look, of_array
from onnxprune.structure.values import Axis, Origin

assert elementwise
assert layers


class Settled:
    """What is known of the values of a model whose channels were followed."""

    def __init__(self, model: OnnxModel, followed: Followed) -> None:
        self.followed = followed
        self.scope = model.graph.scopes[0]
        self.folding = followed.folding
        self.known: dict[str, Known] = {}
        for position in in_order(self.scope.nodes):
            self._take(position)

    def of(self, name: str) -> Known:
        """Return what is known of a value."""
        if name not in self.known:
            axes = self._axes(name)
            tracked = any(axis.labels is not None for axis in axes) or len(axes) == 0
            small = all(axis.size == 1 for axis in axes)
            array = self.folding.array(name) if tracked or small else None
            self.known[name] = NOTHING if array is None else of_array(array, axes)
        return self.known[name]

    def _axes(self, name: str) -> tuple[Axis, ...]:
        value = self.followed.values.get(name)
        return (value.axes if value is not None else None) or ()

    def _take(self, position: int) -> None:
        node = self.scope.nodes[position]
        outputs = [self._axes(name) for name in node.output]
        tracked = any(axis.labels is not None for axes in outputs for axis in axes)
        if not tracked or node.op_type == "Constant":
            return
        first = self.folding.array(node.output[0])
        if first is not None:
            self.known[node.output[0]] = of_array(first, outputs[0])
            return
        look = Look(
            node,
            [self.of(name) if name else None for name in node.input],
            [self._axes(name) for name in node.input],
            outputs,
            lambda index: self.folding.array(node.input[index]),
        )
        for name, axes in zip(node.output, outputs, strict=True):
            try:
                known = self._known(look, self.followed.origins.get(name))
            except MALFORMED:
                known = NOTHING
            self.known[name] = _fitting(known, axes)

    def _known(self, look: Look, origins: tuple[Origin, ...] | None) -> Known:
        node = look.node
        if origins is not None:
            known = moving.moved(look, origins)
            amend = moving.AMENDING.get(node.op_type)
            return known if amend is None else amend(look, known)
        rule = STEADY.get(("" if node.domain in DEFAULT else node.domain, node.op_type))
        return NOTHING if rule is None else rule(look)


def _fitting(known: Known, axes: tuple[Axis, ...]) -> Known:
    """Leave out what does not fit the axes of a value."""
    if len(known.axes) != len(axes):
        return Known(known.whole, (None,) * len(axes))
    made = tuple(
        None if found is None or axis.labels is None or found.size != axis.size else found
        for found, axis in zip(known.axes, axes, strict=True)
    )
    return Known(known.whole, made)

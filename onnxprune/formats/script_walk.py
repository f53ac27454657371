"""Follows the tensors of a script through its graphs, to the operators that use them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, ops

from onnxprune.formats.torch_uses import Uses

VIEWS = {
    *("t", "transpose", "permute", "view", "reshape", "flatten", "unflatten", "squeeze"),
    *(
        "unsqueeze",
        "slice",
        "select",
        "narrow",
        "chunk",
        "split",
        "detach",
        "alias",
        "numpy_T",
    ),
    *("contiguous", "expand", "movedim", "swapaxes", "unbind", "split_with_sizes"),
}
"""Operators whose result shows the same values, if it can."""

CASTS = {"to", "type_as", "float", "half", "double", "clone", "dropout"}
"""Operators that give the same values again in another form."""


class Walker:
    """Goes through one graph.

    Args:
        uses: is told what is done with tensors.
        names: gives the names of an operator's arguments.
        constant: gives the value of a constant.
        member: gives an attribute of an object.
    """

    def __init__(
        self,
        uses: Uses,
        names: Callable[[Any], list[str]],
        constant: Callable[[Any], Any],
        member: Callable[[Any, str], Any],
    ) -> None:
        self.uses = uses
        self.names = names
        self.constant = constant
        self.member = member
        self.values: dict[str, Any] = {}

    def walk(self, block: Any) -> None:
        """Go through the nodes of a block in order."""
        for node in block.nodes():
            self._step(node)

    def _step(self, node: Any) -> None:
        kind, blocks = node.kind(), list(node.blocks())
        if kind == "prim::If":
            self._branch(node)
        elif blocks:
            for inner in blocks:
                self.walk(inner)
        elif kind.startswith("prim::"):
            self._structure(node, kind)
        elif kind.startswith("aten::"):
            self._operator(node, kind.removeprefix("aten::"))

    def _branch(self, node: Any) -> None:
        """Walk both ways, or the only one that is ever gone."""
        (asked,) = node.inputs()
        known = self.values.get(asked.debugName())
        blocks = list(node.blocks())
        if isinstance(known, bool):
            blocks = [blocks[0] if known else blocks[1]]
        for block in blocks:
            self.walk(block)
        results = [[self.values.get(v.debugName()) for v in b.outputs()] for b in blocks]
        for number, value in enumerate(node.outputs()):
            ways = [result[number] for result in results]
            if all(each is ways[0] for each in ways):
                self._set(value, ways[0])

    def _structure(self, node: Any, kind: str) -> None:
        """Follow what takes things apart and puts them together."""
        inputs, outputs = self._inputs(node), list(node.outputs())
        if kind == "prim::Constant":
            self._set(outputs[0], self.constant(node))
        elif kind == "prim::GetAttr" and inputs[0] is not None:
            self._set(outputs[0], self.member(inputs[0], node.s("name")))
        elif kind in ("prim::ListConstruct", "prim::TupleConstruct"):
            if any(isinstance(each, Tensor | int) for each in inputs):
                self._set(outputs[0], inputs)
        elif kind in ("prim::ListUnpack", "prim::TupleUnpack"):
            if isinstance(inputs[0], list | tuple):
                for output, value in zip(outputs, inputs[0], strict=False):
                    self._set(output, value)
        elif kind in ("prim::unchecked_cast", "prim::unchecked_unwrap_optional"):
            self._set(outputs[0], inputs[0])

    def _operator(self, node: Any, op: str) -> None:
        inputs, outputs = self._inputs(node), list(node.outputs())
        first = inputs[0] if inputs else None
        if op == "__getitem__" and isinstance(first, list) and isinstance(inputs[1], int):
            if -len(first) <= inputs[1] < len(first):
                self._set(outputs[0], first[inputs[1]])
        elif op == "__not__" and isinstance(first, bool):
            self._set(outputs[0], not first)
        elif op in CASTS and isinstance(first, Tensor):
            self._set(outputs[0], first)
        elif op in VIEWS and isinstance(first, Tensor) and all_plain(inputs[1:]):
            self._set(outputs[0], shown(op, inputs))
        else:
            others = dict(zip(self.names(node), inputs, strict=False))
            for name, value in others.items():
                self.uses.note(op, name, value, others)

    def _inputs(self, node: Any) -> list[Any]:
        return [self.values.get(value.debugName()) for value in node.inputs()]

    def _set(self, value: Any, known: Any) -> None:
        if known is not None:
            self.values[value.debugName()] = known


def all_plain(values: list[Any]) -> bool:
    """Whether values are known, and are no tensors."""
    return all(each is not None and not isinstance(each, Tensor) for each in values)


def shown(op: str, inputs: list[Any], more: Mapping[str, Any] | None = None) -> Any:
    """Show a tensor in another way; None where that cannot be."""
    try:
        result = getattr(ops.aten, op)(*inputs, **(more or {}))
    except (RuntimeError, TypeError, AttributeError, IndexError, ValueError):
        return None
    return list(result) if isinstance(result, tuple) else result

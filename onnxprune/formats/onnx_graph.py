"""The graph of a skeleton as scopes: who makes each value, and who reads it."""

from dataclasses import dataclass, field
from typing import Any

import onnx

from onnxprune.errors import InputError, LimitError
from onnxprune.formats.onnx_tensor import TensorRecord

Address = tuple[int, ...]

LETTERS = 1 << 26
"""So many letters the paths of all tensors may have together: each names all that is around it."""

MOVING = {
    "Identity",
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
    "Transpose",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Split",
    "Concat",
}
"""Operators whose results are their inputs' values, in another order, shape or type."""


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """One place where a value is read: an input of a node, or an output of a graph."""

    scope: "Scope"
    node: onnx.NodeProto | None
    index: int
    order: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A tensor of the model: an initializer, or the value of a Constant node."""

    path: str
    name: str
    scope: "Scope"
    record: TensorRecord
    proto: onnx.TensorProto | None
    initializer: bool


@dataclass(slots=True, eq=False)
class Scope:
    """The main graph, a subgraph or a function body."""

    prefix: str
    parent: "Scope | None"
    owner: onnx.NodeProto | None
    attribute: str
    inputs: list[str]
    outputs: list[str]
    nodes: list[onnx.NodeProto]
    body: Any
    order: tuple[int, ...] = ()
    constants: dict[str, Constant] = field(default_factory=dict)
    producers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    uses: dict[str, list[Use]] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    callers: list[Use] = field(default_factory=list)

    def defining(self, name: str) -> "Scope | None":
        """Return the scope, this one or one around it, that gives a name its value."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.uses:
                return scope
            scope = scope.parent
        return None

    def constant(self, name: str) -> Constant | None:
        """Return the constant that a name stands for here, if it is one."""
        scope = self.defining(name)
        return scope.constants.get(name) if scope is not None else None

    def is_fixed(self, name: str) -> bool:
        """Whether a name stands for a constant, moved or not."""
        scope = self.defining(name)
        return scope is not None and (name in scope.constants or name in scope.fixed)


FunctionKey = tuple[str, str, str]


class Graph:
    """All scopes of a model, its constants in graph order, and its functions."""

    def __init__(self, model: onnx.ModelProto, tensors: dict[Address, TensorRecord]) -> None:
        self.model = model
        self.tensors = tensors
        self.scopes: list[Scope] = []
        self.constants: list[Constant] = []
        self.attributes: list[TensorRecord] = []
        self.others: list[TensorRecord] = []
        self.sparse: list[str] = []
        self.functions: dict[FunctionKey, Scope] = {}
        self.by_path: dict[str, Constant] = {}
        self._claimed: set[Address] = set()
        self._numbers: dict[str, int] = {}
        self._letters = 0
        self._build()
        for scope in self.scopes:
            _link(scope)
            if self.functions:
                self._note_calls(scope)
        self.others = [
            record for address, record in tensors.items() if address not in self._claimed
        ]

    def _build(self) -> None:
        graph = self.model.graph
        main = _scope(graph, "", None, None, "")
        waiting: list[tuple[Scope, Address, int]] = [(main, (7, 0), 1)]
        for index, function in enumerate(self.model.functions):
            scope = _scope(function, f"function:{function.name}/", None, None, "")
            scope.order = (len(graph.node) + index,)
            self.functions[function.domain, function.name, function.overload] = scope
            waiting.append((scope, (25, index), 7))
        waiting.reverse()
        while waiting:
            scope, address, node_field = waiting.pop()
            self.scopes.append(scope)
            if node_field == 1:
                self._initializers(scope, address)
            inner: list[tuple[Scope, Address, int]] = []
            for index, node in enumerate(scope.nodes):
                inner += self._node(scope, node, (*address, node_field, index))
            waiting += reversed(inner)

    def _initializers(self, scope: Scope, address: Address) -> None:
        for index, tensor in enumerate(scope.body.initializer):
            if not tensor.name:
                raise InputError(f"initializer #{index} has no name")
            if tensor.name in scope.constants:
                raise InputError(f"initializer '{tensor.name}' is given twice")
            self._constant(scope, tensor.name, (*address, 5, index), tensor, True)
        for index, sparse in enumerate(scope.body.sparse_initializer):
            self.sparse.append(self._path(scope, sparse.values.name))
            self._claimed |= {(*address, 15, index, part, 0) for part in (1, 2)}
            scope.uses.setdefault(sparse.values.name, [])

    def _node(
        self, scope: Scope, node: onnx.NodeProto, address: Address
    ) -> list[tuple[Scope, Address, int]]:
        for output in node.output:
            if output:
                if output in scope.producers or output in scope.constants:
                    raise InputError(f"value '{scope.prefix}{output}' is written twice")
                scope.producers[output] = node
                scope.uses.setdefault(output, [])
        inner: list[tuple[Scope, Address, int]] = []
        constant = node.op_type == "Constant" and node.domain in ("", "ai.onnx")
        for index, attribute in enumerate(node.attribute):
            place = (*address, 5, index)
            self._attribute_tensor(scope, node, attribute, place, constant)
            if attribute.HasField("g"):
                body = self._subgraph(scope, node, attribute.name, attribute.g)
                body.order = (*scope.order, address[-1], index)
                inner.append((body, (*place, 6, 0), 1))
            for number, graph in enumerate(attribute.graphs):
                body = self._subgraph(scope, node, f"{attribute.name}{number}", graph)
                body.order = (*scope.order, address[-1], index, number)
                inner.append((body, (*place, 11, number), 1))
        return inner

    def _attribute_tensor(
        self,
        scope: Scope,
        node: onnx.NodeProto,
        attribute: onnx.AttributeProto,
        place: Address,
        constant: bool,
    ) -> None:
        for part in ((*place, 5, 0), (*place, 7, 0)):
            if part not in self.tensors:
                continue
            if constant and node.output:
                proto = attribute.t if part[-2] == 5 else None
                self._constant(scope, node.output[0], part, proto, False)
            else:
                self._claimed.add(part)
                label = self._path(scope, f"{node_label(node)}.{attribute.name}")
                self.tensors[part].name = label
                self.attributes.append(self.tensors[part])
        if constant and attribute.HasField("sparse_tensor"):
            self.sparse.append(self._path(scope, node_label(node)))
            self._claimed |= {(*place, 22, 0, part, 0) for part in (1, 2)}

    def called(self, node: onnx.NodeProto) -> Scope | None:
        """Return the function that a node calls, if it is not an operator."""
        return self.functions.get((node.domain, node.op_type, node.overload))

    def _note_calls(self, scope: Scope) -> None:
        for position, node in enumerate(scope.nodes):
            body = self.called(node)
            if body is not None:
                body.callers.append(Use(scope, node, -1, (*scope.order, position)))

    def _subgraph(
        self, scope: Scope, node: onnx.NodeProto, attribute: str, graph: onnx.GraphProto
    ) -> Scope:
        prefix = self._path(scope, f"{node_label(node)}.{attribute}/")
        return _scope(graph, prefix, scope, node, attribute)

    def _path(self, scope: Scope, name: str) -> str:
        """Name something by all that it is in."""
        self._letters += len(scope.prefix) + len(name)
        if self._letters > LETTERS:
            raise LimitError(f"the paths of the tensors take more than {LETTERS:,} letters")
        return scope.prefix + name

    def _constant(
        self,
        scope: Scope,
        name: str,
        address: Address,
        proto: onnx.TensorProto | None,
        initializer: bool,
    ) -> None:
        plain = path = self._path(scope, name)
        number = self._numbers.get(plain, 1)
        while path in self.by_path:
            number += 1
            path = f"{plain}#{number}"
        self._numbers[plain] = number
        self._claimed.add(address)
        record = self.tensors[address]
        record.name = path
        constant = Constant(path, name, scope, record, proto, initializer)
        scope.constants[name] = constant
        scope.uses.setdefault(name, [])
        self.constants.append(constant)
        self.by_path[path] = constant


def node_label(node: onnx.NodeProto) -> str:
    """Return a node's name, or what stands for it if it has none."""
    return node.name or next((name for name in node.output if name), node.op_type)


def bind(node: onnx.NodeProto, scope: Scope, caller: onnx.NodeProto | None) -> onnx.NodeProto:
    """Give a function's node the attributes that its caller hands down, or their defaults."""
    if not any(attribute.ref_attr_name for attribute in node.attribute):
        return node
    while scope.parent is not None:
        scope = scope.parent
    defaults = getattr(scope.body, "attribute_proto", ())
    given = {attribute.name: attribute for attribute in defaults}
    given |= {attribute.name: attribute for attribute in (caller.attribute if caller else ())}
    bound = onnx.NodeProto()
    bound.CopyFrom(node)
    for attribute in bound.attribute:
        name, value = attribute.name, given.get(attribute.ref_attr_name)
        if value is not None:
            attribute.CopyFrom(value)
            attribute.name = name
    return bound


def _scope(
    body: Any, prefix: str, parent: Scope | None, owner: onnx.NodeProto | None, attribute: str
) -> Scope:
    if isinstance(body, onnx.GraphProto):
        inputs = [value.name for value in body.input]
        outputs = [value.name for value in body.output]
    else:
        inputs, outputs = list(body.input), list(body.output)
    scope = Scope(prefix, parent, owner, attribute, inputs, outputs, list(body.node), body)
    for name in inputs:
        scope.uses[name] = []
    return scope


def _link(scope: Scope) -> None:
    for position, node in enumerate(scope.nodes):
        order = (*scope.order, position)
        for index, name in enumerate(node.input):
            source = scope.defining(name) if name else None
            if source is not None:
                source.uses[name].append(Use(scope, node, index, order))
        read = node.input if node.op_type == "Concat" else node.input[:1]
        if node.op_type in MOVING and read and all(scope.is_fixed(name) for name in read):
            scope.fixed.update(node.output)
    for index, name in enumerate(scope.outputs):
        source = scope.defining(name)
        if source is not None:
            source.uses[name].append(Use(scope, None, index))

"""Makes a program of a body: numbers for names, steps for nodes, constants computed at once.

Whatever depends on no input and no parameter is computed here, with the same functions that a
program runs. What a node becomes is the library's to say; this knows names and constants.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch

from onnxprune.errors import InputError, OnnxpruneError
from onnxprune.reimport.attributes import Given, settled
from onnxprune.reimport.bodies import Body, body_of_graph, body_of_scope, subgraphs
from onnxprune.reimport.library import Library, Opsets
from onnxprune.reimport.program import NOTHING, WASTE, Block, Frame, Program, Step


@dataclass(slots=True, eq=False)
class Names:
    """The numbers of the values that a body's nodes can read by name."""

    body: Body
    parent: "Names | None" = None
    numbers: dict[str, int] = field(default_factory=dict)


class Builder:
    """Builds one program.

    Args:
        library: what it shares with others.
        opsets: the versions that its nodes are written for.
        given: the attributes that a function's caller hands down.
    """

    def __init__(self, library: Library, opsets: Opsets, given: Given | None = None) -> None:
        self.library = library
        self.opsets = {domain or "": version for domain, version in opsets.items()}
        self.given: Given = given or {}
        self.template: Frame = [None, None, None]
        self.parameters: list[tuple[int, str]] = []
        self.known: set[int] = {NOTHING}
        self.live: dict[int, str] = {}
        self._first: list[Step] = []

    def build(
        self, body: Body, live: Sequence[str | None] = (), outputs: Sequence[str] | None = None
    ) -> Program:
        """Make the program of a body.

        Args:
            body: its nodes.
            live: for each input, the tensor whose gradient passes through it, if one does.
            outputs: what to return, if not the body's own outputs.
        """
        names = Names(body)
        wanted = [name for name in body.inputs if name not in body.constants]
        inputs = tuple([self.number() for _ in wanted])
        names.numbers.update(zip(wanted, inputs, strict=True))
        for number, path in zip(inputs, live, strict=False):
            if path is not None:
                self.live[number] = path
        steps = self.steps(names)
        results = tuple(
            [self.find(names, name) for name in (body.outputs if outputs is None else outputs)]
        )
        block = Block(self._first + steps)
        block.release(results, inputs)
        read = block.reads() | set(results)
        for number in self.known - read:
            self.template[number] = None
        return Program(self.template, block, self.parameters, inputs, results)

    def nested(self, opsets: Opsets, given: Given | None = None) -> "Builder":
        """Return a builder for a program that this one calls."""
        return Builder(self.library, {**self.opsets, **opsets}, given)

    def number(self, value: Any = None) -> int:
        """Return the next free number, for a value that may be known."""
        self.template.append(value)
        return len(self.template) - 1

    def constant(self, value: Any) -> int:
        """Return a number for a value that is known."""
        number = self.number(value)
        self.known.add(number)
        return number

    def find(self, names: Names, name: str) -> int:
        """Return the number of a value; a constant gets one when it is first read."""
        if not name:
            return NOTHING
        place: Names | None = names
        while place is not None:
            if name in place.numbers:
                return place.numbers[name]
            if self._has(place, name):
                place.numbers[name] = self._load(place, name)
                return place.numbers[name]
            place = place.parent
        raise InputError(f"'{names.body.prefix}{name}' is read, but nothing makes it")

    def steps(self, names: Names) -> list[Step]:
        """Compile the nodes of a body."""
        steps: list[Step] = []
        for position, node in names.body.nodes:
            body = names.body
            if not node.output or (
                node.op_type == "Constant" and node.output[0] in body.constants
            ):
                continue
            whole = settled(node, self.given, body, position, self.library.store)
            steps += self.library.compile(self, names, position, whole)
        return steps

    def child(self, names: Names, position: int, node: onnx.NodeProto, name: str) -> Names:
        """Return the names of a node's subgraph, those around it included."""
        for index, attribute in subgraphs(node):
            if attribute.name != name:
                continue
            parent = names.body.scope
            if parent is None:
                prefix = f"{names.body.label(node)}.{name}/"
                return Names(body_of_graph(attribute.g, prefix), names)
            scope = self.library.scopes[(*parent.order, position, index)]
            address = names.body.place(position, index)
            assert address is not None
            return Names(body_of_scope(scope, (*address, 6, 0)), names)
        raise InputError(f"node '{names.body.label(node)}' has no subgraph '{name}'")

    def targets(self, names: Names, node: onnx.NodeProto) -> tuple[int, ...]:
        """Give numbers to the outputs of a node."""
        numbers = []
        for name in node.output:
            number = self.number() if name else WASTE
            if name:
                names.numbers[name] = number
            numbers.append(number)
        return tuple(numbers)

    def finish(self, step: Step) -> list[Step]:
        """Return a step, or nothing if its results are known already."""
        if step.inner or step.random or not self.known.issuperset(step.sources):
            return [step]
        frame, cuts = self.template, self.library.cuts
        before = set(cuts)
        try:
            with torch.no_grad():
                step.compute(frame)
        except OnnxpruneError:
            return [step]  # it may be in a branch that is never taken
        for name in set(cuts) - before:
            del cuts[name]  # no gradient would pass here
        self.known.update(target for target in step.targets if target != WASTE)
        frame[WASTE] = None
        return []

    def _has(self, place: Names, name: str) -> bool:
        body = place.body
        if name in body.constants or name in body.tensors:
            return True
        graph = body.scope.body if body.scope is not None else None
        return isinstance(graph, onnx.GraphProto) and any(
            sparse.values.name == name for sparse in graph.sparse_initializer
        )

    def _load(self, place: Names, name: str) -> int:
        body, store = place.body, self.library.store
        if name in body.tensors:
            return self.constant(store.placed(onnx.numpy_helper.to_array(body.tensors[name])))
        if name not in body.constants:
            assert body.scope is not None
            for index, sparse in enumerate(body.scope.body.sparse_initializer):
                if sparse.values.name == name:
                    address = (*body.address, 15, index)
                    return self.constant(store.sparse(address, sparse.dims))
        constant = body.constants[name]
        value = store.fetch(constant)
        if value is not None:
            return self.constant(value)
        number = self.number()
        self.parameters.append((number, constant.path))
        if constant.path in self.library.prunable:
            self.live[number] = constant.path
        coding = store.codings.get(constant.path)
        if coding is None:
            return number
        coded = self.number()
        label = f"the numbers of '{constant.path}'"
        self._first.append(Step(coding, (number,), (coded,), label))
        if number in self.live:
            self.live[coded] = self.live[number]
        return coded

"""Branches, loops and calls of the model's own functions, as steps that run blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import Tensor

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.reimport.bodies import Body
from onnxprune.reimport.builder import Builder, Names
from onnxprune.reimport.dtypes import torch_type
from onnxprune.reimport.program import NOTHING, TENSORS, WASTE, Block, Frame, Step


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """A subgraph on the frame of the program around it.

    Args:
        block: its steps.
        inputs: the numbers of what goes in; `outputs`: of what comes out.
        own: those of them that nothing around it reads.
        body: where it comes from.
    """

    block: Block
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    own: tuple[int, ...]
    body: Body

    def run(self, frame: Frame, values: Sequence[Any]) -> list[Any]:
        """Compute the subgraph's outputs."""
        for number, value in zip(self.inputs, values, strict=True):
            frame[number] = value
        self.block.run(frame)
        results = [frame[number] for number in self.outputs]
        for number in self.own:
            frame[number] = None
        return results

    def captured(self) -> frozenset[int]:
        """Return the numbers it reads from around it."""
        return (self.block.reads() | set(self.outputs)) - set(self.inputs)


def compile_if(
    builder: Builder, names: Names, position: int, node: onnx.NodeProto, label: str
) -> list[Step]:
    """Compile a node with two branches; where it is known which one is taken, only that."""
    condition = builder.find(names, node.input[0])
    if condition in builder.known:
        taken = "then_branch" if _truth(builder.template[condition]) else "else_branch"
        inside = builder.child(names, position, node, taken)
        steps = builder.steps(inside)
        for name, inner in zip(node.output, inside.body.outputs, strict=False):
            names.numbers[name] = builder.find(inside, inner)
        return steps
    branches = {
        truth: _inner(builder, builder.child(names, position, node, name), [])
        for truth, name in ((True, "then_branch"), (False, "else_branch"))
    }
    targets = builder.targets(names, node)

    def choose(frame: Frame) -> None:
        results = branches[_truth(frame[condition])].run(frame, ())
        for target, value in zip(targets, results, strict=False):
            frame[target] = value

    _pass_on(builder, targets, *branches.values())
    captured = branches[True].captured() | branches[False].captured()
    return [Step(choose, (condition,), targets, label, inner=True, captured=captured)]


def compile_loop(
    builder: Builder, names: Names, position: int, node: onnx.NodeProto, label: str
) -> list[Step]:
    """Compile a loop with a count, a condition, or both."""
    sources = [builder.find(names, name) for name in node.input]
    count, condition, carried = sources[0], ([*sources, NOTHING])[1], tuple(sources[2:])
    live = [None, None, *_live(builder, carried)]
    inner = _turning(builder, names, position, node, live, range(2, len(sources)), 1)
    targets = builder.targets(names, node)
    kept = len(carried)

    def repeat(frame: Frame) -> None:
        limit = None if frame[count] is None else int(frame[count])
        going = frame[condition] is None or _truth(frame[condition])
        values = [frame[number] for number in carried]
        rows: list[list[Any]] = [[] for _ in inner.outputs[1 + kept :]]
        turn = 0
        while going and (limit is None or turn < limit):
            results = inner.run(frame, [torch.tensor(turn), torch.tensor(True), *values])
            going = _truth(results[0])
            values = results[1 : 1 + kept]
            for row, value in zip(rows, results[1 + kept :], strict=True):
                row.append(value)
            turn += 1
        stacks = [_stacked(row, 0, inner, 1 + kept + i) for i, row in enumerate(rows)]
        for target, value in zip(targets, [*values, *stacks], strict=False):
            frame[target] = value

    _pass_on(builder, targets, inner, sources=sources)
    captured = inner.captured()
    return [Step(repeat, tuple(sources), targets, label, inner=True, captured=captured)]


def compile_scan(
    builder: Builder, names: Names, position: int, node: onnx.NodeProto, label: str
) -> list[Step]:
    """Compile a loop over the slices of its inputs."""
    if builder.opsets[""] < 9:
        raise UnsupportedError(f"{label}: version 8 of it, over a batch, is not known")
    settings = {
        each.name: onnx.helper.get_attribute_value(each)
        for each in node.attribute
        if each.name != "body"
    }
    sources = [builder.find(names, name) for name in node.input]
    scanned = settings.get("num_scan_inputs", len(sources))
    kept = len(sources) - scanned
    inner = _turning(builder, names, position, node, _live(builder, sources), range(kept), 0)
    targets = builder.targets(names, node)
    made = len(inner.outputs) - kept
    axes = settings.get("scan_input_axes", [0] * scanned)
    backward = settings.get("scan_input_directions", [0] * scanned)
    out_axes = settings.get("scan_output_axes", [0] * made)
    out_backward = settings.get("scan_output_directions", [0] * made)

    def scan(frame: Frame) -> None:
        values = [frame[number] for number in sources[:kept]]
        slices = [
            frame[number].unbind(axis)[:: -1 if reverse else 1]
            for number, axis, reverse in zip(sources[kept:], axes, backward, strict=True)
        ]
        rows: list[list[Any]] = [[] for _ in range(made)]
        for parts in zip(*slices, strict=True):
            results = inner.run(frame, [*values, *parts])
            values = results[:kept]
            for row, value in zip(rows, results[kept:], strict=True):
                row.append(value)
        stacks = [
            _stacked(row[:: -1 if reverse else 1], axis, inner, kept + index)
            for index, (row, axis, reverse) in enumerate(
                zip(rows, out_axes, out_backward, strict=True)
            )
        ]
        for target, value in zip(targets, [*values, *stacks], strict=False):
            frame[target] = value

    _pass_on(builder, targets, inner, sources=sources)
    captured = inner.captured()
    return [Step(scan, tuple(sources), targets, label, inner=True, captured=captured)]


def compile_map(
    builder: Builder, names: Names, position: int, node: onnx.NodeProto, label: str
) -> list[Step]:
    """Compile a subgraph that is applied to each element of sequences."""
    sources = [builder.find(names, name) for name in node.input]
    live = _live(builder, sources)
    inner = _inner(builder, builder.child(names, position, node, "body"), live)
    targets = builder.targets(names, node)

    def apply(frame: Frame) -> None:
        first, *others = [frame[number] for number in sources]
        columns: list[list[Any]] = [[] for _ in targets]
        for index, element in enumerate(first):
            rest = [other[index] if isinstance(other, list) else other for other in others]
            results = inner.run(frame, [element, *rest])
            for column, value in zip(columns, results, strict=False):
                column.append(value)
        for target, column in zip(targets, columns, strict=True):
            frame[target] = column

    _pass_on(builder, targets, inner, sources=sources)
    captured = inner.captured()
    return [Step(apply, tuple(sources), targets, label, inner=True, captured=captured)]


CONTROL: dict[str, Callable[[Builder, Names, int, onnx.NodeProto, str], list[Step]]] = {
    "If": compile_if,
    "Loop": compile_loop,
    "Scan": compile_scan,
    "SequenceMap": compile_map,
}


def compile_call(
    builder: Builder, names: Names, node: onnx.NodeProto, body: Body, label: str
) -> list[Step]:
    """Compile a call of one of the model's own functions."""
    assert body.scope is not None
    function = body.scope.body
    sources = [builder.find(names, name) for name in node.input]
    if len(sources) > len(body.inputs):
        raise InputError(f"{label}: {len(sources)} inputs for {len(body.inputs)}")
    given = {attribute.name: attribute for attribute in function.attribute_proto}
    given |= {attribute.name: attribute for attribute in node.attribute}
    opsets = {each.domain: each.version for each in function.opset_import}
    inside = builder.nested(opsets, given)
    program = inside.build(body, _live(builder, sources))
    targets = builder.targets(names, node)

    def call(frame: Frame) -> None:
        values = [frame[number] for number in sources]
        results = program.run(values, frame[TENSORS])
        for target, value in zip(targets, results, strict=False):
            frame[target] = value

    made = [inside.live[number] for number in program.outputs if number in inside.live]
    if made:
        builder.live.update(dict.fromkeys(targets, made[0]))
    return [Step(call, tuple(sources), targets, label, inner=True)]


def _turning(  # noqa: PLR0913 - what a node is takes four, what it carries three
    builder: Builder,
    names: Names,
    position: int,
    node: onnx.NodeProto,
    live: list[str | None],
    carried: range,
    first: int,
) -> Inner:
    """Compile a body whose outputs, from `first` on, become its `carried` inputs.

    A gradient may come back into the body by them: then it is compiled again, knowing that.
    """
    while True:
        inner = _inner(builder, builder.child(names, position, node, "body"), live)
        returned = _live(builder, inner.outputs[first : first + len(carried)])
        fresh = [
            (place, path)
            for place, path in zip(carried, returned, strict=False)
            if path is not None and live[place] is None
        ]
        if not fresh:
            return inner
        for place, path in fresh:
            live[place] = path


def _inner(builder: Builder, inside: Names, live: Sequence[str | None]) -> Inner:
    """Compile a subgraph; its inputs get numbers of their own."""
    inputs = [builder.number() for _ in inside.body.inputs]
    inside.numbers.update(zip(inside.body.inputs, inputs, strict=True))
    for number, path in zip(inputs, live, strict=False):
        if path is not None:
            builder.live[number] = path
    block = Block(builder.steps(inside))
    outputs = tuple([builder.find(inside, name) for name in inside.body.outputs])
    block.release(outputs)
    made = {target for step in block.steps for target in step.targets}
    own = {*inputs, *(number for number in outputs if number in made)} - {WASTE}
    return Inner(block, tuple(inputs), outputs, tuple(own), inside.body)


def _live(builder: Builder, numbers: Sequence[int]) -> list[str | None]:
    return [builder.live.get(number) for number in numbers]


def _pass_on(
    builder: Builder, targets: Sequence[int], *inner: Inner, sources: Sequence[int] = ()
) -> None:
    """Note whose gradient passes through a node with subgraphs."""
    read = [*sources, *(number for each in inner for number in each.outputs)]
    passing = next((builder.live[number] for number in read if number in builder.live), None)
    if passing is not None:
        builder.live.update(dict.fromkeys(targets, passing))


def _truth(value: Any) -> bool:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise InputError(f"a condition has {value.numel()} values")
    return bool(value)


def _stacked(row: Sequence[Tensor], axis: int, inner: Inner, index: int) -> Tensor:
    """Put what each turn made together; where there was no turn, as its declaration says."""
    if row:
        return torch.stack(list(row), axis)
    tensor = inner.body.declared[index].type.tensor_type
    dims = [max(dim.dim_value, 0) for dim in tensor.shape.dim]
    dims.insert(axis if axis >= 0 else len(dims) + 1 + axis, 0)
    return torch.zeros(dims, dtype=torch_type(tensor.elem_type or onnx.TensorProto.FLOAT))

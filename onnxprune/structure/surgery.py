"""Takes channels out of a model: tensors lose positions, nodes the numbers that counted them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Address
from onnxprune.structure.deciding import kept
from onnxprune.structure.following import Followed
from onnxprune.structure.ordering import names_read
from onnxprune.structure.values import Count, Item, Repair
from onnxprune.types import Array


@dataclass(slots=True, eq=False)
class Surgery:
    """What is cut out of a model, and how.

    Args:
        model: the model.
        followed: its channels; `gone`: those that go, by their roots.
        gone: see above.
    """

    model: OnnxModel
    followed: Followed
    gone: set[int]
    _names: set[str] = field(default_factory=set)

    def cuts(self) -> dict[Address, str]:
        """Return the tensors that lose positions: their names, by where they are."""
        found = {}
        for name in self.followed.constants.names():
            if any(not mask.all() for mask in self._masks(name)):
                found[self.followed.constants.find(name).record.address] = name
        return found

    def _masks(self, name: str) -> list[Array]:
        value = self.followed.values.get(name)
        axes = (value.axes if value is not None else None) or ()
        return [kept(self.followed, axis, self.gone) for axis in axes]

    def cut(self, name: str) -> onnx.TensorProto:
        """Return a tensor without the positions that go."""
        array = self.followed.constants.read(name)
        for axis, mask in enumerate(self._masks(name)):
            if not mask.all():
                array = np.compress(mask, array, axis)
        return numpy_helper.from_array(np.ascontiguousarray(array), name)

    def mend(self, proto: onnx.ModelProto) -> None:
        """Change what tells of channels in a model whose tensors have been cut."""
        graph = proto.graph
        self._names = set(_names(graph))
        unused: list[str] = []
        nodes = list(graph.node)
        for repair in self.followed.repairs:
            values = [*self._numbers(repair.items)]
            if repair.before is not None and tuple(values) == repair.before:
                continue
            unused += self._repair(graph, nodes[repair.node], repair, values)
        self._declare(graph)
        _sweep(graph, unused)

    def _numbers(self, items: Sequence[Item]) -> Iterator[int]:
        for item in items:
            if isinstance(item, int):
                yield item
                continue
            roots = self.followed.labels.roots(item.labels)
            here = np.array([root not in self.gone for root in roots.tolist()], bool)
            if isinstance(item, Count):
                yield int(here.sum()) // item.divisor
            elif here[item.position]:
                yield int(here[: item.position].sum())

    def _repair(
        self, graph: onnx.GraphProto, node: onnx.NodeProto, repair: Repair, values: list[int]
    ) -> list[str]:
        """Write new numbers into a node; return the name of a value it no longer reads."""
        for at, each in reversed(list(enumerate(node.attribute))):
            if each.name in (repair.target, repair.drop):
                del node.attribute[at]
        if isinstance(repair.target, str):
            value = values[0] if repair.scalar else values
            node.attribute.append(helper.make_attribute(repair.target, value))
            return []
        while len(node.input) <= repair.target:
            node.input.append("")
        before = node.input[repair.target]
        kind = _integer_type(graph, before)
        own = _own_tensor(graph, before)
        if own is not None:
            own.CopyFrom(numpy_helper.from_array(np.array(values, kind), own.name))
            return []
        name = self._fresh(before or f"{node.output[0]}_sizes")
        graph.initializer.append(numpy_helper.from_array(np.array(values, kind), name))
        if self.model.graph.model.ir_version < 4:
            graph.input.append(
                helper.make_tensor_value_info(
                    name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), [len(values)]
                )
            )
        node.input[repair.target] = name
        return [before] if before else []

    def _fresh(self, stem: str) -> str:
        number = 1
        while f"{stem}_{number}" in self._names:
            number += 1
        self._names.add(f"{stem}_{number}")
        return f"{stem}_{number}"

    def _declare(self, graph: onnx.GraphProto) -> None:
        """Correct the shapes that the file gives for values."""
        for info in (*graph.value_info, *graph.input):
            value = self.followed.values.get(info.name)
            shape = info.type.tensor_type.shape
            if value is None or value.axes is None or not info.type.HasField("tensor_type"):
                continue
            for axis, dim in zip(value.axes, shape.dim, strict=False):
                mask = kept(self.followed, axis, self.gone)
                if not mask.all():
                    dim.dim_value = int(mask.sum())


def _own_tensor(graph: onnx.GraphProto, name: str) -> onnx.TensorProto | None:
    """Return the tensor behind a name that is read at one place only, if there is one."""
    read = [each for node in graph.node for each in names_read(node)]
    if read.count(name) != 1 or name in {output.name for output in graph.output}:
        return None
    if name in {value.name for value in graph.input}:
        return None
    found: list[onnx.TensorProto] = [each for each in graph.initializer if each.name == name]
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            found += [each.t for each in node.attribute if each.name == "value"]
    return found[0] if found else None


def _integer_type(graph: onnx.GraphProto, name: str) -> str:
    """Return the type of a value of whole numbers: those of Slice have to agree."""
    for tensor in graph.initializer:
        if tensor.name == name:
            return "int32" if tensor.data_type == onnx.TensorProto.INT32 else "int64"
    for node in graph.node:
        if name not in node.output:
            continue
        for each in node.attribute:
            if each.name == "to":
                return "int32" if each.i == onnx.TensorProto.INT32 else "int64"
            if each.name == "value":
                return "int32" if each.t.data_type == onnx.TensorProto.INT32 else "int64"
        return _integer_type(graph, node.input[0]) if node.input else "int64"
    return "int64"


def _names(graph: Any) -> Iterator[str]:
    for each in (*graph.initializer, *graph.input, *graph.output):
        yield each.name
    for node in graph.node:
        yield from (*node.input, *node.output)
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _names(body)


def _sweep(graph: onnx.GraphProto, names: list[str]) -> None:
    """Drop constants, and what is computed of them, that nothing reads any more."""
    while names:
        name = names.pop()
        read = {each for node in graph.node for each in names_read(node)}
        if name in read or name in {output.name for output in graph.output}:
            continue
        for at, node in reversed(list(enumerate(graph.node))):
            if name in node.output and not read & set(node.output):
                names += list(node.input)
                del graph.node[at]
        given = any(tensor.name == name for tensor in graph.initializer)
        # What a caller gives stays.
        kinds: list[Any] = [graph.initializer, graph.value_info]
        for kind in [*kinds, graph.input] if given else kinds:
            for at, each in reversed(list(enumerate(kind))):
                if each.name == name:
                    del kind[at]

"""Compares an ONNX model with the module that it was made of: its ports, tensors and outputs.

Exporters rename weights, transpose them, put them into Constant nodes and reorder the gates of
recurrent layers. The only module that knows these ways; it never sees torch.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from onnxprune.errors import UnsupportedError
from onnxprune.types import Array

GENERIC = re.compile(r"onnx::|/|\d|(val|const|constant|lifted|p|b|c)_|_(tensor|param|lifted)_")
"""How names begin that an exporter made up."""

SYMBOL = re.compile(r"s\d+")
"""How torch.export calls a size that has no name."""

GATES = ((4, (0, 3, 1, 2)), (3, (1, 0, 2)))
"""The gates of an LSTM (ifgo to iofc) and of a GRU (rzn to zrh), in the order of ONNX."""

MOST_AXES = 6


@dataclass(slots=True, eq=False)
class _Holder:
    """An initializer, or a Constant node that can become one; `whole` if it holds one tensor."""

    name: str
    graph: onnx.GraphProto
    tensor: onnx.TensorProto
    node: onnx.NodeProto | None
    whole: bool = True


def find_tensors(model: onnx.ModelProto, tensors: Mapping[str, Array]) -> dict[str, str]:
    """Return the initializers that hold tensors, after giving them the tensors' names.

    Args:
        model: what an exporter made; it is edited.
        tensors: values by path, in the shape in which the module has them.
    """
    graph = model.graph
    holders = _match(graph, tensors)
    free = set(tensors) - value_names(graph)
    for path, holder in holders.items():
        inside = holder.graph is not graph and holder.name not in tensors
        name = _fresh(holder.name, value_names(graph)) if inside else holder.name
        if path in free and holder.whole and GENERIC.match(holder.name):
            name = path
            free.remove(path)
        if name != holder.name:
            rename(holder.graph, {holder.name: name})
            holder.name = name
    for holder in dict.fromkeys(holders.values()):
        if holder.node is not None or holder.graph is not graph:
            _lift(graph, holder)
    return {path: holders[path].name for path in tensors if path in holders}


def holds(stored: Array, values: Array) -> bool:
    """Tell whether a stored tensor is a module's, in any order that exporters use."""
    if stored.dtype != values.dtype or stored.size != values.size:
        return False
    wanted = _bits(stored).reshape(-1)
    orders = _orders(_bits(values))
    return any(np.array_equal(wanted, order.reshape(-1)) for order in orders)


def rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values everywhere in a graph and in the graphs inside it."""
    for inner in _graphs(graph):
        for node in inner.node:
            for values in (node.input, node.output):
                for index, value in enumerate(values):
                    values[index] = names.get(value, value)
        for each in (*inner.input, *inner.output, *inner.value_info, *inner.initializer):
            each.name = names.get(each.name, each.name)


def value_names(graph: onnx.GraphProto) -> set[str]:
    """Name all values of a graph and of the graphs inside it."""
    names: set[str] = set()
    for inner in _graphs(graph):
        names.update(each.name for each in (*inner.input, *inner.output, *inner.initializer))
        names.update(name for node in inner.node for name in (*node.input, *node.output))
    return names


def name_ports(model: onnx.ModelProto, names: Sequence[str], numbers: Sequence[bool]) -> bool:
    """Name a model's inputs and outputs; tell whether it takes batches of any size.

    Args:
        model: what an exporter made; it is edited.
        names: the module's arguments.
        numbers: which of them are Python numbers: exporters may leave them out.
    """
    graph = model.graph
    wanted = list(names)
    if len(graph.input) != len(wanted):
        wanted = [name for name, number in zip(names, numbers, strict=True) if not number]
    if len(graph.input) != len(wanted):
        raise UnsupportedError(f"the exporter left {len(graph.input)} of {len(names)} inputs")
    seen = {each.name for each in (*graph.input, *graph.initializer)}
    for output in graph.output:
        if output.name in seen:
            name = _fresh(output.name, value_names(graph))
            graph.node.append(helper.make_node("Identity", [output.name], [name]))
            output.name = name
        seen.add(output.name)
    count = len(graph.output)
    wanted += ["output"] if count == 1 else [f"output_{n}" for n in range(count)]
    taken = value_names(graph)
    moved = {name: _fresh(name, taken) for name in taken.intersection(wanted)}
    ports = [each.name for each in (*graph.input, *graph.output)]
    rename(graph, moved | dict(zip(ports, wanted, strict=True)))
    return _name_batch(graph)


def _name_batch(graph: onnx.GraphProto) -> bool:
    """Call the batch by one name; exporters also call fixed sizes by their digits."""
    shapes = [each.type.tensor_type.shape for each in graph.input]
    firsts = [shape.dim[0] for shape in shapes if shape.dim]
    batch = {size.dim_param for size in firsts if SYMBOL.fullmatch(size.dim_param)}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param.isdigit():
                size.dim_value = int(size.dim_param)
            elif size.dim_param in batch:
                size.dim_param = "batch"
    return any(size.dim_param for size in firsts)


def batch_of(arguments: Sequence[Array]) -> int:
    """Return the first dimension of all arguments, or zero if they do not agree on one."""
    sizes = {each.shape[0] for each in arguments if each.ndim}
    return sizes.pop() if len(sizes) == 1 else 0


def repeat_first(arguments: Sequence[Array], size: int) -> list[Array]:
    """Make a batch of the first sample."""
    return [each[:1].repeat(size, 0) if each.ndim else each for each in arguments]


def put_values(model: onnx.ModelProto, values: Mapping[str, Array]) -> None:
    """Give initializers the values of their names."""
    for each in model.graph.initializer:
        if each.name in values:
            each.CopyFrom(numpy_helper.from_array(values[each.name], each.name))


def compare(
    model: onnx.ModelProto,
    names: Sequence[str],
    arguments: Sequence[Array],
    expected: Sequence[Array],
) -> float:
    """Return how far ONNX Runtime is from what a module gives for arguments."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = dict(zip(names, arguments, strict=True))
    feeds = {}
    for each in model.graph.input:
        array = given[each.name]
        if not array.ndim:  # exporters have types of their own for Python numbers
            kind = helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type)
            array = array.astype(kind)
        feeds[each.name] = array
    return difference(session.run(None, feeds), expected)


def difference(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """Return the largest difference over the largest value; infinity if nothing compares."""
    if [array.shape for array in found] != [array.shape for array in expected]:
        return float("inf")
    worst = 0.0
    for one, other in zip(found, expected, strict=True):
        ours, theirs = one.astype(np.float64), other.astype(np.float64)
        differ = (ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))
        if differ.any():
            largest = float(np.max(np.abs(theirs), initial=0, where=np.isfinite(theirs)))
            error = float(np.max(np.abs(ours[differ] - theirs[differ])))
            worst = max(worst, error / largest if largest and error == error else np.inf)
    return worst


def _match(graph: onnx.GraphProto, tensors: Mapping[str, Array]) -> dict[str, _Holder]:
    """Choose a holder for each tensor: the one of its name, else one that no other has."""
    sizes = {values.size for values in tensors.values()}
    known: dict[object, list[tuple[_Holder, int | None]]] = defaultdict(list)
    for holder in _holders(graph):
        size = int(np.prod(holder.tensor.dims))
        if size in sizes or (size % 2 == 0 and size // 2 in sizes):
            for index, piece in _pieces(holder):
                known[_print(piece)].append((holder, index))
    options = {
        path: [
            (holder, index)
            for holder, index in known[_print(values)]
            if holds(dict(_pieces(holder))[index], values)
        ]
        for path, values in tensors.items()
    }
    chosen = {
        p: holder for p, found in options.items() for holder, _ in found if holder.name == p
    }
    for path, found in options.items():
        if path not in chosen and found:
            taken = list(chosen.values())
            holder, index = min(
                found, key=lambda each: (each[1] is not None, each[0] in taken)
            )
            holder.whole = holder.whole and index is None
            chosen[path] = holder
    return chosen


def _holders(graph: onnx.GraphProto) -> Iterator[_Holder]:
    """Find what holds numbers; what a graph gives back as it is has to stay where it is."""
    for inner in _graphs(graph):
        fixed = {each.name for each in (*inner.input, *inner.output)}
        for each in inner.initializer:
            if each.name not in fixed and each.data_type != onnx.TensorProto.STRING:
                yield _Holder(each.name, inner, each, None)
        for node in inner.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                tensor = node.attribute[0].t
                if node.output[0] not in fixed and tensor.data_type != onnx.TensorProto.STRING:
                    yield _Holder(node.output[0], inner, tensor, node)


def _pieces(holder: _Holder) -> Iterator[tuple[int | None, Array]]:
    """Give a tensor and, if it may be that of a layer in two directions, each of them."""
    stored = numpy_helper.to_array(holder.tensor)
    yield None, stored
    if stored.ndim == 3 and stored.shape[0] == 2:
        yield from enumerate(stored)


def _orders(bits: Array) -> Iterator[Array]:
    yield bits
    if bits.ndim <= MOST_AXES:
        yield from (bits.transpose(axes) for axes in itertools.permutations(range(bits.ndim)))
    for count, order in GATES:
        if bits.ndim == 2 and bits.shape[0] % count == 0:
            yield bits.reshape(count, -1)[list(order)]


def _bits(values: Array) -> Array:
    """View numbers as what they are stored as, with one zero instead of two."""
    whole = np.ascontiguousarray(values + 0 if values.dtype.kind == "f" else values)
    return whole.view(f"u{whole.dtype.itemsize}") if whole.dtype.itemsize <= 8 else whole


def _print(values: Array) -> object:
    """Sum up values so that the same ones in another order have the same print."""
    bits = _bits(values).reshape(-1)
    if bits.dtype.kind != "u":
        return str(values.dtype), values.size
    total, mixed = np.sum(bits, dtype=np.uint64), np.bitwise_xor.reduce(bits, initial=0)
    return str(values.dtype), values.size, int(total), int(mixed)


def _lift(graph: onnx.GraphProto, holder: _Holder) -> None:
    """Make what holds a tensor an initializer of the main graph."""
    lifted = graph.initializer.add()
    lifted.CopyFrom(holder.tensor)
    lifted.name = holder.name
    if holder.node is None:
        names = [each.name for each in holder.graph.initializer]
        del holder.graph.initializer[names.index(holder.name)]
    else:
        made = [node.output[:1] for node in holder.graph.node]
        del holder.graph.node[made.index([holder.name])]


def _fresh(name: str, taken: set[str]) -> str:
    return next(new for n in itertools.count(1) if (new := f"{name}_{n}") not in taken)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            alone = [attribute.g] if attribute.HasField("g") else []
            for inner in (*alone, *attribute.graphs):
                yield from _graphs(inner)

"""Decides which tensors are weights: follows every constant to the operators that use it."""

import math
from collections import deque
from dataclasses import dataclass, field, replace

import onnx
from onnx import numpy_helper

from onnxprune.errors import InputError, LimitError
from onnxprune.formats.onnx_graph import MOVING, Constant, Graph, Scope, Use, bind, node_label
from onnxprune.formats.onnx_rules import QUANTIZED, RULES, TABLES, attribute, reason
from onnxprune.formats.onnx_scaling import Scaling, dequantization, operator_scaling
from onnxprune.formats.onnx_types import FLOATS, STORAGE, element_count, type_name
from onnxprune.formats.view import View, whole
from onnxprune.types import Layout, Skipped

CUTTING = {"Slice", "Split", "Concat"}
"""Those of them that keep every dimension's meaning but not its extent."""

QUANTIZED_TYPES = {"INT8", "UINT8"}
INDICES = {"INT64", "INT32"}
NARROW_TYPES = {"INT4", "UINT4", "INT2", "UINT2"}
RANK_LIMIT = 8
STEPS = 1_000_000
"""So many uses of constants are followed in all: a chain of operators counts for each of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A node that reads a weight at one of its inputs, in this shape, if as a whole."""

    scope: Scope
    node: onnx.NodeProto
    index: int
    shape: tuple[int, ...] | None


@dataclass(slots=True, eq=False)
class Finding:
    """What following one constant brought to light."""

    constant: Constant
    layout: Layout | None = None
    order: tuple[int, ...] = ()
    op: str = ""
    node: onnx.NodeProto | None = None
    scope: Scope | None = None
    places: list[Place] = field(default_factory=list)
    table: bool = False
    scaling: Scaling | None = None
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    steps: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Value:
    """What a constant has become on its way, and the calls that it is inside of."""

    view: View
    exact: bool = True
    scaling: Scaling | None = None
    calls: tuple["_Step", ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A value at one of its uses; `node` is the use's with its attributes filled in."""

    use: Use
    node: onnx.NodeProto | None
    value: _Value


def survey(graph: Graph) -> tuple[list[Finding], list[Skipped]]:
    """Sort all tensors into weights, in the order of their nodes, and the rest with reasons."""
    findings, skipped = [], []
    left = STEPS
    for constant in graph.constants:
        kind, count = type_name(constant.record), element_count(constant.record)
        if count < 2 or kind not in FLOATS | QUANTIZED_TYPES | NARROW_TYPES:
            continue
        finding = follow(graph, constant, left)
        left -= finding.steps
        blocked = _blocked(finding, kind)
        if blocked is None:
            findings.append(finding)
        elif kind in FLOATS or finding.layout is not None:
            skipped.append(Skipped(constant.path, blocked, count))
    findings.sort(key=lambda finding: finding.order)
    skipped += [Skipped(name, "sparse initializer") for name in graph.sparse]
    for record in graph.attributes:
        if type_name(record) in FLOATS and element_count(record) > 1:
            skipped.append(Skipped(record.name, "attribute of a node", element_count(record)))
    for record in graph.others:
        if type_name(record) in FLOATS and element_count(record) > 1:
            what = "training information" if record.address[0] == 20 else "not in a graph"
            skipped.append(Skipped(record.name, what, element_count(record)))
    return findings, skipped


def follow(graph: Graph, constant: Constant, limit: int) -> Finding:
    """Follow one constant forward to every operator that uses it, in so many steps."""
    finding = Finding(constant)
    start = _Value(whole(tuple(constant.record.dims)))
    waiting: deque[_Onward] = deque([(constant.scope, constant.name, start)])
    seen: set[tuple[int, str, tuple[int, ...]]] = set()
    while waiting:
        scope, name, value = waiting.popleft()
        key = (id(scope), name, value.calls[-1].use.order if value.calls else ())
        if key in seen:
            continue
        seen.add(key)
        for use in scope.uses.get(name, []):
            # A Concat looks at all its inputs.
            finding.steps += 1 if use.node is None else len(use.node.input)
            if finding.steps > limit:
                raise LimitError(f"its constants are used in more than {STEPS:,} places")
            step = _step(use, value)
            onward = _through(graph, step)
            if onward is None:
                _arrive(finding, step)
            else:
                waiting += onward
    if not finding.reasons and finding.layout is None:
        finding.reasons.append("unused")
    return finding


def integers(scope: Scope, name: str) -> list[int] | None:
    """Return the values of a small constant of integers."""
    defining = scope.defining(name)
    if defining is None:
        return None
    constant = defining.constants.get(name)
    if constant is not None and constant.proto is not None:
        if constant.proto.data_location == onnx.TensorProto.EXTERNAL:
            return None
        if type_name(constant.record) not in INDICES:
            return None
        try:
            return [int(value) for value in numpy_helper.to_array(constant.proto).reshape(-1)]
        except ValueError as error:  # varints are not counted before they are read
            count = element_count(constant.record)
            raise InputError(f"'{constant.path}': not {count:,} values, as it says") from error
    producer = defining.producers.get(name)
    if producer is not None and producer.op_type == "Constant":
        values = attribute(producer, "value_ints", None)
        return list(values) if values is not None else None
    return None


_Onward = tuple[Scope, str, _Value]


def _step(use: Use, value: _Value) -> _Step:
    node = use.node
    if node is not None:
        node = bind(node, use.scope, value.calls[-1].node if value.calls else None)
    return _Step(use, node, value)


def _through(graph: Graph, step: _Step) -> list[_Onward] | None:
    """Return the values that a step leads to, or None if it ends at its operator."""
    node, scope, value = step.node, step.use.scope, step.value
    if node is None:
        return _outward(step)
    body = graph.called(node)
    if body is not None:
        if step.use.index >= len(body.inputs):
            raise InputError(f"function {node.op_type} is called with too many inputs")
        inside = replace(value, calls=(*value.calls, step))
        return [(body, body.inputs[step.use.index], inside)]
    if node.domain not in ("", "ai.onnx", "com.microsoft"):
        return None
    moved = _moved(step, node)
    return [(scope, name, moved) for name in node.output if name] if moved else None


def _outward(step: _Step) -> list[_Onward] | None:
    """Follow an output of a branch to its If, and one of a function to its callers."""
    scope, index, value = step.use.scope, step.use.index, step.value
    if scope.parent is not None:
        owner = scope.owner
        if owner is None or owner.op_type != "If" or index >= len(owner.output):
            return None
        return [(scope.parent, owner.output[index], value)]
    if not scope.prefix:
        return None
    calls = [value.calls[-1].use] if value.calls else scope.callers
    outside = replace(value, calls=value.calls[:-1])
    return [
        (call.scope, call.node.output[index], outside)
        for call in calls
        if call.node is not None and index < len(call.node.output)
    ]


def _moved(step: _Step, node: onnx.NodeProto) -> _Value | None:
    """Return what an operator that only moves values makes of one, else None."""
    value, scope, op = step.value, step.use.scope, node.op_type
    view = value.view
    if op not in MOVING or (step.use.index > 0 and op != "Concat"):
        return None
    if op == "Concat" and not all(scope.is_fixed(name) for name in node.input):
        return None
    if op in CUTTING:
        return replace(value, exact=False)
    if op == "DequantizeLinear":
        return replace(value, scaling=dequantization(node, scope, view))
    if op == "Transpose":
        order = list(attribute(node, "perm", None) or range(len(view.groups))[::-1])
        if sorted(order) != list(range(len(view.groups))):
            return None
        return replace(value, view=view.transposed(order))
    if op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        new = _reshaped(node, scope, view, value.exact)
        return replace(value, view=new) if new is not None else None
    return value


def _reshaped(node: onnx.NodeProto, scope: Scope, view: View, exact: bool) -> View | None:
    if node.op_type in ("Squeeze", "Unsqueeze"):
        axes = attribute(node, "axes", None)
        if axes is None and len(node.input) > 1 and node.input[1]:
            axes = integers(scope, node.input[1])
            if axes is None:
                return None
        if axes is None and not exact:
            return None
        squeezed = view.squeezed if node.op_type == "Squeeze" else view.unsqueezed
        return squeezed(list(axes) if axes is not None else None)
    if not exact:
        return None
    if node.op_type == "Flatten":
        axis = attribute(node, "axis", 1)
        axis += len(view.groups) if axis < 0 else 0
        return view.reshaped([math.prod(view.shape[:axis]), math.prod(view.shape[axis:])])
    shape = attribute(node, "shape", None)
    if shape is None and len(node.input) > 1:
        shape = integers(scope, node.input[1])
    return view.reshaped(_resolved(list(shape), view.shape)) if shape is not None else None


def _resolved(shape: list[int], old: tuple[int, ...]) -> list[int]:
    """Replace the 0 (keep) and -1 (infer) of a Reshape's shape by numbers."""
    new = [old[i] if size == 0 and i < len(old) else size for i, size in enumerate(shape)]
    total = math.prod(old)
    known = math.prod(size for size in new if size > 0)
    return [total // known if size == -1 and known else size for size in new]


def _arrive(finding: Finding, step: _Step) -> None:
    node, index, view = step.node, step.use.index, step.value.view
    if node is None:
        finding.notes.append("is an output of the graph, which changes with it")
        finding.reasons.append(reason(None, index))
        return
    domain = "" if node.domain == "ai.onnx" else node.domain
    key = (domain, node.op_type)
    table = key in TABLES and index in TABLES[key]
    rule = (TABLES if table else RULES).get(key, {}).get(index)
    layout = rule(node, index, view) if rule is not None else None
    if layout is None:
        finding.reasons.append(reason(node, index))
        return
    scaling = step.value.scaling
    if index in QUANTIZED.get(key, {}):
        scaling = operator_scaling(node, index, key, step.use.scope, view)
    finding.table |= table
    shape = view.shape if step.value.exact else None
    finding.places.append(Place(step.use.scope, node, index, shape))
    order = (*step.use.order, index)
    if finding.layout is None or order < finding.order:
        finding.layout, finding.order, finding.scaling = layout, order, scaling
        finding.op, finding.node, finding.scope = node.op_type, node, step.use.scope


def _blocked(finding: Finding, kind: str) -> str | None:
    """Return why a followed constant is no weight, or None if it is one."""
    if finding.layout is None:
        return finding.reasons[0]
    if kind not in STORAGE:
        return f"type {kind} is not pruned"
    if kind in QUANTIZED_TYPES and finding.scaling is None:
        return "integers without a known scale"
    if len(finding.constant.record.dims) > RANK_LIMIT:
        return f"more than {RANK_LIMIT} dimensions"
    return None


def place_label(finding: Finding) -> str:
    """Return the name of the node that a weight belongs to."""
    if finding.node is None or finding.scope is None:
        return ""
    return finding.scope.prefix + node_label(finding.node)

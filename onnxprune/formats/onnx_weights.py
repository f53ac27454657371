"""Decides which tensors are weights: follows every constant to the operators that use it."""

import math
from collections import deque
from dataclasses import dataclass, field

import onnx
from onnx import numpy_helper

from onnxprune.errors import InputError
from onnxprune.formats.onnx_graph import Constant, Graph, Scope, Use, node_label
from onnxprune.formats.onnx_rules import QUANTIZED, RULES, TABLES, attribute, reason
from onnxprune.formats.onnx_scaling import Scaling, dequantization, operator_scaling
from onnxprune.formats.onnx_types import FLOATS, STORAGE, element_count, type_name
from onnxprune.formats.view import View, whole
from onnxprune.types import Layout, Skipped

MOVERS = {"Slice", "Split", "Concat"}
"""Operators that keep every dimension's meaning but not its extent."""

QUANTIZED_TYPES = {"INT8", "UINT8"}
NARROW_TYPES = {"INT4", "UINT4", "INT2", "UINT2"}
RANK_LIMIT = 8


@dataclass(slots=True, eq=False)
class Finding:
    """What following one constant brought to light."""

    constant: Constant
    layout: Layout | None = None
    order: tuple[int, ...] = ()
    op: str = ""
    node: onnx.NodeProto | None = None
    scope: Scope | None = None
    places: list[tuple[Scope, onnx.NodeProto]] = field(default_factory=list)
    table: bool = False
    scaling: Scaling | None = None
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    use: Use
    view: View
    exact: bool
    scaling: Scaling | None


def survey(graph: Graph) -> tuple[list[Finding], list[Skipped]]:
    """Sort all tensors into weights, in the order of their nodes, and the rest with reasons."""
    findings, skipped = [], []
    for constant in graph.constants:
        kind, count = type_name(constant.record), element_count(constant.record)
        if count < 2 or kind not in FLOATS | QUANTIZED_TYPES | NARROW_TYPES:
            continue
        finding = follow(graph, constant)
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


def follow(graph: Graph, constant: Constant) -> Finding:
    """Follow one constant forward to every operator that uses it."""
    finding = Finding(constant)
    view = whole(tuple(constant.record.dims))
    seen: set[tuple[int, str]] = {(id(constant.scope), constant.name)}
    steps = deque(_Step(use, view, True, None) for use in constant.scope.uses[constant.name])
    while steps:
        step = steps.popleft()
        onward = _through(graph, step)
        if onward is None:
            _arrive(finding, step)
            continue
        for scope, name, view, exact, scaling in onward:
            if (id(scope), name) not in seen:
                seen.add((id(scope), name))
                steps += [_Step(use, view, exact, scaling) for use in scope.uses.get(name, [])]
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
        return [int(value) for value in numpy_helper.to_array(constant.proto).reshape(-1)]
    producer = defining.producers.get(name)
    if producer is not None and producer.op_type == "Constant":
        values = attribute(producer, "value_ints", None)
        return list(values) if values is not None else None
    return None


_Onward = list[tuple[Scope, str, View, bool, Scaling | None]]


def _through(graph: Graph, step: _Step) -> _Onward | None:
    """Return the values that a step leads to, or None if it ends at its operator."""
    node, scope = step.use.node, step.use.scope
    if node is None:
        owner = scope.owner
        if owner is None or owner.op_type != "If" or scope.parent is None:
            return None
        name = owner.output[step.use.index]
        return [(scope.parent, name, step.view, step.exact, step.scaling)]
    body = graph.functions.get((node.domain, node.op_type, node.overload))
    if body is not None:
        if step.use.index >= len(body.inputs):
            raise InputError(f"function {node.op_type} is called with too many inputs")
        name = body.inputs[step.use.index]
        return [(body, name, step.view, step.exact, step.scaling)]
    if node.domain not in ("", "ai.onnx", "com.microsoft"):
        return None
    moved = _moved(step, node, scope)
    if moved is None:
        return None
    view, exact, scaling = moved
    return [(scope, name, view, exact, scaling) for name in node.output if name]


def _moved(
    step: _Step, node: onnx.NodeProto, scope: Scope
) -> tuple[View, bool, Scaling | None] | None:
    view, op = step.view, node.op_type
    if step.use.index > 0 and op != "Concat":
        return None
    if op in ("Identity", "Cast", "QuantizeLinear"):
        return view, step.exact, step.scaling
    if op in MOVERS:
        return view, False, step.scaling
    if op == "DequantizeLinear":
        scaling = dequantization(node, scope, view)
        return (view, step.exact, scaling) if scaling is not None else None
    if op == "Transpose":
        order = attribute(node, "perm", None) or list(range(len(view.groups)))[::-1]
        return view.transposed(list(order)), step.exact, step.scaling
    if op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        new = _reshaped(node, scope, view, step.exact)
        return (new, step.exact, step.scaling) if new is not None else None
    return None


def _reshaped(node: onnx.NodeProto, scope: Scope, view: View, exact: bool) -> View | None:
    if node.op_type in ("Squeeze", "Unsqueeze"):
        axes = attribute(node, "axes", None)
        if axes is None and len(node.input) > 1 and node.input[1]:
            axes = integers(scope, node.input[1])
            if axes is None:
                return None
        squeezed = view.squeezed if node.op_type == "Squeeze" else view.unsqueezed
        return squeezed(list(axes) if axes is not None else None)
    if not exact:
        return None
    if node.op_type == "Flatten":
        axis = attribute(node, "axis", 1)
        axis += len(view.groups) if axis < 0 else 0
        return view.reshaped([math.prod(view.shape[:axis]), math.prod(view.shape[axis:])])
    shape = attribute(node, "shape", None) or integers(scope, node.input[1])
    return view.reshaped(_resolved(list(shape), view.shape)) if shape is not None else None


def _resolved(shape: list[int], old: tuple[int, ...]) -> list[int]:
    """Replace the 0 (keep) and -1 (infer) of a Reshape's shape by numbers."""
    new = [old[i] if size == 0 and i < len(old) else size for i, size in enumerate(shape)]
    total = math.prod(old)
    known = math.prod(size for size in new if size > 0)
    return [total // known if size == -1 and known else size for size in new]


def _arrive(finding: Finding, step: _Step) -> None:
    node, index, view = step.use.node, step.use.index, step.view
    if node is None:
        finding.notes.append("is an output of the graph, which changes with it")
        finding.reasons.append(reason(None, index))
        return
    domain = "" if node.domain == "ai.onnx" else node.domain
    key = (domain, node.op_type)
    table = key in TABLES and index in TABLES[key]
    rule = (TABLES if table else RULES).get(key, {}).get(index)
    axes = rule(node, index, len(view.groups)) if rule is not None else None
    if axes is None:
        finding.reasons.append(reason(node, index))
        return
    scaling = step.scaling
    if index in QUANTIZED.get(key, {}):
        scaling = operator_scaling(node, index, key, step.use.scope, view)
        if scaling is None:
            finding.reasons.append("quantised with a scale that is not constant")
            return
    finding.table |= table
    finding.places.append((step.use.scope, node))
    if finding.layout is None or step.use.order < finding.order:
        finding.layout, finding.order = view.layout(*axes), step.use.order
        finding.op, finding.node, finding.scope = node.op_type, node, step.use.scope
        finding.scaling = scaling


def _blocked(finding: Finding, kind: str) -> str | None:
    """Return why a followed constant is no weight, or None if it is one."""
    if finding.layout is None:
        return finding.reasons[0]
    if kind not in STORAGE:
        return f"type {kind} is not pruned"
    if kind in QUANTIZED_TYPES and finding.scaling is None:
        return "integers without a scale"
    if len(finding.constant.record.dims) > RANK_LIMIT:
        return f"more than {RANK_LIMIT} dimensions"
    return None


def place_label(finding: Finding) -> str:
    """Return the name of the node that a weight belongs to."""
    if finding.node is None or finding.scope is None:
        return ""
    return finding.scope.prefix + node_label(finding.node)

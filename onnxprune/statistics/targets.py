"""Which value of a model a loss looks at: an output, or what lies before its last operator."""

from dataclasses import dataclass, replace

import onnx

from onnxprune.errors import UnsupportedError, UsageError
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Scope
from onnxprune.trials.ports import output_ports

FLOATS = ("float16", "bfloat16", "float32", "float64")
PLAIN = {"Identity", "Cast", "Dropout"}
"""Operators that hand a float value on as it is, when a model is only run."""

SHAPING = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
GATES = {"Sigmoid", "HardSigmoid"}
CHOICE = "Where"
PER_AXIS = 13
"""The version from which Softmax goes along one axis, instead of over all from one on."""


@dataclass(frozen=True, slots=True)
class Target:
    """The value that a loss looks at.

    Args:
        value: its name, None for the module's first output of floats.
        output: the output that it stands for.
        kind: `scores` of classes before any softmax, `probabilities`, `shares` that need not
            add up to 1, or `unknown`.
        axis: the dimension of classes, where the graph says it.
    """

    value: str | None = None
    output: str | None = None
    kind: str = "unknown"
    axis: int | None = None

    @property
    def inside(self) -> bool:
        """Whether it is a value inside the graph, not an output."""
        return self.value != self.output


def find_target(model: OnnxModel, output: str | None = None, raw: bool = False) -> Target:
    """Return what a loss should look at.

    Args:
        model: the model.
        output: the output it is about; the first one of floats if not given.
        raw: whether the output itself is wanted, whatever makes it.
    """
    ports = {port.name: port for port in output_ports(model)}
    if output is not None and output not in ports:
        names = ", ".join(f"'{name}'" for name in ports)
        raise UsageError(f"the model has no output '{output}'", f"it has {names}")
    floats = [name for name, port in ports.items() if port.dtype in FLOATS]
    opset = {each.domain or "": each.version for each in model.graph.model.opset_import}
    main = model.graph.scopes[0]
    wanted = [output] if output is not None else [*floats[:1], *ports]
    for name in wanted:
        if raw and name in floats:
            return Target(name, name, "values")
        found = _look_back(main, name, opset.get("", 1))
        if name in floats or found.inside:
            return found
    raise UnsupportedError(
        f"output '{wanted[0]}' is no value that a loss could be of: it is not of floats,"
        " nor the place of the largest of some",
        "--loss module:function computes a loss of your own",
    )


def _look_back(main: Scope, output: str, opset: int) -> Target:
    """Follow an output back to scores, through what hides them."""
    node, passed = _behind(main, output)
    plain = Target(output, output)
    if node is None:
        return plain
    if node.op_type == "ArgMax":
        return _before_argmax(main, node, output, opset)
    if CHOICE in passed:
        return plain
    if node.op_type in ("Softmax", "LogSoftmax"):
        if SHAPING.isdisjoint(passed):
            return Target(node.input[0], output, "scores", _softmax_axis(node, opset))
        return replace(plain, kind="probabilities" if node.op_type == "Softmax" else "scores")
    return replace(plain, kind="shares") if node.op_type in GATES else plain


def _behind(main: Scope, output: str) -> tuple[onnx.NodeProto | None, set[str]]:
    """Go back to the first node that computes something; with it, return what was passed."""
    name = output
    passed: set[str] = set()
    while (node := main.producers.get(name)) is not None and node.domain in ("", "ai.onnx"):
        if node.op_type == CHOICE:
            name = _only_way(main, node)
        elif node.op_type in PLAIN | SHAPING:
            name = node.input[0] if node.input else ""
        else:
            return node, passed
        passed.add(node.op_type)
    return None, passed


def _only_way(main: Scope, node: onnx.NodeProto) -> str:
    """Return what is chosen besides a constant, such as a class for scores that are all low."""
    makers = {each: main.producers.get(each) for each in node.input[1:]}
    ways = [
        each
        for each, maker in makers.items()
        if each not in main.constants and (maker is None or maker.op_type != "Constant")
    ]
    return ways[0] if len(ways) == 1 else ""


def _before_argmax(main: Scope, node: onnx.NodeProto, output: str, opset: int) -> Target:
    """Return what the largest is taken of, before a softmax if there is one."""
    axis = _attribute(node, "axis", 0)
    before = main.producers.get(node.input[0])
    if before is not None and before.op_type in ("Softmax", "LogSoftmax"):
        return Target(before.input[0], output, "scores", axis)
    kind = "shares" if before is not None and before.op_type in GATES else "unknown"
    return Target(node.input[0], output, kind, axis)


def _softmax_axis(node: onnx.NodeProto, opset: int) -> int | None:
    """Return the axis of a softmax, if it goes along one for sure."""
    return _attribute(node, "axis", -1) if opset >= PER_AXIS else None


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)

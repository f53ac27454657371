"""Operators that go over whole axes."""

from onnxprune.structure.registry import follows
from onnxprune.structure.step import Step
from onnxprune.structure.values import Axis, UnfollowableError

Outputs = list[tuple[Axis, ...]]
SUMS = ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")
"""What zeros add nothing to."""

AXES_AS_INPUT = {"ReduceSum": 13}
"""From which opset on the axes are an input."""


@follows(*SUMS, "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum")
def reduce(step: Step) -> Outputs:
    """Go over some axes; others keep their channels."""
    data = step.axes()
    reduced = reduced_axes(step, len(data))
    keep = bool(step.get("keepdims", 1))
    made = []
    for place, axis in enumerate(data):
        if place not in reduced:
            made.append(axis)
            continue
        if step.node.op_type in SUMS:
            step.contract((0, place))
        else:
            step.close(axis, f"{step.label} goes over it")
        if keep:
            made.append(Axis(1))
    return [tuple(made)]


def reduced_axes(step: Step, rank: int) -> set[int]:
    """Return the axes that a reduction goes over."""
    named = step.get("axes", None)
    if named is None and step.has(1):
        named = step.integers(1)
    if not named:
        if step.get("noop_with_empty_axes", 0):
            raise UnfollowableError(f"{step.label} reduces nothing")
        return set(range(rank))
    return {int(axis) % rank for axis in named}

"""Matrix products: sums over inner axes."""

from onnxprune.structure.registry import follows
from onnxprune.structure.step import Step
from onnxprune.structure.values import Axis, UnfollowableError

Outputs = list[tuple[Axis, ...]]


@follows("Gemm")
def gemm(step: Step) -> Outputs:
    """Multiply two matrices, turned or not, and add what fits."""
    left, right = step.axes(0), step.axes(1)
    if len(left) != 2 or len(right) != 2:
        raise UnfollowableError(f"{step.label} has inputs that do not fit")
    inner = 0 if step.get("transA", 0) else 1
    outer = 1 if step.get("transB", 0) else 0
    step.contract((0, inner), (1, outer))
    made = (step.produce(0, 1 - inner), step.produce(1, 1 - outer))
    if step.has(2):
        made = _fitted(step, made, step.axes(2))
    return [made]


def _fitted(step: Step, made: tuple[Axis, Axis], added: tuple[Axis, ...]) -> tuple[Axis, Axis]:
    if len(added) > 2:
        raise UnfollowableError(f"{step.label} has inputs that do not fit")
    first, second = step.broadcast(made, added)
    return first, second


@follows("MatMul")
def matmul(step: Step) -> Outputs:
    """Multiply the last two axes; those before them broadcast."""
    left, right = step.axes(0), step.axes(1)
    if not left or not right:
        raise UnfollowableError(f"{step.label} has inputs that do not fit")
    inner = max(len(right) - 2, 0)
    step.contract((0, len(left) - 1), (1, inner))
    batch = step.broadcast(left[:-2], right[:-2]) if len(left) > 2 or len(right) > 2 else ()
    made = list(batch)
    if len(left) > 1:
        made.append(step.produce(0, -2))
    if len(right) > 1:
        made.append(step.produce(1, -1))
    return [tuple(made)]

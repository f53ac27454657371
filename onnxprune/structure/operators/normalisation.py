"""Operators that shift and scale channels, or make the elements of an axis comparable."""

from onnxprune.structure.registry import follows
from onnxprune.structure.step import Step
from onnxprune.structure.values import Axis, UnfollowableError

Outputs = list[tuple[Axis, ...]]
AXIS_ONLY = 13
"""The first opset in which Softmax goes over one axis."""


@follows("BatchNormalization")
def batch_normalization(step: Step) -> Outputs:
    """Scale each channel by constants of its own."""
    if step.get("training_mode", 0) or any(step.node.output[1:]):
        raise UnfollowableError(f"{step.label} is in training")
    return [_per_channel(step, 4)]


@follows("InstanceNormalization")
def instance_normalization(step: Step) -> Outputs:
    """Normalise each channel by itself."""
    data = _per_channel(step, 2)
    return [(*data[:2], *_closed(step, data[2:]))]


def _per_channel(step: Step, parameters: int) -> tuple[Axis, ...]:
    data = step.axes()
    if len(data) < 2:
        raise UnfollowableError(f"{step.label} has inputs that do not fit")
    own = [axis for index in range(1, parameters + 1) for axis in step.axes(index)]
    return (data[0], step.meet(data[1], *own), *data[2:])


@follows("LayerNormalization")
def layer_normalization(step: Step) -> Outputs:
    """Normalise over the last axes, which have to stay."""
    data = step.axes()
    first = step.axis_of(len(data), default=-1)
    made = (*data[:first], *_closed(step, data[first:]))
    for index in (1, 2):
        if step.has(index):
            step.broadcast(made, step.axes(index))
    return [made, *[tuple(Axis(None) for _ in data)] * (len(step.node.output) - 1)]


@follows("Softmax", "LogSoftmax", "Hardmax")
def softmax(step: Step) -> Outputs:
    """Compare the elements of an axis, or of all from it on before opset 13."""
    data = step.axes()
    new = step.opset >= AXIS_ONLY
    first = step.axis_of(len(data), default=-1 if new else 1)
    last = first + 1 if new else len(data)
    return [(*data[:first], *_closed(step, data[first:last]), *data[last:])]


@follows("LRN")
def local_response(step: Step) -> Outputs:
    """Compare neighbouring channels."""
    data = step.axes()
    return [(*data[:1], *_closed(step, data[1:2]), *data[2:])]


def _closed(step: Step, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return tuple(step.close(axis, f"{step.label} goes over it") for axis in axes)

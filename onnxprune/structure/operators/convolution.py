"""Convolutions: sums over input channels, rows of outputs, groups that live or die whole."""

import numpy as np

from onnxprune.structure.registry import follows
from onnxprune.structure.step import Step
from onnxprune.structure.values import Axis, Count, UnfollowableError
from onnxprune.types import Array

Outputs = list[tuple[Axis, ...]]
KERNEL = "it is a kernel's height or width"


@follows("Conv")
def conv(step: Step) -> Outputs:
    """Read weights as [outputs, inputs of one group, kernel]."""
    data, weight = step.axes(0), step.axes(1)
    _check(step, data, weight)
    group = int(step.get("group", 1))
    if group == 1:
        step.contract((0, 1), (1, 1))
        made = step.produce(1, 0)
    else:
        step.close(weight[1], "it counts the inputs of one group")
        made = _grouped(step, data[1], weight[0], weight[0].size, group)
    return [_finished(step, data, weight, made)]


@follows("ConvTranspose")
def conv_transpose(step: Step) -> Outputs:
    """Read weights as [inputs, outputs of one group, kernel]."""
    data, weight = step.axes(0), step.axes(1)
    _check(step, data, weight)
    group = int(step.get("group", 1))
    if group == 1:
        step.contract((0, 1), (1, 0))
        made = step.produce(1, 1)
    else:
        width = weight[1].size
        step.close(weight[1], "it counts the outputs of one group")
        outputs = None if width is None else width * group
        met = step.meet(data[1], weight[0])
        made = _grouped(step, met, None, outputs, group)
    return [_finished(step, data, weight, made)]


def _check(step: Step, data: tuple[Axis, ...], weight: tuple[Axis, ...]) -> None:
    if len(data) < 3 or len(data) != len(weight):
        raise UnfollowableError(f"{step.label} has inputs that do not fit")


def _finished(
    step: Step, data: tuple[Axis, ...], weight: tuple[Axis, ...], made: Axis
) -> tuple[Axis, ...]:
    for axis in weight[2:]:
        step.close(axis, KERNEL)
    if step.has(2):
        made = step.meet(made, *step.axes(2))
    spatial = [step.close(axis, f"{step.label} goes over it") for axis in data[2:]]
    known = step.sizes[0] or [None] * len(data)
    for place, axis in enumerate(spatial):
        spatial[place] = Axis(known[2 + place], None, axis.why)
    return (data[0], made, *spatial)


def _grouped(
    step: Step, data: Axis, rows: Axis | None, outputs: int | None, group: int
) -> Axis:
    """Let the channels of a group live or die together, inputs and outputs."""
    if data.size is None or outputs is None or data.size % group or outputs % group:
        raise UnfollowableError(f"{step.label} has {group} groups that do not divide")
    if data.labels is None and (rows is None or rows.labels is None):
        return Axis(outputs, None, data.why)
    width = data.size // group
    labels = data.labels if data.labels is not None else step.labels.fresh(data.size)
    if data.labels is None:
        step.labels.freeze(labels, data.why)
    step.touched.add(id(data))
    _unite_rows(step, labels.reshape(group, width))
    first = labels.reshape(group, width)[:, :1]
    spread = np.repeat(first, outputs // group, axis=1).ravel()
    if rows is None:
        made = Axis(outputs, step.labels.fresh(outputs))
        assert made.labels is not None
        step.labels.unite(made.labels, spread)
    else:
        step.meet(rows, Axis(outputs, spread))
        made = step.produce(1, 0)
    step.repair("group", [Count(labels, width)], [group], scalar=True)
    return made


def _unite_rows(step: Step, labels: Array) -> None:
    """Make the labels of every row one channel."""
    for column in range(1, labels.shape[1]):
        step.labels.unite(labels[:, 0], labels[:, column])

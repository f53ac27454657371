"""Operators that work on the pixels of each channel: pooling, resizing."""

import numpy as np

from onnxprune.structure.registry import follows
from onnxprune.structure.step import RUN_TIME, Step
from onnxprune.structure.values import (
    Axis,
    Count,
    Item,
    Moves,
    Origin,
    Part,
    Same,
    UnfollowableError,
)

Outputs = list[tuple[Axis, ...]]
SIZES, SCALES = 3, 2


@follows(
    "AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"
)
def pool(step: Step) -> Outputs:
    """Go over the pixels of each channel."""
    if len(step.node.output) > 1:
        raise UnfollowableError(f"{step.label} gives indices, which count channels")
    data = step.axes()
    known = step.sizes[0] or [None] * len(data)
    return [(*data[:2], *_pixels(step, data[2:], known[2:]))]


def _pixels(step: Step, axes: tuple[Axis, ...], sizes: list[int | None]) -> tuple[Axis, ...]:
    made = []
    for axis, size in zip(axes, sizes, strict=True):
        closed = step.close(axis, f"{step.label} goes over it")
        made.append(Axis(size, None, closed.why))
    return tuple(made)


@follows("Resize", "Upsample")
def resize(step: Step) -> Outputs:
    """Scale axes; those that hold channels keep their length."""
    data = step.axes()
    known = step.sizes[0]
    if known is None or len(known) != len(data):
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    if step.get("coordinate_transformation_mode", "") == b"tf_crop_and_resize":
        raise UnfollowableError(f"{step.label} crops")
    named = step.get("axes", None)
    chosen = [int(axis) % len(data) for axis in named] if named else list(range(len(data)))
    made = list(data)
    for axis, size in enumerate(known):
        if axis in chosen and (size is None or size != data[axis].size):
            made[axis] = Axis(size, None, step.close(data[axis], "Resize").why)
    if step.has(SIZES):
        _sizes(step, data, chosen)
    elif step.node.op_type == "Resize":
        _scales(step, made, chosen)
    return [tuple(made)]


def _scales(step: Step, made: list[Axis], chosen: list[int]) -> None:
    """See that axes with channels have the scale one, not just nearly."""
    index = SCALES if len(step.inputs) > SCALES or step.opset > 10 else 1
    found = step.floats[index] if index < len(step.floats) else None
    if found is None or found.size != len(chosen):
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    for axis, scale in zip(chosen, found.ravel().tolist(), strict=True):
        if made[axis].labels is not None and scale != 1:
            raise UnfollowableError(f"{step.label} scales channels")


def _sizes(step: Step, data: tuple[Axis, ...], chosen: list[int]) -> None:
    numbers = step.numbers(SIZES).ravel().tolist()
    if len(numbers) != len(chosen):
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    items: list[Item] = []
    following = True
    for number, axis in zip(numbers, [data[axis] for axis in chosen], strict=True):
        labels = axis.labels
        if labels is None:
            if number.axis is not None and number.axis.labels is not None:
                step.close(number.axis, f"{RUN_TIME} ({step.label})")
            items.append(-1 if number.value is None else number.value)
        elif number.axis is not None and number.axis.labels is not None:
            step.meet(axis, number.axis)
            items.append(Count(labels))
        else:
            items.append(Count(labels))
            following = False
    if following:
        return
    if any(number.value is None for number in numbers):
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    step.repair(SIZES, items, [number.value for number in numbers])


@follows("DepthToSpace")
def depth_to_space(step: Step) -> Moves:
    """Spread each channel's block of channels over pixels."""
    _, depth, *pixels = step.axes()
    block = int(step.get("blocksize", 1)) ** 2
    for axis in pixels:
        step.close(axis, f"{step.label} goes over it")
    pixel = "they are pixels"
    made: list[Origin] = [Same(0, 0), pixel, pixel, pixel]
    if depth.size is None or depth.size % block:
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    line = np.arange(depth.size)
    inner = step.get("mode", b"DCR") == b"CRD"
    table = line.reshape(-1, block) if inner else line.reshape(block, -1).T
    made[1] = (Part(0, 1, table),)
    return Moves((tuple(made),))

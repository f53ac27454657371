"""Operators that put axes together and take them apart."""

import numpy as np

from onnxprune.structure.registry import follows
from onnxprune.structure.step import RUN_TIME, Step, positions
from onnxprune.structure.values import (
    Axis,
    Count,
    Item,
    Moves,
    Origin,
    Part,
    Parts,
    Picked,
    Same,
    UnfollowableError,
)

SIZES_AS_INPUT = 13
"""The first opset in which Split's sizes and the like are inputs."""


def same(data: tuple[Axis, ...], index: int = 0) -> list[Origin]:
    """Return the origins of axes that stay as they are."""
    return [Same(index, place) for place in range(len(data))]


@follows("Concat")
def concat(step: Step) -> Moves:
    """Put the channels of one input behind those of the other."""
    shapes = [step.axes(index) for index in range(len(step.inputs))]
    rank = len(shapes[0])
    place = step.axis_of(rank)
    if any(len(shape) != rank for shape in shapes):
        raise UnfollowableError(f"{step.label} has inputs that do not fit")
    made = same(shapes[0])
    for axis in range(rank):
        if axis != place:
            step.meet(*[shape[axis] for shape in shapes])
            made[axis] = _labelled([shape[axis] for shape in shapes], axis)
    sizes = [shape[place].size for shape in shapes]
    if any(size is None for size in sizes):
        for shape in shapes:
            step.close(shape[place], f"{RUN_TIME} ({step.label})")
        made[place] = f"{RUN_TIME} ({step.label})"
    else:
        made[place] = tuple(
            Part(index, place, positions(size or 0)) for index, size in enumerate(sizes)
        )
    return Moves((tuple(made),))


def _labelled(axes: list[Axis], place: int) -> Same:
    """Choose the input that tells most of an axis that all of them have."""
    known = [index for index, axis in enumerate(axes) if axis.labels is not None]
    sized = [index for index, axis in enumerate(axes) if axis.size is not None]
    return Same(next(iter(known + sized), 0), place)


@follows("Split")
def split(step: Step) -> Moves:
    """Take an axis apart; each piece keeps its channels."""
    data = step.axes()
    place = step.axis_of(len(data))
    count = len(step.node.output)
    axis = data[place]
    if axis.size is None:
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    given = step.integers(1) if step.has(1) else step.get("split", None)
    each = -(-axis.size // count)
    sizes = [each] * (count - 1) + [axis.size - each * (count - 1)]
    if given is not None:
        sizes = [int(size) for size in given]
    if len(sizes) != count or sum(sizes) != axis.size or min(sizes) < 1:
        raise UnfollowableError(f"{step.label} has sizes that do not fit")
    outputs, first = [], 0
    for size in sizes:
        made = same(data)
        made[place] = (Part(0, place, positions(size) + first),)
        outputs.append(tuple(made))
        first += size
    if axis.labels is not None:
        ends = np.cumsum(sizes)[:-1]
        items: list[Item] = [Count(labels) for labels in np.split(axis.labels, ends)]
        target = 1 if step.opset >= SIZES_AS_INPUT else "split"
        step.repair(target, items, sizes, drop="num_outputs")
    return Moves(tuple(outputs))


@follows("Slice")
def slice_(step: Step) -> Moves:
    """Keep a run of an axis."""
    data = step.axes()
    given = [_listed(step, index, name) for index, name in enumerate(NAMES, 1)]
    starts, ends, axes, steps = given
    if starts is None or ends is None:
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    axes = list(range(len(starts))) if axes is None else [axis % len(data) for axis in axes]
    steps = steps or [1] * len(starts)
    made = same(data)
    new_starts: list[Item] = list(starts)
    new_ends: list[Item] = list(ends)
    for at, place in enumerate(axes):
        axis = data[place]
        low, high = _bounds(starts[at], ends[at], axis.size)
        if axis.size is not None and (low, high) == (0, axis.size) and steps[at] == 1:
            continue
        if axis.labels is None or steps[at] != 1 or high <= low:
            step.close(axis, f"{step.label} cuts it")
            made[place] = axis.why or f"{step.label} cuts it"
            continue
        step.touched.add(id(axis))
        made[place] = (Part(0, place, positions(high - low) + low),)
        new_starts[at] = Count(axis.labels[:low])
        new_ends[at] = Count(axis.labels[:high])
    as_input = step.opset >= SLICE_AS_INPUT
    step.repair(1 if as_input else "starts", new_starts, starts)
    step.repair(2 if as_input else "ends", new_ends, ends)
    return Moves((tuple(made),))


NAMES = ("starts", "ends", "axes", "steps")
SLICE_AS_INPUT = 10


def _bounds(start: int, end: int, size: int | None) -> tuple[int, int]:
    if size is None:
        return 0, 0
    low, high, _ = slice(start, end).indices(size)
    return low, high


def _listed(step: Step, index: int, name: str) -> list[int] | None:
    if step.has(index):
        return step.integers(index)
    found = step.get(name, None)
    return None if found is None else [int(each) for each in found]


@follows("Gather")
def gather(step: Step) -> Moves:
    """Pick positions of an axis by constant numbers."""
    data = step.axes()
    place = step.axis_of(len(data))
    indices = step.inputs[1]
    axis = data[place]
    if indices is None or indices.axes is None:
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    before, after = same(data)[:place], same(data)[place + 1 :]
    if indices.numbers is None or axis.labels is None or len(indices.axes) > 1:
        step.close(axis, f"{step.label} picks from it")
        why = f"{step.label} picks from it"
        between: list[Origin] = [
            Same(1, at) if each.labels is None else why for at, each in enumerate(indices.axes)
        ]
        return Moves(((*before, *between, *after),))
    assert axis.size is not None
    picked = [index % axis.size for index in step.integers(1)]
    if len(indices.axes) == 0:
        # One position is all that is used of the axis: its channels stay.
        step.close(axis, f"{step.label} picks from it")
        return Moves(((*before, *after),))
    step.touched.add(id(axis))
    items: list[Item] = [Picked(axis.labels, index) for index in picked]
    step.repair(1, items, picked)
    parts: Parts = (Part(0, place, np.array(picked).reshape(-1, 1)),)
    return Moves(((*before, parts, *after),))


@follows("Pad")
def pad(step: Step) -> Moves:
    """Put constant values before and behind; those of channels are channels, too."""
    data = step.axes()
    rank = len(data)
    given = step.integers(1) if step.has(1) else step.get("pads", None)
    axes = step.integers(3) if step.has(3) else list(range(rank))
    if given is None or len(given) != 2 * len(axes):
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    value = step.scalar(2) if step.has(2) else float(step.get("value", 0.0))
    constant = step.get("mode", b"constant") == b"constant"
    made = same(data)
    items: list[Item] = [int(each) for each in given]
    for at, place in enumerate(axes):
        axis = data[place % rank]
        low, high = int(given[at]), int(given[at + len(axes)])
        if low == high == 0:
            continue
        if axis.labels is None or value is None or not constant or min(low, high) < 0:
            step.close(axis, f"{step.label} pads it")
            made[place % rank] = f"{step.label} pads it"
            continue
        step.touched.add(id(axis))
        parts, counts = _padded(step, axis, place % rank, [low, high], value)
        made[place % rank] = parts
        items[at], items[at + len(axes)] = counts
    before = [int(each) for each in given]
    step.repair(1 if step.has(1) else "pads", items, before)
    return Moves((tuple(made),))


def _padded(
    step: Step, axis: Axis, place: int, sizes: list[int], value: float
) -> tuple[Parts, list[Item]]:
    """Make channels of what is put before and behind an axis."""
    assert axis.size is not None
    labels = [step.labels.fresh(size) for size in sizes]
    low, high = (
        Part(-1, 0, np.zeros((made.size, 1), np.int64), value, made) for made in labels
    )
    return (low, Part(0, place, positions(axis.size)), high), [Count(each) for each in labels]


@follows("Tile")
def tile(step: Step) -> Moves:
    """Repeat; an axis that holds channels must not be."""
    data = step.axes()
    repeats = step.integers(1)
    if len(repeats) != len(data):
        raise UnfollowableError(f"{step.label} has inputs that do not fit")
    made = same(data)
    for place, times in enumerate(repeats):
        if times != 1:
            made[place] = f"{step.label} repeats it"
            step.close(data[place], f"{step.label} repeats it")
    return Moves((tuple(made),))

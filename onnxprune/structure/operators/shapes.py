"""Operators that give the same elements other axes."""

import math

import numpy as np

from onnxprune.structure.operators.blocks import find_blocks, regroup
from onnxprune.structure.operators.pieces import same
from onnxprune.structure.registry import follows
from onnxprune.structure.step import RUN_TIME, Step
from onnxprune.structure.values import (
    Axis,
    Count,
    Given,
    Item,
    Moves,
    Number,
    Origin,
    Same,
    UnfollowableError,
)
from onnxprune.types import Array

AXES_AS_INPUT = 13


@follows("Transpose")
def transpose(step: Step) -> Moves:
    """Put axes in another order."""
    data = step.axes()
    order = step.get("perm", None) or list(range(len(data)))[::-1]
    if sorted(order) != list(range(len(data))):
        raise UnfollowableError(f"{step.label} has a wrong order")
    return Moves((tuple(Same(0, int(axis)) for axis in order),))


@follows("Squeeze")
def squeeze(step: Step) -> Moves:
    """Drop axes of length one."""
    data = step.axes()
    named = step.integers(1) if step.has(1) else step.get("axes", None)
    if named is None:
        if any(axis.size is None for axis in data):
            raise UnfollowableError(f"{RUN_TIME} ({step.label})")
        # One channel that is left would be dropped, too.
        for axis in data:
            if axis.labels is not None:
                step.close(axis, f"{step.label} drops whatever has length one")
        gone = {place for place, axis in enumerate(data) if axis.size == 1}
    else:
        gone = {int(axis) % len(data) for axis in named}
    for place in gone:
        step.close(data[place], f"{step.label} drops it")
    return Moves((tuple(Same(0, at) for at in range(len(data)) if at not in gone),))


@follows("Unsqueeze")
def unsqueeze(step: Step) -> Moves:
    """Put in axes of length one."""
    data = step.axes()
    named = step.integers(1) if step.has(1) else step.get("axes", None)
    if named is None:
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    total = len(data) + len(named)
    made: list[Origin] = same(data)
    for place in sorted(int(axis) % total for axis in named):
        made.insert(place, ONE)
    return Moves((tuple(made),))


ONE = "an axis of length one"


@follows("Flatten")
def flatten(step: Step) -> Moves:
    """Make a matrix."""
    data = step.axes()
    place = int(step.get("axis", 1)) % (len(data) + 1)
    sizes = [axis.size for axis in data]
    blocks = [((0, place), (0, 1)), ((place, len(data)), (1, 2))]
    made = [_product(sizes[:place]), _product(sizes[place:])]
    return Moves((tuple(regroup(step, data, made, blocks)),))


def _product(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


@follows("Reshape")
def reshape(step: Step) -> Moves:
    """Read the elements in their order as another shape."""
    data = step.axes()
    if step.has(1):
        wanted = step.numbers(1).ravel().tolist()
    else:
        wanted = [Number(int(size)) for size in step.get("shape", [])]
    if step.get("allowzero", 0) and any(number.value == 0 for number in wanted):
        raise UnfollowableError(f"{step.label} makes it empty")
    sizes, equal = _sizes(step, data, wanted)
    blocks = find_blocks([axis.size for axis in data], sizes, equal)
    origins = regroup(step, data, sizes, blocks)
    _repair(step, data, wanted, sizes, origins)
    return Moves((tuple(origins),))


def _sizes(
    step: Step, data: tuple[Axis, ...], wanted: list[Number]
) -> tuple[list[int | None], dict[int, int]]:
    """Return the sizes of the new axes, and which of them are certainly old ones."""
    known = step.sizes[0]
    sizes: list[int | None] = [None] * len(wanted)
    equal = {}
    for place, number in enumerate(wanted):
        if number.axis is not None:
            sizes[place] = number.axis.size
            for at, axis in enumerate(data):
                if axis is number.axis:
                    equal[place] = at
        elif number.value == 0 and place < len(data):
            sizes[place] = data[place].size
            equal[place] = place
        elif number.value is not None and number.value > 0:
            sizes[place] = number.value
        if sizes[place] is None and known is not None and len(known) == len(wanted):
            sizes[place] = known[place]
    _fill_open(data, sizes, equal)
    return sizes, equal


def _fill_open(data: tuple[Axis, ...], sizes: list[int | None], equal: dict[int, int]) -> None:
    """Reckon the one size that is left to be found; axes that stay count on neither side."""
    others = [size for place, size in enumerate(sizes) if place not in equal]
    if others.count(None) != 1:
        return
    stay = set(equal.values())
    total = _product([axis.size for place, axis in enumerate(data) if place not in stay])
    rest = _product([size for size in others if size is not None])
    if total is not None and rest and total % rest == 0:
        open_ = [at for at, size in enumerate(sizes) if size is None and at not in equal]
        sizes[open_[0]] = total // rest


def _repair(
    step: Step,
    data: tuple[Axis, ...],
    wanted: list[Number],
    sizes: list[int | None],
    origins: list[Origin],
) -> None:
    """Note what becomes of the numbers of a shape; refuse those that cannot be written."""
    items: list[Item] = []
    needed = False
    for place, (number, origin) in enumerate(zip(wanted, origins, strict=True)):
        labels = _labels(data, origin)
        following = _same(step, labels, number.axis)
        needed = needed or not (following or number.value == -1)
        if labels is None or number.value == -1:
            items.append(_plain(data, place, number, sizes))
        else:
            items.append(Count(labels))
    if not needed:
        return
    if items.count(-1) > 1:
        for axis in (*data, *[number.axis for number in wanted if number.axis is not None]):
            step.close(axis, f"{RUN_TIME} ({step.label})")
        return
    pairs = zip(items, sizes, strict=True)
    before = [size if isinstance(item, Count) else item for item, size in pairs]
    known = [each for each in before if isinstance(each, int)]
    # What a model reckons itself changes with what it counts: then it is always written.
    reckoned = any(
        number.axis is not None and number.axis.labels is not None for number in wanted
    )
    step.repair(1 if step.has(1) else "shape", items, None if reckoned else known)


def _same(step: Step, labels: Array | None, counted: Axis | None) -> bool:
    """Whether a number follows the channels that it counts without being written anew."""
    other = None if counted is None else counted.labels
    if labels is None or other is None:
        return labels is None and other is None
    return np.array_equal(step.labels.roots(labels), step.labels.roots(other))


def _plain(data: tuple[Axis, ...], place: int, number: Number, sizes: list[int | None]) -> int:
    """Return a number of a shape that counts no channels, as a constant has it."""
    if number.value is not None:
        return number.value
    if sizes[place] is not None:
        return int(sizes[place] or 0)
    same_place = place < len(data) and data[place] is number.axis
    return 0 if same_place else -1


def _labels(data: tuple[Axis, ...], origin: Origin) -> Array | None:
    match origin:
        case Same():
            return data[origin.axis].labels
        case str() | Given():
            return None
        case _:
            (part,) = origin
            labels = data[part.axis].labels
            return None if labels is None else labels[part.positions[:, 0]]


@follows("Expand")
def expand(step: Step) -> Moves:
    """Repeat axes of length one; those with channels stay as they are."""
    data = step.axes()
    wanted = step.numbers(1).ravel().tolist()
    rank = max(len(wanted), len(data))
    made: list[Origin] = []
    items: list[Item] = []
    for back in range(rank, 0, -1):
        axis = data[-back] if back <= len(data) else Axis(1)
        number = wanted[-back] if back <= len(wanted) else Number(1)
        if axis.labels is None:
            items.append(-1 if number.value is None else number.value)
            if number.axis is not None and number.axis.labels is not None and axis.size == 1:
                made.append(Given(number.axis))
                continue
            if number.axis is not None:
                step.close(number.axis, f"{RUN_TIME} ({step.label})")
            stays = back <= len(data) and number.value == 1
            made.append(Same(0, len(data) - back) if stays else f"{step.label} repeats it")
            continue
        made.append(Same(0, len(data) - back))
        if number.axis is not None and number.axis.labels is not None:
            step.meet(axis, number.axis)
        elif number.value not in (1, axis.size):
            raise UnfollowableError(f"{RUN_TIME} ({step.label})")
        items.append(1 if number.value == 1 else Count(axis.labels))
    _repair_expansion(step, items[-len(wanted) :], wanted)
    return Moves((tuple(made),))


def _repair_expansion(step: Step, items: list[Item], wanted: list[Number]) -> None:
    """Note what becomes of the shape, unless the model counts the channels itself.

    A number that the model counts is not to be written, whatever else is.
    """
    counts = [
        number.axis is None or number.axis.labels is None
        for item, number in zip(items, wanted, strict=True)
        if isinstance(item, Count)
    ]
    if not any(counts):
        return
    if any(number.value is None for number in wanted):
        raise UnfollowableError(f"{RUN_TIME} ({step.label})")
    step.repair(1, items, [number.value or 0 for number in wanted])

"""Which axes of a shape become which axes of another, and the channels among them."""

from collections.abc import Iterator

import numpy as np

from onnxprune.structure.step import RUN_TIME, Step
from onnxprune.structure.values import Axis, Given, Origin, Part, Same
from onnxprune.types import Array

Block = tuple[tuple[int, int], tuple[int, int]]
"""(old axes, new axes), each as (first, behind the last): what lies in these lies in those."""

Sizes = list[int | None]
LIMIT = 1 << 24


def find_blocks(old: Sizes, new: Sizes, equal: dict[int, int]) -> list[Block]:
    """Match axes from the front and from behind, as far as sizes are known.

    Args:
        old: the sizes before.
        new: the sizes after.
        equal: new axes that certainly are old ones, whatever their sizes.
    """
    front: list[Block] = []
    at = to = 0
    for block in _from_front(old, new, equal):
        front.append(block)
        at, to = block[0][1], block[1][1]
    back = []
    turned = {len(new) - 1 - key: len(old) - 1 - value for key, value in equal.items()}
    for (low, high), (first, last) in _from_front(old[at:][::-1], new[to:][::-1], turned):
        back.append(((len(old) - high, len(old) - low), (len(new) - last, len(new) - first)))
    return front + back[::-1]


def _from_front(old: Sizes, new: Sizes, equal: dict[int, int]) -> Iterator[Block]:
    at = to = 0
    while at < len(old) and to < len(new):
        if equal.get(to) == at:
            yield (at, at + 1), (to, to + 1)
            at, to = at + 1, to + 1
            continue
        first, start = at, to
        left, right = old[at], new[to]
        at, to = at + 1, to + 1
        while left != right or not left or not right:
            if not left or not right:
                return
            if left < right:
                if at == len(old) or not old[at]:
                    return
                left *= old[at] or 1
                at += 1
            else:
                if to == len(new) or not new[to]:
                    return
                right *= new[to] or 1
                to += 1
        yield (first, at), (start, to)


def regroup(
    step: Step, data: tuple[Axis, ...], sizes: Sizes, blocks: list[Block]
) -> list[Origin]:
    """Return where each new axis comes from; channels that are lost stay."""
    unknown = f"{RUN_TIME} ({step.label})"
    made: list[Origin] = [Given(Axis(size, None, unknown)) for size in sizes]
    seen: set[int] = set()
    for (low, high), (first, last) in blocks:
        seen.update(range(low, high))
        if (high - low, last - first) == (1, 1):
            made[first] = Same(0, low)
            continue
        chosen = _chosen(step, data, low, high)
        inside = range(first, last)
        for place in inside:
            made[place] = Given(Axis(sizes[place], None, "no channels lie in it"))
        if chosen is None:
            continue
        extents = [sizes[place] for place in inside]
        known = [size for size in extents if size is not None]
        around = [data[at].size for at in range(low, high)]
        if len(known) != len(extents) or None in around:
            step.close(data[chosen], unknown)
            continue
        flat = _flat([size or 0 for size in around], chosen - low)
        place, positions = _split(step, data[chosen], flat, known, (first, len(sizes)))
        step.touched.add(id(data[chosen]))
        made[place] = (Part(0, chosen, positions),)
    for at, axis in enumerate(data):
        if at not in seen and axis.labels is not None:
            step.close(axis, f"{RUN_TIME} ({step.label})")
    return made


def _chosen(step: Step, data: tuple[Axis, ...], low: int, high: int) -> int | None:
    """Choose the one old axis of a block whose channels are followed; others stay."""
    found = [at for at in range(low, high) if data[at].labels is not None]
    free = [at for at in found if _free(step, data[at])]
    chosen = next(iter(free + found), None)
    for at in found:
        if at != chosen:
            step.close(data[at], f"{step.label} merges it with other channels")
    return chosen


def _free(step: Step, axis: Axis) -> bool:
    assert axis.labels is not None
    return any(step.labels.reason(label) is None for label in axis.labels.tolist())


def _flat(sizes: list[int], place: int) -> Array:
    """Return for each element of merged axes its position on one of them."""
    shape = [1] * len(sizes)
    shape[place] = sizes[place]
    line = np.arange(sizes[place]).reshape(shape)
    return np.broadcast_to(line, sizes).ravel()


def _split(
    step: Step, axis: Axis, flat: Array, sizes: list[int], place: tuple[int, int]
) -> tuple[int, Array]:
    """Choose the new axis that counts the channels; unite those that share a position.

    Args:
        step: the node.
        axis: the old axis whose channels are followed.
        flat: for each element of the block its position on that axis.
        sizes: of the new axes.
        place: the first of the new axes, and how many the output has.
    """
    first, rank = place
    assert axis.labels is not None
    roots = step.labels.roots(axis.labels)
    tables = {}
    exact = []
    for at, size in enumerate(sizes):
        table = np.moveaxis(flat.reshape(sizes), at, 0).reshape(size, -1)
        tables[at] = table
        if size > 1 and bool((roots[table] == roots[table[:, :1]]).all()):
            exact.append(at)
    wide = [at for at, size in enumerate(sizes) if size > 1]
    useful = [at for at in wide if not step.lost(first + at, rank)]
    chosen = exact or sorted(useful, key=lambda at: -sizes[at]) or wide[:1] or [0]
    table = tables[chosen[0]]
    same = bool((table == table[:, :1]).all())
    return first + chosen[0], table[:, :1] if same else table

"""Channels as a planner sees them: groups of units, and the rows of weights that make them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.patterns.pools import root_of
from onnxprune.structure.following import Followed, Shapes, follow
from onnxprune.types import Array, Weight

OUTPUT, INPUT, ALONG = "output", "input", "along"


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One axis of a tensor whose positions are channels of a group.

    Args:
        path: the tensor.
        axis: of its stored shape.
        role: `output` of a weight, `input` of one, or `along` with the channels.
        units: for each position its unit in the group; -1 where it is of none.
    """

    path: str
    axis: int
    role: str
    units: Array


@dataclass(frozen=True, slots=True, eq=False)
class ChannelGroup:
    """Channels that the same weights make; each unit lives or dies as a whole.

    Args:
        members: the tensors that lose positions when units go.
        reasons: for each unit why it cannot go, or None.
        roots: for each unit the label that stands for it.
    """

    members: tuple[Member, ...]
    reasons: tuple[str | None, ...]
    roots: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of units."""
        return len(self.reasons)

    @property
    def reason(self) -> str | None:
        """Why no unit can go; None if some can."""
        if None in self.reasons:
            return None
        return Counter(self.reasons).most_common(1)[0][0]

    @property
    def producers(self) -> tuple[str, ...]:
        """The weights whose outputs are the channels."""
        return tuple(member.path for member in self.members if member.role == OUTPUT)


def find_channels(model: OnnxModel, shapes: Shapes) -> list[ChannelGroup]:
    """Find the channels of a model that live or die together.

    Args:
        model: the model.
        shapes: the shapes of its values, as far as they are known.
    """
    return group_channels(follow(model, shapes))


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """One axis of a constant with the labels that stand for its positions."""

    path: str
    axis: int
    role: str
    roots: Array


def group_channels(followed: Followed) -> list[ChannelGroup]:
    """Gather the channels that were followed into groups."""
    lines = _lines(followed)
    sets: dict[int, int] = {}
    parents: list[int] = []
    # What weights give makes the groups; what else shares their channels belongs to them.
    for wanted in ((OUTPUT,), (INPUT, ALONG)):
        known = set(sets)
        for line in lines:
            distinct = set(line.roots.tolist())
            if line.role in wanted and not (wanted != (OUTPUT,) and distinct & known):
                _join(distinct, sets, parents)
    units: dict[int, list[int]] = {}
    for root, number in sets.items():
        units.setdefault(root_of(parents, number), []).append(root)
    return [_group(followed, lines, sorted(units[key])) for key in sorted(units)]


def _lines(followed: Followed) -> list[_Line]:
    rows = {label for labels in followed.rows for label in labels.ravel().tolist()}
    columns = {label for labels in followed.columns for label in labels.ravel().tolist()}
    lines = []
    for name in followed.constants.names():
        value = followed.values.get(name)
        for at, axis in enumerate((value.axes if value is not None else None) or ()):
            if axis.labels is None:
                continue
            first = set(axis.labels.tolist())
            role = OUTPUT if first & rows else INPUT if first & columns else ALONG
            path = followed.constants.find(name).path
            lines.append(_Line(path, at, role, followed.labels.roots(axis.labels)))
    return lines


def _join(roots: set[int], sets: dict[int, int], parents: list[int]) -> None:
    """Put some channels into one set, with all that they are in a set with."""
    found = sorted({root_of(parents, sets[root]) for root in roots if root in sets})
    if not found:
        found = [len(parents)]
        parents.append(len(parents))
    for number in found[1:]:
        parents[number] = found[0]
    for root in roots:
        sets.setdefault(root, found[0])


def _group(followed: Followed, lines: list[_Line], roots: list[int]) -> ChannelGroup:
    place = {root: at for at, root in enumerate(roots)}
    members = []
    for line in lines:
        units = np.array([place.get(root, -1) for root in line.roots.tolist()], np.int64)
        if (units >= 0).any():
            members.append(Member(line.path, line.axis, line.role, units))
    reasons = tuple(followed.labels.reason(root) for root in roots)
    return ChannelGroup(tuple(members), reasons, tuple(roots))


def couplings(groups: Sequence[ChannelGroup], weights: Sequence[Weight]) -> dict[str, Array]:
    """Return for each weight the unit that each row of its matrix belongs to.

    Rows with the same number, in one weight or in several, live or die together; -1 is a row
    that cannot go.

    Args:
        groups: the channels of the model.
        weights: its weights.
    """
    known = {weight.path: weight for weight in weights}
    lines: dict[str, list[tuple[int, Array]]] = {}
    first = 0
    for group in groups:
        free = np.array([reason is None for reason in group.reasons], bool)
        for member in group.members:
            if member.role == OUTPUT and not _has_rows(member, known.get(member.path)):
                # No plan can let these outputs fall, and so not what is one with them.
                free[member.units[member.units >= 0]] = False
        for member in group.members:
            if member.role == OUTPUT:
                fine = (member.units >= 0) & free[member.units]
                numbered = np.where(fine, member.units + first, -1)
                lines.setdefault(member.path, []).append((member.axis, numbered))
        first += group.count
    found = {}
    for weight in weights:
        rows = _rows(weight, lines.get(weight.path, []))
        if rows is not None and (rows >= 0).any():
            found[weight.path] = rows
    return found


def _has_rows(member: Member, weight: Weight | None) -> bool:
    """Whether the positions of an axis are the outputs of a weight that can be pruned."""
    return weight is not None and _along(weight, member.axis) is not None


def _rows(weight: Weight, lines: list[tuple[int, Array]]) -> Array | None:
    """Bring the units of an axis into the order of a matrix's rows."""
    axes = {axis for axis, _ in lines}
    if len(axes) != 1:
        return None
    along = _along(weight, axes.pop())
    if along is None:
        return None
    merged = lines[0][1]
    for _, numbered in lines[1:]:
        merged = np.maximum(merged, numbered)
    return merged[along]


def _along(weight: Weight, axis: int) -> Array | None:
    """Return the position on an axis of each row of a matrix, if each has one of its own."""
    layout = weight.layout
    strides = _strides(layout.shape)
    sizes = [layout.shape[at] for at in layout.outputs]
    starts = np.zeros(sizes, np.int64)
    for place, at in enumerate(layout.outputs):
        shape = [1] * len(sizes)
        shape[place] = sizes[place]
        starts = starts + (np.arange(sizes[place]) * strides[at]).reshape(shape)
    along: Array = starts.ravel() // _strides(weight.shape)[axis] % weight.shape[axis]
    whole = len(set(along.tolist())) == weight.shape[axis] == layout.output_count
    return along if whole else None


def _strides(shape: Sequence[int]) -> list[int]:
    strides = [1] * len(shape)
    for at in range(len(shape) - 2, -1, -1):
        strides[at] = strides[at + 1] * shape[at + 1]
    return strides


def left_out(groups: Sequence[ChannelGroup], weights: Sequence[Weight]) -> Mapping[str, str]:
    """Return the weights none of whose outputs can go, with the reason."""
    fine = couplings(groups, weights)
    reasons: dict[str, str] = {}
    for group in groups:
        for member in group.members:
            if member.role == OUTPUT and group.reason is not None:
                reasons.setdefault(member.path, group.reason)
    other = "its outputs are not followed"
    return {
        weight.path: reasons.get(weight.path, other)
        for weight in weights
        if weight.path not in fine
    }

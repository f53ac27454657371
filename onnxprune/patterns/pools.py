"""Weights that share units, the units that are alike, and which of these fall."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd, lcm

import numpy as np

from onnxprune.patterns.rounding import Stock
from onnxprune.patterns.tiling import Tiling
from onnxprune.types import Array, Weight


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A weight of a pool.

    Args:
        path: the weight.
        tiling: the parts that fall as wholes.
        units: for each part its unit in the pool.
    """

    path: str
    tiling: Tiling
    units: Array


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """Units that are alike: each has the same number of parts of the same weights.

    Args:
        units: their numbers in the pool, in its order.
        parts: how many parts each has of every member.
    """

    units: Array
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Weights that share units, as convolutions do whose outputs are added up.

    Args:
        members: the weights; a weight that shares none is alone.
        kinds: the units, by what they are made of.
        count: how many there are.
    """

    members: tuple[Member, ...]
    kinds: tuple[Kind, ...]
    count: int

    def kind_of(self) -> Array:
        """Return for each unit the number of its kind."""
        found = np.zeros(self.count, np.int64)
        for number, kind in enumerate(self.kinds):
            found[kind.units] = number
        return found

    def stocks(
        self, caps: Mapping[str, int], gone: Mapping[str, Array], multiple: int, last: bool
    ) -> list[Stock]:
        """Count the units of each kind, and how many may fall.

        Args:
            caps: how many weights of a member may fall.
            gone: what has fallen before, by weight.
            multiple: every member keeps a multiple of so many parts, or all, of a kind.
            last: whether the last unit of a kind may fall.
        """
        before = self._gone(gone)
        found = []
        for kind in self.kinds:
            sizes = [
                parts * member.tiling.size
                for parts, member in zip(kind.parts, self.members, strict=True)
            ]
            limits = [
                _share(caps[member.path] // member.tiling.size, len(kind.units), parts, member)
                for parts, member in zip(kind.parts, self.members, strict=True)
                if parts
            ]
            steps = [multiple // gcd(multiple, parts) for parts in kind.parts if parts]
            found.append(
                Stock(
                    count=len(kind.units),
                    size=sum(sizes),
                    limit=min(*limits, len(kind.units) - (not last)),
                    fallen=int(before[kind.units].sum()),
                    multiple=lcm(*steps),
                )
            )
        return found

    def divided(self, budgets: Mapping[str, int], worth: Callable[[], Array]) -> list[int]:
        """Divide what members would lose among the kinds of units.

        Args:
            budgets: how many weights would fall, by member.
            worth: tells it of each unit; the lowest fall first.
        """
        if len(self.kinds) == 1:
            return [sum(budgets[member.path] for member in self.members)]
        kinds, found = self.kind_of(), np.zeros(len(self.kinds), np.int64)
        of_units = worth()
        for member in self.members:
            size = member.tiling.size
            order = member.units[np.argsort(of_units[member.units], kind="stable")]
            whole, rest = divmod(budgets[member.path], size)
            found += size * np.bincount(kinds[order[:whole]], minlength=len(found))
            if rest:
                found[kinds[order[whole]]] += rest
        return [int(number) for number in found]

    def lost(self, fallen: Sequence[int]) -> dict[str, int]:
        """Return how many weights members lose if so many units of each kind fall."""
        return {
            member.path: member.tiling.size
            * sum(
                number * kind.parts[at]
                for number, kind in zip(fallen, self.kinds, strict=True)
            )
            for at, member in enumerate(self.members)
        }

    def order(self, worth: Array, fallen: Sequence[int]) -> Array:
        """Return the place of each unit, so that those that fall come first.

        Of units that are worth the same the first come first.
        """
        stays = np.ones(self.count, bool)
        for number, kind in zip(fallen, self.kinds, strict=True):
            lowest = np.argsort(worth[kind.units], kind="stable")[:number]
            stays[kind.units[lowest]] = False
        places = np.empty(self.count)
        places[np.lexsort((worth, stays))] = np.arange(self.count)
        return places

    def _gone(self, gone: Mapping[str, Array]) -> Array:
        before = np.zeros(self.count, bool)
        for member in self.members:
            if member.path in gone:
                parts = member.tiling.table(gone[member.path]).all(axis=1)
                before[member.units[parts]] = True
        return before


def _share(parts: int, count: int, each: int, member: Member) -> int:
    """Return how many of `count` units may fall of a member that may lose so many parts."""
    return (
        parts * count // len(member.units)
        if count * each < len(member.units)
        else parts // each
    )


def pools_of(weights: Sequence[Weight], tilings: Mapping[str, Tiling]) -> list[Pool]:
    """Gather weights that share units, in their order.

    Args:
        weights: the weights; their parts are the units where they name none.
        tilings: the parts of each, by path.
    """
    owners: dict[int, int] = {}
    parents = list(range(len(weights)))
    for number, weight in enumerate(weights):
        for unit in dict.fromkeys(weight.units):
            first, own = (
                root_of(parents, owners.setdefault(unit, number)),
                root_of(parents, number),
            )
            parents[max(first, own)] = min(first, own)
    gathered: dict[int, list[Weight]] = {}
    for number, weight in enumerate(weights):
        gathered.setdefault(root_of(parents, number), []).append(weight)
    return [_pool(each, tilings) for each in gathered.values()]


def root_of(parents: list[int], number: int) -> int:
    """Return the number that stands for all that were joined with one."""
    while parents[number] != number:
        number = parents[number]
    return number


def _pool(weights: Sequence[Weight], tilings: Mapping[str, Tiling]) -> Pool:
    first = weights[0]
    tiling = tilings[first.path]
    if len(weights) == 1 and len(set(first.units)) == len(first.units):
        every = np.arange(tiling.count)
        return Pool((Member(first.path, tiling, every),), (Kind(every, (1,)),), tiling.count)
    _, at, numbers = np.unique(
        np.concatenate([each.units for each in weights]),
        return_index=True,
        return_inverse=True,
    )
    # Units are counted as they are met first.
    numbers = np.argsort(np.argsort(at))[numbers]
    ends = np.cumsum([len(each.units) for each in weights])[:-1]
    members = tuple(
        Member(each.path, tilings[each.path], own)
        for each, own in zip(weights, np.split(numbers, ends), strict=True)
    )
    table = np.stack([np.bincount(each.units, minlength=len(at)) for each in members], axis=1)
    rows, kinds = np.unique(table, axis=0, return_inverse=True)
    found = [
        Kind(np.flatnonzero(kinds.ravel() == number), tuple(int(each) for each in row))
        for number, row in enumerate(rows)
    ]
    return Pool(members, tuple(sorted(found, key=lambda kind: int(kind.units[0]))), len(at))

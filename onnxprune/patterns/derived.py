"""Rankings made of other rankings: places within groups, the worth of units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxprune.patterns.tiling import Tiling
from onnxprune.selection import GONE, Ranking
from onnxprune.types import Array

COUNTED = 16
"""Up to so many scores are compared each with each instead of sorted."""


def derived(ranking: Ranking, make: Callable[[], Array]) -> Ranking:
    """Return a ranking by other scores, which are made of a whole tensor.

    They are there for as long as one pass over them takes: many tensors' would fill the memory.

    Args:
        ranking: the tensor's own.
        make: makes all scores.
    """
    whole: Array | None = None

    def read(start: int, stop: int) -> Array:
        nonlocal whole
        held = make() if whole is None or start == 0 else whole
        whole = None if stop == ranking.size else held
        return held[start:stop]

    return Ranking(ranking.name, ranking.shape, read)


def lift_kept(ranking: Ranking, tiling: Tiling, kept: int) -> Ranking:
    """Rank the best of each unit above all others, which keep their scores.

    Of equal scores the first fall. So a cut that takes no more than the others takes at most
    these of any unit, and one that takes all of them the same of each.

    Args:
        ranking: the scores.
        tiling: the units.
        kept: how many of each are lifted.
    """

    def make() -> Array:
        table = tiling.table(_scores(ranking))
        top = float(table.max())
        best = _places(table) >= tiling.size - kept
        return tiling.flat(np.where(best, 2 * top if top > 0 else 1.0, table))

    return derived(ranking, make)


@dataclass(slots=True, eq=False)
class Worth:
    """What the units of some tensors are worth: the mean of all their scores.

    Args:
        members: the scores and units of each tensor; units of the same number are one.
        squared: whether it is the root of the mean square instead.
    """

    members: Sequence[tuple[Ranking, Tiling]]
    squared: bool = False
    _known: Array | None = field(default=None, init=False)

    def of_units(self) -> Array:
        """Return what each unit is worth."""
        if self._known is None:
            self._known = self._mean()
        return self._known

    def of_weights(self, number: int) -> Ranking:
        """Rank the weights of a member by what their units are worth."""
        return self._spread(number, self.of_units)

    def order(self, number: int) -> Ranking:
        """Rank the weights of a member by the place of their unit among all, the first being 0.

        Of units that are worth the same the first come first.
        """
        return self._spread(number, self._places)

    def _spread(self, number: int, values: Callable[[], Array]) -> Ranking:
        ranking, tiling = self.members[number]

        def make() -> Array:
            of_units = values()[:, None]
            return tiling.flat(np.broadcast_to(of_units, (tiling.count, tiling.size)))

        return derived(ranking, make)

    def _places(self) -> Array:
        worth = self.of_units()
        places = np.empty(worth.size)
        places[np.argsort(worth, kind="stable")] = np.arange(worth.size)
        return places

    def _mean(self) -> Array:
        total: Array = np.zeros(self.members[0][1].count)
        gone = np.zeros(total.size, bool)
        for ranking, tiling in self.members:
            table = tiling.table(_scores(ranking))
            fallen = table == GONE
            gone |= fallen.any(axis=1)
            table[fallen] = 0.0
            total += np.sum(np.square(table) if self.squared else table, axis=1)
        total /= sum(tiling.size for _, tiling in self.members)
        worth = np.sqrt(total) if self.squared else total
        return np.where(gone, GONE, worth)


def _places(table: Array) -> Array:
    """Return each score's place in its row, the lowest being 0, the first of equals first."""
    width = table.shape[1]
    if width > COUNTED:
        return np.argsort(np.argsort(table, axis=1, kind="stable"), axis=1)
    # A column at a time is far faster than many small sorts.
    columns = [np.ascontiguousarray(table[:, at]) for at in range(width)]
    places = np.zeros((width, len(table)), np.uint8)
    for later in range(width):
        for earlier in range(later):
            above = columns[earlier] <= columns[later]
            places[later] += above
            places[earlier] += ~above
    return places.T


def _scores(ranking: Ranking) -> Array:
    """Return all scores of a tensor, in double precision."""
    whole = np.empty(ranking.size)
    at = 0
    for chunk in ranking.chunks():
        whole[at : at + chunk.size] = chunk
        at += chunk.size
    if not np.isfinite(whole).all():
        ranking.bins()  # names the first one that is no number
    return whole

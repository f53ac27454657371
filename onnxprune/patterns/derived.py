"""Rankings made of other rankings: places within groups, the worth of units."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxprune.patterns.pools import Member, Pool
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
    """What the units of a pool are worth: the mean of all their scores.

    Args:
        pool: the units.
        scores: of each member's weights, by path.
        squared: whether it is the root of the mean square instead.
    """

    pool: Pool
    scores: Mapping[str, Ranking]
    squared: bool = False
    _known: Array | None = field(default=None, init=False)

    def of_units(self) -> Array:
        """Return what each unit is worth."""
        if self._known is None:
            self._known = self._mean()
        return self._known

    def of_weights(self, member: Member) -> Ranking:
        """Rank the weights of a member by what their units are worth."""
        return self._spread(member, self.of_units)

    def order(self, member: Member, fallen: Sequence[int]) -> Ranking:
        """Rank the weights of a member by the place of their unit among all, the first being 0.

        Args:
            member: the weight.
            fallen: how many units of each kind fall; they come first.
        """
        return self._spread(member, lambda: self.pool.order(self.of_units(), fallen))

    def _spread(self, member: Member, values: Callable[[], Array]) -> Ranking:
        def make() -> Array:
            of_parts = values()[member.units][:, None]
            shape = member.tiling.count, member.tiling.size
            return member.tiling.flat(np.broadcast_to(of_parts, shape))

        return derived(self.scores[member.path], make)

    def _mean(self) -> Array:
        total: Array = np.zeros(self.pool.count)
        sizes = np.zeros(self.pool.count)
        gone = np.zeros(self.pool.count, bool)
        for member in self.pool.members:
            table = member.tiling.table(_scores(self.scores[member.path]))
            fallen = table == GONE
            np.logical_or.at(gone, member.units, fallen.any(axis=1))
            table[fallen] = 0.0
            sums = np.sum(np.square(table) if self.squared else table, axis=1)
            total += np.bincount(member.units, sums, self.pool.count)
            parts = np.bincount(member.units, minlength=self.pool.count)
            sizes += member.tiling.size * parts
        total /= sizes
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

"""Weights chosen and fitted so that a layer's outputs change least, given its inputs.

A layer multiplies a matrix W, one row for each output, with its inputs X, one column for each
position. All that matters of X is the Gram matrix H = X·Xᵀ. Rows that see other inputs (groups
of a convolution, directions of a recurrent layer) have a Gram matrix of their own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from onnxprune.types import Array

BLOCK = 128
"""Columns that are gone through together."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What some rows of a weight's matrix are multiplied with.

    Args:
        rows: which rows.
        gram: H, in double precision.
        cross: the inputs' products with those of the dense model; H where they are the same.
        count: the positions that were summed over.
        total: the sum of the inputs; `dense_total`: of those of the dense model.
    """

    rows: Array
    gram: Array
    cross: Array
    count: int
    total: Array
    dense_total: Array


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """All that is known of a weight's inputs; rows in no part are multiplied with nothing."""

    parts: tuple[Part, ...]


def prune_blocks(
    matrix: Array, gram: Gram, zeros: int, block: int = BLOCK, damp: float = 0.01
) -> tuple[Array, Array]:
    """Choose what falls as SparseGPT does; return what is kept, and what each choice cost.

    The columns of each part are gone through in blocks. In a block the cheapest weights of all
    rows fall, the same share in each block, and what is to the right makes up for them.

    Args:
        matrix: the weights.
        gram: their inputs.
        zeros: how many weights fall in all.
        block: columns at once.
        damp: is added to the diagonal of H, times its mean.
    """
    areas = list(_areas(matrix, gram, block))
    counts = _divide(zeros, [rows.size * columns.size for rows, _, columns in areas])

    def choose(number: int, cost: Array) -> Array:
        return _lowest_fall(cost, counts[number])

    return _prune(matrix, areas, choose, damp)


def prune_groups(
    matrix: Array, gram: Gram, n: int, m: int, damp: float = 0.01
) -> tuple[Array, Array]:
    """Choose what falls as SparseGPT does where n of m neighbouring columns are kept.

    In each row the cheapest of a group fall, once all that is to the left has fallen.

    Args:
        matrix: the weights; m divides its columns.
        gram: their inputs.
        n: how many of each group are kept.
        m: columns in a group.
        damp: is added to the diagonal of H, times its mean.
    """

    def choose(_: int, cost: Array) -> Array:
        kept = np.ones(cost.shape, bool)
        order = np.argsort(cost, axis=1, kind="stable")
        np.put_along_axis(kept, order[:, : m - n], False, axis=1)
        return kept

    return _prune(matrix, list(_areas(matrix, gram, m)), choose, damp)


def reconstruct(matrix: Array, kept: Array, gram: Gram, damp: float = 0.01) -> Array:
    """Let what is kept make up for what falls, column by column from left to right (SparseGPT).

    Args:
        matrix: the dense weights.
        kept: which of them stay.
        gram: their inputs.
        damp: is added to the diagonal of H, times its mean.
    """
    work = matrix.astype(np.float64)
    for part in gram.parts:
        dead = np.flatnonzero(np.diag(part.gram) == 0)
        work[np.ix_(part.rows, dead)] = 0.0
        factor = _factor(part.gram, damp)
        for start in range(0, matrix.shape[1], BLOCK):
            columns = np.arange(start, min(start + BLOCK, matrix.shape[1]))
            _sweep(work, kept, part.rows, columns, factor)
    return np.where(kept, work, 0.0)


def refit(
    matrix: Array, kept: Array, gram: Gram, damp: float = 0.01, centred: bool = False
) -> Array:
    """Return the kept weights by which each row comes closest to what the dense one gives.

    Each row solves (H + d·I)·w = C·dense + d·dense on what is kept of it, where C is H, or the
    inputs' products with those that the dense model has.

    Args:
        matrix: the dense weights.
        kept: which of them stay.
        gram: their inputs.
        damp: d, over the mean of H's diagonal.
        centred: leave the means of the outputs out, because a bias will take care of them.
    """
    fitted = np.where(kept, matrix, 0.0).astype(np.float64)
    for part in gram.parts:
        square, cross = part.gram, part.cross
        if centred and part.count:
            square = square - np.outer(part.total, part.total) / part.count
            cross = cross - np.outer(part.total, part.dense_total) / part.count
        added = damp * float(np.diag(square).mean())
        if not added > 0:
            continue  # without inputs every weight is as good as any other
        dense = matrix[part.rows].astype(np.float64)
        wanted = dense @ cross.T + added * dense
        for row, target in zip(part.rows, wanted, strict=True):
            support = np.flatnonzero(kept[row])
            if support.size:
                inner = square[np.ix_(support, support)].copy()
                inner[np.diag_indices(support.size)] += added
                fitted[row, support] = solve(inner, target[support])
    return fitted


def solve(square: Array, target: Array) -> Array:
    """Solve for a positive definite matrix; where rounding left it singular, by least squares."""
    try:
        found: Array = np.linalg.solve(square, target)
    except np.linalg.LinAlgError:
        found = np.linalg.lstsq(square, target, rcond=None)[0]
    return found


def _areas(
    matrix: Array, gram: Gram, block: int
) -> Iterator[tuple[Array, Part | None, Array]]:
    """Cut a matrix into blocks of columns, for each part of its rows."""
    rows: list[tuple[Array, Part | None]] = [(part.rows, part) for part in gram.parts]
    known = [part.rows for part in gram.parts]
    rest = np.setdiff1d(np.arange(matrix.shape[0]), np.concatenate([*known, []]))
    if rest.size:
        rows.append((rest, None))
    for some, part in rows:
        for start in range(0, matrix.shape[1], block):
            yield some, part, np.arange(start, min(start + block, matrix.shape[1]))


def _prune(
    matrix: Array,
    areas: Sequence[tuple[Array, Part | None, Array]],
    choose: Callable[[int, Array], Array],
    damp: float,
) -> tuple[Array, Array]:
    """Go through a matrix area by area; what is kept of one is chosen by what each costs."""
    kept = np.ones(matrix.shape, bool)
    cost = np.zeros(matrix.shape)
    work = matrix.astype(np.float64)
    factors: dict[int, Array] = {}
    for number, (rows, part, columns) in enumerate(areas):
        area = np.ix_(rows, columns)
        if part is None:
            # Nothing is known of what these are multiplied with: nothing makes up for them.
            cost[area] = 0.0
            kept[area] = choose(number, cost[area])
            continue
        if id(part) not in factors:
            factors[id(part)] = _factor(part.gram, damp)
            dead = np.flatnonzero(np.diag(part.gram) == 0)
            work[np.ix_(rows, dead)] = 0.0
        factor = factors[id(part)]
        cost[area] = work[area] ** 2 / np.diag(factor)[columns] ** 2
        kept[area] = choose(number, cost[area])
        _sweep(work, kept, rows, columns, factor)
    return kept, cost


def _divide(total: int, sizes: Sequence[int]) -> list[int]:
    """Divide zeros in proportion to sizes; the largest remainders are rounded up."""
    whole = sum(sizes)
    counts = [total * size // whole for size in sizes]
    order = sorted(range(len(sizes)), key=lambda i: (-(total * sizes[i] % whole), i))
    for index in order[: total - sum(counts)]:
        counts[index] += 1
    return counts


def _lowest_fall(cost: Array, count: int) -> Array:
    """Return what is kept if so many of the lowest costs fall, the first ones among equals."""
    kept = np.ones(cost.size, bool)
    kept[np.argsort(cost, axis=None, kind="stable")[:count]] = False
    return kept.reshape(cost.shape)


def _factor(gram: Array, damp: float) -> Array:
    """Return U, upper triangular, where UᵀU is the inverse of the damped Gram matrix."""
    damped = gram.copy()
    diagonal = np.diag_indices(len(damped))
    dead = damped[diagonal] == 0
    damped[diagonal] += dead
    damped[diagonal] += damp * damped[diagonal].mean()
    return np.linalg.cholesky(np.linalg.inv(damped)).T


def _sweep(work: Array, kept: Array, rows: Array, columns: Array, factor: Array) -> None:
    """Take what falls out of neighbouring columns one by one; what is to the right makes up."""
    end = int(columns[-1]) + 1
    block = work[rows, columns[0] : end]
    losses = np.zeros_like(block)
    for place, column in enumerate(columns):
        gone = ~kept[rows, column]
        losses[gone, place] = block[gone, place] / factor[column, column]
        block[:, place:] -= np.outer(losses[:, place], factor[column, column:end])
        block[gone, place] = 0.0
    work[rows, columns[0] : end] = block
    work[rows, end:] -= losses @ factor[columns, end:]

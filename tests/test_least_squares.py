"""SparseGPT and refitting equal slow loops over the inputs themselves, in double precision."""

import numpy as np
import pytest

from onnxprune.least_squares import (
    Gram,
    Part,
    prune_blocks,
    prune_groups,
    reconstruct,
    refit,
)
from onnxprune.types import Array


def draw(rows: int, columns: int, positions: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((columns, columns))
    return rng.standard_normal((rows, columns)), mixing @ rng.standard_normal(
        (columns, positions)
    )


def gram_of(rows: Array, inputs: Array, dense: Array | None = None) -> Part:
    other = inputs if dense is None else dense
    return Part(
        rows,
        inputs @ inputs.T,
        inputs @ other.T,
        inputs.shape[1],
        inputs.sum(1),
        other.sum(1),
    )


def shares_of(zeros: int, rows: int, columns: int, block: int) -> list[int]:
    """Divide zeros among blocks of columns, with the largest remainders rounded up."""
    widths = [min(block, columns - start) for start in range(0, columns, block)]
    quotas = [zeros * width * rows / (rows * columns) for width in widths]
    counts = [int(quota) for quota in quotas]
    order = sorted(range(len(quotas)), key=lambda i: (counts[i] - quotas[i], i))
    for index in order[: zeros - sum(counts)]:
        counts[index] += 1
    return counts


def reference_sparsegpt(
    weight: Array, inputs: Array, zeros: int, block: int, damp: float = 0.01
) -> tuple[Array, Array]:
    """Follow the paper's listing, with the inverse found anew for every column."""
    weight = weight.copy()
    rows, columns = weight.shape
    square = inputs @ inputs.T * 2 / inputs.shape[1]
    for column in range(columns):
        if square[column, column] == 0:
            square[column, column] = 1
            weight[:, column] = 0
    square += damp * np.mean(np.diag(square)) * np.eye(columns)
    kept = np.ones(weight.shape, bool)
    counts = shares_of(zeros, rows, columns, block)
    for number, start in enumerate(range(0, columns, block)):
        stop = min(start + block, columns)
        costs = []
        for column in range(start, stop):
            # What is left of the inverse once the columns to the left are fixed.
            inverse = np.linalg.inv(square[column:, column:])
            costs.append([weight[row, column] ** 2 / inverse[0, 0] for row in range(rows)])
        order = sorted(
            (costs[column][row], row, column)
            for row in range(rows)
            for column in range(stop - start)
        )
        for _, row, column in order[: counts[number]]:
            kept[row, start + column] = False
        for column in range(start, stop):
            inverse = np.linalg.inv(square[column:, column:])
            for row in range(rows):
                if not kept[row, column]:
                    weight[row, column:] -= weight[row, column] * inverse[0] / inverse[0, 0]
                    weight[row, column] = 0
    return weight, kept


@pytest.mark.parametrize(("block", "zeros"), [(16, 240), (7, 501), (48, 700), (128, 0)])
def test_sparsegpt_is_what_the_paper_lists(block: int, zeros: int) -> None:
    weight, inputs = draw(20, 48, 300)
    gram = Gram((gram_of(np.arange(20), inputs),))
    kept, _ = prune_blocks(weight, gram, zeros, block)
    expected, mask = reference_sparsegpt(weight, inputs, zeros, block)
    assert (kept == mask).all()
    assert (~kept).sum() == zeros
    found = reconstruct(weight, kept, gram)
    assert np.allclose(found, expected, rtol=1e-8, atol=1e-10)
    assert (found[~kept] == 0).all()


def test_inputs_that_are_always_zero_cost_nothing_to_lose() -> None:
    weight, inputs = draw(6, 12, 50)
    inputs[[3, 7]] = 0.0
    gram = Gram((gram_of(np.arange(6), inputs),))
    kept, _ = prune_blocks(weight, gram, 12, block=12)
    assert not kept[:, [3, 7]].any()
    expected, mask = reference_sparsegpt(weight, inputs, 12, 12)
    assert (kept == mask).all()
    assert np.allclose(reconstruct(weight, kept, gram), expected, atol=1e-10)


def test_rows_with_inputs_of_their_own_are_pruned_by_these() -> None:
    """As in a convolution with groups: each part is SparseGPT by itself."""
    weight, first = draw(8, 10, 60)
    second = draw(8, 10, 60, seed=1)[1]
    rows = (np.array([0, 2, 4, 6]), np.array([1, 3, 5, 7]))
    gram = Gram((gram_of(rows[0], first), gram_of(rows[1], second)))
    kept, _ = prune_blocks(weight, gram, 40, block=10)
    for some, inputs in zip(rows, (first, second), strict=True):
        expected, mask = reference_sparsegpt(weight[some], inputs, 20, 10)
        assert (kept[some] == mask).all()
        assert np.allclose(reconstruct(weight, kept, gram)[some], expected, atol=1e-10)


def test_what_is_multiplied_with_nothing_known_still_has_its_share_of_zeros() -> None:
    weight, inputs = draw(6, 10, 60)
    gram = Gram((gram_of(np.array([0, 1, 2]), inputs),))
    kept, _ = prune_blocks(weight, gram, 30, block=10)
    assert (~kept).sum() == 30
    assert (~kept[3:]).sum() == 15


@pytest.mark.parametrize("own", [True, False], ids=["same inputs", "beside the dense model"])
@pytest.mark.parametrize("centred", [False, True])
def test_refitting_solves_each_row_by_least_squares(own: bool, centred: bool) -> None:
    weight, dense = draw(9, 14, 200)
    inputs = dense if own else dense + np.random.default_rng(5).standard_normal(dense.shape)
    kept = np.random.default_rng(3).random(weight.shape) < 0.5
    kept[4] = False
    gram = Gram((gram_of(np.arange(9), inputs, dense),))
    found = refit(weight, kept, gram, damp=0.01, centred=centred)
    here, there = inputs, dense
    if centred:
        here = inputs - inputs.mean(1, keepdims=True)
        there = dense - dense.mean(1, keepdims=True)
    added = 0.01 * np.mean(np.diag(here @ here.T))
    for row in range(9):
        support = np.flatnonzero(kept[row])
        # The damping is as many more equations that ask for the dense weights.
        system = np.vstack([here[support].T, np.sqrt(added) * np.eye(support.size)])
        target = np.concatenate([weight[row] @ there, np.sqrt(added) * weight[row, support]])
        expected = np.linalg.lstsq(system, target, rcond=None)[0]
        assert np.allclose(found[row, support], expected, rtol=1e-7, atol=1e-9)
    assert (found[~kept] == 0).all()


def test_refitting_everything_that_is_kept_gives_the_dense_weights_back() -> None:
    weight, inputs = draw(5, 8, 40)
    gram = Gram((gram_of(np.arange(5), inputs),))
    assert np.allclose(refit(weight, np.ones(weight.shape, bool), gram), weight)


def test_fewer_positions_than_inputs_and_no_inputs_at_all_are_no_hindrance() -> None:
    weight, inputs = draw(5, 8, 3)
    kept = np.random.default_rng(1).random(weight.shape) < 0.5
    few = refit(weight, kept, Gram((gram_of(np.arange(5), inputs),)), damp=0.0)
    assert np.isfinite(few).all()
    none = refit(weight, kept, Gram((gram_of(np.arange(5), inputs * 0),)))
    assert (none == weight * kept).all()


def test_refitting_and_sparsegpt_come_closer_than_masks_alone() -> None:
    """The order of the table in the literature: refitted below SparseGPT below magnitude."""
    weight, inputs = draw(20, 48, 2000, seed=2)
    gram = Gram((gram_of(np.arange(20), inputs),))

    def error(other: Array) -> float:
        return float(
            np.linalg.norm((weight - other) @ inputs) / np.linalg.norm(weight @ inputs)
        )

    kept = np.abs(weight) > np.quantile(np.abs(weight), 0.5)
    own, _ = prune_blocks(weight, gram, weight.size // 2, block=16)
    errors = [
        error(refit(weight, own, gram)),
        error(reconstruct(weight, own, gram)),
        error(weight * kept),
    ]
    assert errors == sorted(errors)


def reference_groups(
    weight: Array, inputs: Array, n: int, m: int, damp: float = 0.01
) -> tuple[Array, Array]:
    """Choose within groups by direct inverses, row by row, in double precision.

    Each row is on its own: what is free to make up for a loss are the columns to the right.
    """
    weight = weight.astype(np.float64)
    square = inputs @ inputs.T * 2 / inputs.shape[1]
    dead = np.diag(square) == 0
    square[dead, dead] = 1
    weight[:, dead] = 0
    square += damp * np.mean(np.diag(square)) * np.eye(len(square))
    kept = np.ones(weight.shape, bool)
    for row in range(len(weight)):
        for start in range(0, weight.shape[1], m):
            costs = []
            for column in range(start, start + m):
                inverse = np.linalg.inv(square[column:, column:])
                costs.append((weight[row, column] ** 2 / inverse[0, 0], column))
            for _, column in sorted(costs)[: m - n]:
                kept[row, column] = False
            for column in range(start, start + m):
                if not kept[row, column]:
                    inverse = np.linalg.inv(square[column:, column:])
                    loss = weight[row, column] / inverse[0, 0]
                    weight[row, column:] -= loss * inverse[0]
                    weight[row, column] = 0
    return weight, kept


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 2), (1, 4), (3, 8)])
def test_sparsegpt_chooses_within_groups_as_it_goes(n: int, m: int) -> None:
    weight, inputs = draw(7, 24, 90, seed=n * m)
    expected, kept = reference_groups(weight, inputs, n, m)
    gram = Gram((gram_of(np.arange(7), inputs),))
    found, _ = prune_groups(weight, gram, n, m)
    np.testing.assert_array_equal(found, kept)
    assert (found.reshape(-1, m).sum(1) == n).all()
    np.testing.assert_allclose(reconstruct(weight, found, gram), expected, atol=1e-9)
    # What went before counts: choosing by the dense weights alone gives another mask.
    alone = prune_groups(weight, Gram(()), n, m)[0]
    assert (alone != found).any()


def test_groups_of_rows_with_inputs_of_their_own_are_chosen_by_these() -> None:
    weight, inputs = draw(8, 12, 60, seed=3)
    others = draw(8, 12, 60, seed=4)[1]
    halves = np.arange(4), np.arange(4, 8)
    gram = Gram((gram_of(halves[0], inputs), gram_of(halves[1], others)))
    found, _ = prune_groups(weight, gram, 2, 4)
    for rows, own in zip(halves, (inputs, others), strict=True):
        expected = reference_groups(weight[rows], own, 2, 4)[1]
        np.testing.assert_array_equal(found[rows], expected)

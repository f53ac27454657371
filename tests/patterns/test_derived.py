"""Rankings made of whole tensors: the same whether they are kept or made again."""

import numpy as np
import pytest

from onnxprune.errors import InputError
from onnxprune.patterns import derived
from onnxprune.patterns.derived import Worth, lift_kept
from onnxprune.patterns.pattern import Blocks, Filters, Groups
from onnxprune.patterns.pools import pools_of
from onnxprune.patterns.tiling import Tiling, tile
from onnxprune.selection import GONE, Ranking, Sieve
from onnxprune.types import Array, Layout
from tests.tensors_made import normal, weight

FLAT = Layout((2, 8), (0,), (), (1,))


def ranking(scores: Array) -> Ranking:
    flat = scores.reshape(-1)
    return Ranking("w", scores.shape, lambda start, stop: flat[start:stop])


def worth_of(scores: Array, tiling: Tiling, squared: bool = False) -> Worth:
    """Say what the units of one tensor are worth."""
    own = weight("w", tiling.layout.shape)
    (pool,) = pools_of([own], {"w": tiling})
    return Worth(pool, {"w": ranking(scores)}, squared)


def test_a_table_holds_units_and_goes_back() -> None:
    # Inputs first, as in a MatMul; a kernel between.
    layout = Layout((4, 6, 3), (1,), (2,), (0,))
    values = np.arange(72)
    for pattern, size in ((Groups(1, 2), 2), (Blocks(3, 2), 6), (Filters(), 12)):
        tiling = tile(pattern, layout)
        table = tiling.table(values)
        assert table.shape == (tiling.count, tiling.size) == (72 // size, size)
        np.testing.assert_array_equal(tiling.flat(table), values)
    # Two input channels, at the same output and place: 18 elements lie between.
    np.testing.assert_array_equal(tile(Groups(1, 2), layout).table(values)[0], [0, 18])
    np.testing.assert_array_equal(
        np.sort(tile(Filters(), layout).table(values)[1]),
        np.sort(values.reshape(4, 6, 3)[:, 1].reshape(-1)),
    )


def test_the_best_of_each_group_are_above_all_others() -> None:
    scores = np.array([[5, 1, 1, 3, 9, 9, 9, 9], [0, 0, 0, 0, -4, -1, -2, -3]], float)
    lifted = lift_kept(ranking(scores), tile(Groups(2, 4), FLAT), 2).read(0, 16)
    expected = [18, 1, 1, 18, 9, 9, 18, 18, 0, 0, 18, 18, -4, 18, 18, -3]
    np.testing.assert_array_equal(lifted, expected)
    low = lift_kept(ranking(-np.abs(scores)), tile(Groups(2, 4), FLAT), 2).read(0, 16)
    assert sorted(low)[-8:] == [1.0] * 8


@pytest.mark.parametrize("width", [2, 4, 16, 17, 32])
def test_places_are_those_of_a_stable_sort(width: int) -> None:
    table = np.random.default_rng(width).integers(0, 5, (200, width)).astype(float)
    for row, places in zip(table, derived._places(table), strict=True):
        order = sorted(range(width), key=lambda at, row=row: (row[at], at))
        assert [order.index(at) for at in range(width)] == places.tolist()


def test_units_are_worth_their_mean_and_the_fallen_nothing() -> None:
    scores = np.arange(16.0).reshape(2, 8)
    scores[0, :4] = GONE
    worth = worth_of(scores, tile(Blocks(1, 4), FLAT))
    np.testing.assert_array_equal(worth.of_units(), [GONE, 5.5, 9.5, 13.5])
    rooted = worth_of(scores, tile(Blocks(2, 4), FLAT), squared=True).of_units()
    assert rooted[0] == GONE
    squares = np.array([4, 5, 6, 7, 12, 13, 14, 15.0]) ** 2
    assert rooted[1] == pytest.approx(np.sqrt(squares.mean()))


def test_units_that_are_worth_the_same_fall_whole_the_first_first() -> None:
    worth = worth_of(np.ones((2, 8)), tile(Blocks(2, 2), FLAT))
    order = worth.order(worth.pool.members[0], [2])
    gone = Sieve(order.cut(8)).pruned(order.read(0, 16)).reshape(2, 8)
    assert gone[:, :4].all()
    assert not gone[:, 4:].any()


@pytest.mark.parametrize("piece", [7, 64, 1000])
def test_pieces_are_the_same_however_they_are_read(piece: int) -> None:
    layout = Layout((16, 8, 3, 3), (0,), (2, 3), (1,))
    scores = np.abs(normal("kept", 16, 8, 3, 3))
    worth = worth_of(scores, tile(Filters(), layout))
    (own,) = worth.pool.members
    lifted = lift_kept(ranking(scores), tile(Groups(2, 4), layout), 2)
    for made in (lifted, worth.of_weights(own), worth.order(own, [5])):
        whole = made.read(0, made.size)
        starts = range(0, made.size, piece)
        for order in (starts, reversed(starts), starts):
            for at in order:
                stop = min(at + piece, made.size)
                np.testing.assert_array_equal(made.read(at, stop), whole[at:stop])


def test_scores_are_there_for_one_pass_only() -> None:
    made = []

    def make() -> Array:
        made.append(True)
        return np.arange(16.0)

    own = derived.derived(ranking(np.zeros((2, 8))), make)
    for passes in (1, 2):
        for at in range(0, 16, 4):
            own.read(at, at + 4)
        assert len(made) == passes


def test_what_is_no_number_is_named() -> None:
    scores = np.ones((2, 8))
    scores[1, 3] = np.nan
    for make in (
        lambda: lift_kept(ranking(scores), tile(Groups(2, 4), FLAT), 2).read(0, 16),
        lambda: worth_of(scores, tile(Filters(), FLAT)).of_units(),
    ):
        with pytest.raises(InputError, match=r"'w': NaN at \[1,3\]"):
            make()

"""Samples in a pool: all of them in order, some held out, in batches as the model takes them."""

import numpy as np
import pytest
import torch

from onnxprune.errors import InputError
from onnxprune.outcomes import Port
from onnxprune.recover import pool as pools
from tests.recover.made import free_port, opened, parts_of, pool_of
from tests.statistics.nets import Array, drawn, samples_of

X = drawn(1, 10, 3)
LABELS = np.arange(10) * 7 % 4


def sequences(*lengths: int, count: int = 1) -> tuple[list[dict[str, Array]], Port]:
    """Return samples of several lengths, and an input that takes any."""
    parts = [{"x": drawn(length, count, length)} for length in lengths]
    return parts, Port("x", "float64", (None, None))


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_all_samples_are_in_the_pool_in_their_order(batch: int) -> None:
    pool = pool_of(samples_of(X, LABELS), batch)
    assert np.array_equal(pool.rows["x"], X)
    assert pool.labels is not None
    assert np.array_equal(pool.labels, LABELS)
    assert (pool.batches, pool.constants, pool.source) == ([], {}, "arrays")


def test_any_samples_are_fed_in_any_order_with_their_labels() -> None:
    pool = pool_of(samples_of(X, LABELS))
    numbers = [7, 2, 9, 0, 2]
    fed = list(pool.fed(numbers, 2))
    assert [each.count for each in fed] == [2, 2, 1]
    assert [each.rows for each in fed] == [2, 2, 1]
    assert np.array_equal(torch.cat([each.feeds["x"] for each in fed]), X[numbers])
    answers = [each.answers for each in fed]
    assert [each.tolist() for each in answers if each is not None] == [
        LABELS[numbers[start : start + 2]].tolist() for start in (0, 2, 4)
    ]


def test_samples_without_labels_have_no_answers() -> None:
    pool = pool_of(samples_of(X))
    assert pool.labels is None
    assert next(pool.fed([1], 1)).answers is None


def test_what_has_no_dimension_of_samples_goes_with_every_batch() -> None:
    scale = np.array(0.5)
    samples = opened({"x": X, "scale": scale}, free_port(X), Port("scale", "float64", ()))
    pool = pool_of(samples)
    assert list(pool.rows) == ["x"]
    fed = list(pool.fed([3, 1, 4], 2))
    assert [float(each.feeds["scale"]) for each in fed] == [0.5, 0.5]
    assert np.array_equal(fed[1].feeds["x"], X[[4]])


def test_several_inputs_are_fed_rows_of_the_same_samples() -> None:
    other = np.arange(10, dtype=np.float32)[:, None]
    samples = opened({"x": X, "z": other}, free_port(X), free_port(other, "z"))
    (fed,) = pool_of(samples).fed([5, 3], 8)
    assert np.array_equal(fed.feeds["x"], X[[5, 3]])
    assert fed.feeds["z"].flatten().tolist() == [5.0, 3.0]
    assert fed.feeds["z"].dtype == torch.float32


@pytest.mark.parametrize(
    ("share", "count", "held"),
    [
        (0.1, 30, [9, 19, 29]),
        (0.25, 10, [3, 7]),
        (0.5, 5, [1, 3]),
        (0.2, 11, [4, 9]),
        (0.1, 7, [6]),
        (0.1, 2, [1]),
        (0.0, 4, [3]),
    ],
)
def test_every_so_manieth_sample_is_held_out_and_one_at_least(
    share: float, count: int, held: list[int]
) -> None:
    pool = pool_of(samples_of(drawn(2, count, 3)), 4, share)
    assert pool.held == held
    assert pool.trained == [number for number in range(count) if number not in held]


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_a_large_share_is_held_out_as_it_is_asked_for(share: float) -> None:
    pool = pool_of(samples_of(drawn(2, 100, 3)), 50, share)
    assert len(pool.held) == pytest.approx(100 * share, abs=5)
    assert sorted([*pool.held, *pool.trained]) == list(range(100))


def test_a_batch_size_in_the_model_is_filled_with_the_last_sample() -> None:
    pool = pool_of(samples_of(X, LABELS, fixed=4))
    assert np.array_equal(pool.rows["x"], X)
    fed = list(pool.fed([8, 1, 5, 3, 9, 6], 100))
    assert [(each.count, each.rows) for each in fed] == [(4, 4), (2, 4)]
    assert np.array_equal(fed[1].feeds["x"], X[[9, 6, 6, 6]])
    answers = fed[1].answers
    assert answers is not None
    assert answers.tolist() == LABELS[[9, 6]].tolist()


def test_samples_of_differing_shapes_stay_by_themselves() -> None:
    parts, port = sequences(3, 5, 3, 4)
    pool = pool_of(opened(parts_of(*parts), port), 1, 0.5)
    assert (pool.held, pool.trained) == ([1, 3], [0, 2])
    fed = list(pool.fed([3, 0], 64))
    assert [each.count for each in fed] == [1, 1]
    assert np.array_equal(fed[0].feeds["x"], parts[3]["x"])
    assert np.array_equal(fed[1].feeds["x"], parts[0]["x"])


def test_batches_of_differing_shapes_are_held_out_as_a_whole_and_keep_their_labels() -> None:
    parts, port = sequences(3, 5, count=2)
    for number, part in enumerate(parts):
        part["labels"] = np.array([number, number + 5])
    pool = pool_of(opened(parts_of(*parts), port), 2)
    assert (pool.held, pool.trained) == ([1], [0])
    (fed,) = pool.fed(pool.held, 1)
    assert fed.count == 2
    assert fed.answers is not None
    assert fed.answers.tolist() == [1, 6]


def test_a_sample_that_is_all_a_run_takes_is_fed_alone() -> None:
    feeds = drawn(3, 4, 2, 5)
    pool = pool_of(opened({"x": feeds}, Port("x", "float64", (2, 5))), 8, 0.25)
    assert pool.samples.whole
    assert (pool.rows, pool.held) == ({}, [3])
    fed = list(pool.fed([2, 0], 8))
    assert [(each.count, each.rows, each.whole) for each in fed] == [(1, 1, True)] * 2
    assert np.array_equal(fed[0].feeds["x"], feeds[2])


def test_too_few_samples_to_hold_any_out_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        pool_of(samples_of(X[:1]))
    assert caught.value.message == (
        "arrays: 1 sample cannot be divided into some to fit and some to judge by"
    )
    assert caught.value.hint == "a few hundred are a good start"


@pytest.mark.parametrize(("memory", "kept"), [(1, 4), (4 * 24, 8), (1 << 30, 10)])
def test_of_a_set_that_is_too_large_the_first_samples_are_held_in_memory(
    memory: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "MEMORY", memory)
    pool = pool_of(samples_of(X, LABELS), 4)
    assert np.array_equal(pool.rows["x"], X[:kept])
    assert pool.labels is not None
    assert len(pool.labels) == kept
    assert sorted([*pool.held, *pool.trained]) == list(range(kept))


def test_samples_are_counted_by_themselves_or_in_their_batches() -> None:
    assert pool_of(samples_of(X, fixed=4)).count([7, 2, 5]) == 3
    parts = [{"x": drawn(length, count, length)} for length, count in ((3, 4), (5, 2), (6, 1))]
    pool = pool_of(opened(parts_of(*parts), Port("x", "float64", (None, None))), 4)
    assert pool.count([0, 2]) == 5
    assert pool.count(pool.held) == 1

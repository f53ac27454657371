"""Which batches each step measures."""

import numpy as np
import pytest

from onnxprune.errors import InputError
from onnxprune.outcomes import Port
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.statistics.window import Window
from tests.statistics.nets import samples_of


def starts(window: Window, step: int) -> list[int]:
    return [batch.start for batch in window.batches(step)]


def ten() -> Samples:
    return samples_of(np.zeros((10, 1)))


def test_each_step_takes_the_next_batches_and_begins_again() -> None:
    window = Window(ten(), 3, 1)
    assert [starts(window, step) for step in range(1, 7)] == [[0], [3], [6], [9], [0], [3]]


def test_a_step_runs_over_the_end() -> None:
    window = Window(ten(), 3, 3)
    assert [starts(window, step) for step in range(1, 5)] == [
        [0, 3, 6],
        [9, 0, 3],
        [6, 9, 0],
        [3, 6, 9],
    ]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 9])
def test_a_step_is_the_same_whichever_was_before(width: int) -> None:
    in_order = Window(ten(), 3, width)
    wanted = [starts(in_order, step) for step in range(1, 9)]
    for step in (8, 3, 3, 1, 7):
        assert starts(Window(ten(), 3, width), step) == wanted[step - 1]
        assert starts(in_order, step) == wanted[step - 1]


@pytest.mark.parametrize("width", [4, 5, 100])
def test_no_batch_counts_twice_in_a_step(width: int) -> None:
    window = Window(ten(), 3, width)
    for step in (1, 2, 3):
        assert starts(window, step) == [0, 3, 6, 9]


def test_a_step_that_is_not_gone_through_to_its_end_changes_nothing() -> None:
    window = Window(ten(), 3, 2)
    next(iter(window.batches(1)))
    assert starts(window, 2) == [6, 9]
    assert starts(window, 1) == [0, 3]


def test_a_set_of_unknown_length_is_counted_on_the_way() -> None:
    def yielding() -> list[dict[str, np.ndarray]]:  # type: ignore[type-arg]
        return [{"x": np.zeros((4, 1))}, {"x": np.ones((2, 1))}]

    samples = open_samples(yielding, Reading(), (Port("x", "float64", (None, 1)),))
    window = Window(samples, 4, 1)
    assert [starts(window, step) for step in (5, 6, 7)] == [[0], [4], [0]]


def test_the_first_batch_does_not_move_the_window() -> None:
    window = Window(ten(), 3, 1)
    starts(window, 1)
    assert window.first().start == 0
    assert starts(window, 2) == [3]


def test_a_set_that_has_run_empty_is_an_error() -> None:
    class Empty(Samples):
        source = "nothing"

        def __init__(self) -> None:
            pass

        def batches(self, size: int):  # type: ignore[no-untyped-def]
            return iter(())

    for ask in (
        lambda: Window(Empty(), 3, 1).first(),
        lambda: starts(Window(Empty(), 3, 1), 1),
    ):
        with pytest.raises(InputError) as caught:
            ask()
        assert caught.value.message == "nothing: the set has no samples"

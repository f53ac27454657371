"""A user's own measure: what it gets and what it may return."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onnxprune.errors import UsageError
from onnxprune.outcomes import OwnMetric
from onnxprune.trials.own_metric import OwnFunction, OwnMeasure
from onnxprune.types import Array

Arrays = dict[str, Array]


def own(function: Callable[..., Any], whole_set: bool = False) -> OwnFunction:
    return OwnFunction("acc.py:f", function, whole_set)


def run(
    function: OwnFunction,
    dense: list[Array],
    pruned: list[Array],
    labels: list[Array] | None = None,
) -> OwnMetric:
    measure = OwnMeasure(function)
    for number, (one, other) in enumerate(zip(dense, pruned, strict=True)):
        feeds = {"x": np.full((len(one), 1), number)}
        found = labels[number] if labels is not None else None
        measure.update({"y": one}, {"y": other}, found, feeds)
    return measure.result()


def failure(function: Callable[..., Any]) -> str:
    with pytest.raises(UsageError) as caught:
        run(own(function), [np.zeros((8, 2))], [np.zeros((8, 2))])
    return caught.value.message


def test_one_number_for_each_sample_gives_the_mean() -> None:
    dense = [np.array([[0.0, 1], [1, 0], [1, 0]]), np.array([[1.0, 0]])]
    pruned = [np.array([[1.0, 0], [1, 0], [1, 0]]), np.array([[1.0, 0]])]
    labels = [np.array([1, 0, 0]), np.array([1])]
    found = run(
        own(lambda outputs, samples: outputs["y"].argmax(1) == samples["labels"]),
        dense,
        pruned,
        labels,
    )
    assert found == OwnMetric("acc.py:f", dense=3 / 4, pruned=2 / 4)


def test_one_number_for_a_batch_counts_for_all_its_samples() -> None:
    dense = [np.full((3, 1), 1.0), np.full((1, 1), 9.0)]
    pruned = [np.zeros((3, 1)), np.full((1, 1), 8.0)]
    found = run(own(lambda outputs, samples: float(outputs["y"].mean())), dense, pruned)
    assert (found.dense, found.pruned) == (3.0, 2.0)


@pytest.mark.parametrize(
    "answer",
    [[1, 2, 3], (1, 2, 3), np.array([[1], [2], [3]]), np.float16([1, 2, 3]), 2, np.array(2)],
)
def test_numbers_come_in_many_forms(answer: object) -> None:
    found = run(own(lambda outputs, samples: answer), [np.zeros((3, 1))], [np.zeros((3, 1))])
    assert (found.dense, found.pruned) == (2.0, 2.0)


def test_a_function_for_the_whole_set_gets_it_once() -> None:
    calls = []

    def widest(outputs: Arrays, samples: Arrays) -> float:
        calls.append(
            (outputs["y"].tolist(), samples["x"].tolist(), samples["labels"].tolist())
        )
        return float(np.ptp(outputs["y"]))

    batches = [np.array([1.0, 2.0]), np.array([7.0])]
    labels = [np.array([4, 5]), np.array([6])]
    found = run(own(widest, whole_set=True), batches, [-2 * each for each in batches], labels)
    assert calls == [
        ([1.0, 2.0, 7.0], [[0], [0], [1]], [4, 5, 6]),
        ([-2.0, -4.0, -14.0], [[0], [0], [1]], [4, 5, 6]),
    ]
    assert found == OwnMetric("acc.py:f", dense=6.0, pruned=12.0)


def test_a_result_that_is_asked_for_twice_is_computed_once() -> None:
    calls = []

    def counted(outputs: Arrays, samples: Arrays) -> float:
        calls.append(len(outputs["y"]))
        return 2.0

    measure = OwnMeasure(own(counted, whole_set=True))
    measure.update({"y": np.zeros(3)}, {"y": np.zeros(3)}, None, {})
    assert measure.result() == measure.result() == OwnMetric("acc.py:f", 2.0, 2.0)
    assert calls == [3, 3]


def test_a_whole_set_keeps_what_a_batch_held_when_it_came() -> None:
    measure = OwnMeasure(own(lambda outputs, samples: outputs["y"], whole_set=True))
    array = np.array([1.0])
    measure.update({"y": array}, {"y": array}, None, {})
    array[:] = 5
    measure.update({"y": array}, {"y": array}, None, {})
    assert measure.result().dense == 3


def test_batches_that_do_not_join_cannot_be_a_whole_set() -> None:
    with pytest.raises(UsageError) as caught:
        run(
            own(lambda outputs, samples: 1.0, whole_set=True),
            [np.zeros((2, 3)), np.zeros((2, 4))],
            [np.zeros((2, 3)), np.zeros((2, 4))],
        )
    assert caught.value.message == (
        "metric acc.py:f wants the whole set, but the batches of 'y' differ in shape"
    )


def test_a_function_cannot_change_what_others_see() -> None:
    outputs, feeds, labels = np.ones((2, 2)), np.ones((2, 1)), np.array([1, 1])

    def destroy(given: Arrays, samples: Arrays) -> float:
        total = given["y"].sum() + samples["x"].sum() + samples["labels"].sum()
        for array in (*given.values(), *samples.values()):
            array[:] = 0
        given.clear()
        samples.clear()
        return float(total)

    measure = OwnMeasure(own(destroy))
    measure.update({"y": outputs}, {"y": outputs}, labels, {"x": feeds})
    assert measure.result() == OwnMetric("acc.py:f", 8.0, 8.0)
    assert outputs.all()
    assert feeds.all()
    assert labels.all()


def test_samples_have_no_labels_where_the_set_has_none() -> None:
    def listed(outputs: Arrays, samples: Arrays) -> float:
        assert list(samples) == ["x"]
        return 1.0

    assert run(own(listed), [np.zeros((2, 1))], [np.zeros((2, 1))]).dense == 1


def test_without_samples_nothing_is_called() -> None:
    empty = [np.zeros((0, 2))]
    assert run(own(lambda outputs, samples: 1 / 0), empty, empty).dense == 0


def raising(error: BaseException) -> Callable[..., Any]:
    def function(outputs: Arrays, samples: Arrays) -> float:
        raise error

    return function


def test_an_error_of_the_function_is_told() -> None:
    assert failure(raising(ValueError("text"))) == "metric acc.py:f failed: ValueError: text"
    assert failure(raising(ValueError("two\n lines"))) == (
        "metric acc.py:f failed: ValueError: two lines"
    )
    assert failure(raising(AssertionError())) == "metric acc.py:f failed: AssertionError"
    assert failure(raising(SystemExit(2))) == "metric acc.py:f failed: SystemExit: 2"


def test_a_function_is_not_kept_from_being_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(own(raising(KeyboardInterrupt())), [np.zeros((1, 1))], [np.zeros((1, 1))])


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (None, "None"),
        ("0.5", "a str"),
        (float("nan"), "NaN"),
        (float("inf"), "infinity"),
        ([float("nan"), float("inf")] * 4, "NaN"),
        (np.zeros(7), "numbers of shape (7,)"),
        (np.zeros((8, 2)), "numbers of shape (8, 2)"),
        ([[1], [1, 2]], "a list"),
        ({"iou": 0.5}, "a dict"),
        (1j, "a complex"),
    ],
)
def test_what_is_no_number_is_refused(answer: object, found: str) -> None:
    assert failure(lambda outputs, samples: answer) == (
        f"metric acc.py:f returned {found}; it must return one finite number for the 8 samples"
        " it got, or an array with one for each"
    )

"""Batches as torch takes them, and their samples one by one."""

import numpy as np
import pytest
import torch

from onnxprune.samples.batch import Batch
from onnxprune.statistics.feeding import Fed, cut_rows, feed_batch, row_of

CPU = torch.device("cpu")


def fed(count: int = 3, fixed: int | None = None, whole: bool = False) -> Fed:
    rows = fixed or count
    feeds = {
        "x": np.arange(2 * rows, dtype=np.float32).reshape(rows, 2),
        "rate": np.ones((1,), np.int64),
    }
    return feed_batch(Batch(4, count, feeds, None, {}), fixed, whole, CPU)


def test_samples_are_named_by_their_numbers() -> None:
    assert fed(3).label == "samples 4 to 6"
    assert fed(1).label == "sample 4"


def test_each_sample_is_a_batch_of_one_and_constants_go_with_all() -> None:
    tensors, places = fed(3).by_sample()
    assert tensors["x"].tolist() == [[[0, 1]], [[2, 3]], [[4, 5]]]
    assert tensors["rate"].tolist() == [1]
    assert places == {"x": 0, "rate": None}


def test_rows_that_fill_up_a_batch_are_no_samples() -> None:
    some = fed(2, fixed=4)
    assert some.by_sample()[0]["x"].tolist() == [[[0, 1]], [[2, 3]]]
    outputs = {"y": torch.arange(4), "all": torch.tensor(7), "text": "a"}
    cut = cut_rows(outputs, some)
    assert cut["y"].tolist() == [0, 1]
    assert (cut["all"], cut["text"]) == (torch.tensor(7), "a")


def test_a_single_row_is_the_sample_itself() -> None:
    for single in (fed(1), fed(1, whole=True)):
        tensors, places = single.by_sample()
        assert tensors["x"].shape == (1, 1, 2)
        assert places == {"x": 0, "rate": 0}


def test_one_sample_is_taken_out_of_a_batch() -> None:
    some = fed(3).with_answers(torch.tensor([7, 8, 9]))
    one = some.one(1)
    assert (one.start, one.count, one.rows, one.label) == (5, 1, 1, "sample 5")
    assert one.feeds["x"].tolist() == [[2, 3]]
    assert one.feeds["rate"].tolist() == [1]
    assert one.answers is not None
    assert one.answers.tolist() == [8]
    assert row_of({"y": torch.arange(3)}, some, 2)["y"].tolist() == [2]


@pytest.mark.parametrize(
    ("array", "separable"), [(np.zeros(3), True), (np.array(["a"] * 3), False)]
)
def test_text_cannot_be_gone_through_at_once(array: np.ndarray, separable: bool) -> None:  # type: ignore[type-arg]
    batch = Batch(0, 3, {"x": array}, None, {})
    assert feed_batch(batch, None, False, CPU).separable == separable

"""What outputs are taken for, and what is made of odd ones."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from onnxprune.outcomes import Accuracy, Measured, OutputCheck, OwnMetric, Port
from onnxprune.trials.intervals import drop_interval, share_interval
from onnxprune.trials.metrics import Measures
from onnxprune.trials.own_metric import OwnFunction
from onnxprune.types import Array

Batch = tuple[Mapping[str, Any], Mapping[str, Any], Array | None]

LOGITS = np.array([[1.0, 2.0, 0.0], [3.0, 0.0, 1.0], [0.0, 1.0, 5.0], [9.0, 1.0, 1.0]])
OTHERS = np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 5.0], [9.0, 1.0, 1.0]])
LABELS = np.array([1, 0, 2, 1])


def measures_of(
    batches: Sequence[Batch], task: str = "auto", own: OwnFunction | None = None
) -> Measures:
    names = dict.fromkeys(name for dense, _, _ in batches for name in dense)
    measures = Measures([Port(name, "any", None) for name in names], task, own)
    start = 0
    for dense, pruned, labels in batches:
        arrays = [{n: np.asarray(a) for n, a in part.items()} for part in (dense, pruned)]
        measures.update(arrays[0], arrays[1], labels, {}, start)
        start += max(a.shape[0] if a.ndim else 1 for a in arrays[0].values())
    return measures


def measured(
    dense: Any, pruned: Any, labels: Array | None = None, task: str = "auto"
) -> OutputCheck:
    (check,) = measures_of([({"y": dense}, {"y": pruned}, labels)], task).result().outputs
    return check


def test_scores_that_labels_fit_are_checked_by_hand() -> None:
    check = measured(LOGITS, OTHERS, LABELS)
    assert (check.name, check.kind, check.identical) == ("y", "scores", False)
    assert check.top1 == Accuracy(total=4, dense=3, pruned=2, lost=1, won=0)
    assert check.top5 is None
    assert (check.agreed, check.answers) == (3, 4)
    assert check.max_abs == 3


def test_rows_are_scores_if_labels_fit_or_they_are_probabilities_or_the_task_says_so() -> None:
    assert measured(LOGITS, OTHERS).kind == "values"
    assert measured(LOGITS, OTHERS, LABELS).kind == "scores"
    assert measured(LOGITS, OTHERS, task="classes").kind == "scores"
    shares = np.array([[0.25, 0.75], [1.0, 0.0]])
    assert measured(shares, shares[::-1]).kind == "scores"
    assert measured(shares * 0.9995, shares).kind == "scores"
    assert measured(shares * 0.998, shares).kind == "values"
    assert measured(np.array([[1.5, -0.5]]), np.array([[1.5, -0.5]])).kind == "values"


def test_values_have_no_decisions() -> None:
    check = measured(LOGITS, OTHERS)
    assert (check.top1, check.agreement, check.kl, check.answers) == (None, None, None, 0)
    assert check.cosine is not None


def test_the_task_values_takes_nothing_for_scores() -> None:
    shares = np.array([[0.25, 0.75], [1.0, 0.0]])
    labels = np.array([1, 0])
    assert measured(shares, shares, labels, task="values").kind == "values"
    whole = measured(np.array([3, 4]), np.array([4, -3]), labels, task="values")
    assert (whole.kind, whole.max_abs, whole.cosine) == ("values", 7, 0)


def test_only_the_dense_model_decides_what_probabilities_are() -> None:
    shares = np.array([[0.25, 0.75], [1.0, 0.0]])
    assert measured(shares, np.array([[7.0, -1.0], [2.0, 2.0]])).kind == "scores"


def test_one_batch_without_probabilities_makes_all_of_them_values() -> None:
    shares, others = np.array([[0.25, 0.75]]), np.array([[0.5, 0.75]])
    for batches in ([shares, others], [others, shares]):
        found = measures_of([({"y": each}, {"y": each}, None) for each in batches]).result()
        assert found.outputs[0].kind == "values"


def test_one_batch_of_another_shape_makes_all_of_them_values() -> None:
    row, rows = np.array([[0.25, 0.75]]), np.array([[[0.25, 0.5], [0.75, 0.5]]])
    for batches in ([row, rows], [rows, row]):
        found = measures_of([({"y": each}, {"y": each}, None) for each in batches]).result()
        assert found.outputs[0].kind == "values"


def test_one_column_is_no_score_of_classes() -> None:
    ones = np.ones((3, 1))
    assert measured(ones, ones, task="classes").kind == "values"
    assert measured(np.ones(3), np.ones(3), task="classes").kind == "values"


def test_scores_with_dimensions_of_one_are_those_of_a_sample() -> None:
    check = measured(LOGITS.reshape(4, 3, 1, 1), OTHERS.reshape(4, 3, 1, 1), LABELS[:, None])
    assert check == measured(LOGITS, OTHERS, LABELS)
    tall = np.array([[0.25, 0.75]]).reshape(1, 2, 1)
    assert measured(tall, tall).kind == "scores"


def test_whole_numbers_are_the_classes_themselves() -> None:
    dense, pruned = np.array([1, 0, 2, 0]), np.array([1, 1, 2, 1])
    check = measured(dense, pruned, LABELS)
    assert check == OutputCheck(
        "y", "classes", False, top1=Accuracy(4, 3, 3, lost=1, won=1), agreed=2, answers=4
    )
    column = measured(dense[:, None], pruned[:, None], LABELS)
    assert column == check
    assert measured(dense, pruned).kind == "classes"
    assert measured(dense, pruned).top1 is None
    assert measured(dense > 0, pruned > 0, LABELS > 0).top1 == Accuracy(4, 3, 3, 1, 1)


def test_whole_numbers_of_any_shape_agree_by_element() -> None:
    dense = np.arange(24).reshape(2, 3, 4)
    check = measured(dense, np.where(dense < 6, -1, dense))
    assert (check.kind, check.agreed, check.answers) == ("classes", 18, 24)


def test_text_agrees_where_it_is_the_same() -> None:
    check = measured(np.array(["cat", "dog"]), np.array(["cat", "otter"]))
    assert check == OutputCheck("y", "classes", False, agreed=1, answers=2)
    same = np.array(["a", "b"], dtype=object)
    assert measured(same, np.array(["a", "b"])).identical


def test_equal_scores_go_to_the_first_class() -> None:
    check = measured(np.array([[2.0, 2.0]]), np.array([[2.0, 2.1]]), np.array([0]))
    assert check.top1 == Accuracy(1, dense=1, pruned=0, lost=1, won=0)


def test_the_fifth_of_equal_scores_counts_and_the_sixth_does_not() -> None:
    same = np.zeros((2, 6))
    assert measured(same, same, np.array([4, 5])).top5 == Accuracy(2, 1, 1, 0, 0)
    five = np.zeros((2, 5))
    assert measured(five, five, np.array([4, 4])).top5 is None


def test_identical_means_every_bit() -> None:
    assert measured(LOGITS, LOGITS.copy()).identical
    assert not measured(np.array([0.0]), np.array([-0.0])).identical
    assert not measured(LOGITS, LOGITS.astype(np.float32)).identical
    signed, unsigned = np.array([-1], dtype=np.int8), np.array([255], dtype=np.uint8)
    assert not measured(signed, unsigned).identical
    last = measures_of([({"y": LOGITS}, {"y": each}, None) for each in (OTHERS, LOGITS)])
    assert not last.result().outputs[0].identical


def test_equal_outputs_are_exactly_alike() -> None:
    dense = np.random.default_rng(0).normal(size=(40, 9)).astype(np.float32)
    check = measured(dense, dense.copy(), task="classes")
    assert (check.cosine, check.sqnr, check.max_abs, check.kl) == (1, None, 0, 0)
    assert (check.agreed, check.answers) == (40, 40)


def test_no_divergence_is_negative() -> None:
    shares = np.array([[0.5, 0.4995]])
    assert measured(shares, np.array([[0.5, 0.5]])).kl == 0


def test_a_probability_of_zero_counts_as_a_very_small_one() -> None:
    check = measured(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]))
    assert check.kl == pytest.approx(0.5 * math.log(0.5) + 0.5 * math.log(0.5 / 1e-12))
    assert measured(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]])).kl == 0


def test_infinite_scores_share_everything() -> None:
    # Shares of 1/2, 1/2, 0 beside 1/3 each; then 1/3 each beside 1/2, 1/4, 1/4.
    two, none = [[math.inf, math.inf, 0.0]], [[-math.inf] * 3]
    check = measured(np.array(two), np.zeros((1, 3)), task="classes")
    assert check.kl == pytest.approx(math.log(1.5))
    check = measured(np.array(none), np.log([[0.5, 0.25, 0.25]]), task="classes")
    assert check.kl == pytest.approx((math.log(2 / 3) + 2 * math.log(4 / 3)) / 3)
    ruled_out = measured(np.array([[0.0, 0.0]]), np.array([[0.0, -math.inf]]), task="classes")
    assert ruled_out.kl == math.inf


def test_vectors_without_length_point_the_same_way_or_none() -> None:
    zero, one = np.zeros((1, 2)), np.ones((1, 2))
    assert measured(zero, zero).cosine == 1
    assert measured(zero, one).cosine == 0
    assert measured(one, zero).cosine == 0
    assert measured(one, -one).cosine == -1
    assert measured(np.zeros((1, 0)), np.zeros((1, 0))).cosine == 1


def test_the_cosine_is_the_mean_over_samples() -> None:
    dense, pruned = np.array([[1.0, 0.0], [0.0, 9.0]]), np.array([[5.0, 0.0], [9.0, 0.0]])
    assert measured(dense, pruned).cosine == 0.5


def test_noise_is_told_in_decibels() -> None:
    assert measured(np.array([[10.0, 0.0]]), np.array([[9.0, 0.0]])).sqnr == 20
    assert measured(np.array([[10.0]]), np.array([[10.0]])).sqnr is None
    assert measured(np.array([[0.0]]), np.array([[10.0]])).sqnr is None


def test_equal_infinities_differ_by_nothing() -> None:
    dense, pruned = (
        np.array([[math.inf, 3.0, -math.inf]]),
        np.array([[math.inf, 4.0, -math.inf]]),
    )
    check = measured(dense, pruned)
    assert (check.max_abs, check.cosine) == (1, 1)
    assert check.sqnr == pytest.approx(10 * math.log10(9))


def test_an_infinity_beside_anything_else_is_an_infinite_noise() -> None:
    dense = np.array([[1.0, 2.0], [1.0, 2.0]])
    for odd in (math.inf, -math.inf):
        check = measured(dense, np.array([[1.0, 2.0], [1.0, odd]]))
        assert (check.max_abs, check.cosine, check.sqnr) == (math.inf, 0.5, -math.inf)
    assert measured(np.array([[math.inf]]), np.array([[-math.inf]])).max_abs == math.inf


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_numbers_near_the_end_of_their_range_are_measured_too(scale: float) -> None:
    check = measured(np.array([[3.0, 4.0]]) * scale, np.array([[4.0, -3.0]]) * scale)
    assert check.cosine == pytest.approx(0, abs=1e-12)
    assert check.sqnr == pytest.approx(10 * math.log10(25 / 50))


def test_the_accuracy_drop_has_an_interval() -> None:
    measures = measures_of([({"y": LOGITS}, {"y": OTHERS}, LABELS)])
    assert measures.interval is None
    accuracy = measures.result().accuracy
    assert accuracy is not None
    assert measures.interval == drop_interval(accuracy)


def test_without_labels_the_lost_agreement_has_one() -> None:
    measures = measures_of([({"y": LOGITS}, {"y": OTHERS}, None)], "classes")
    measures.result()
    assert measures.interval == share_interval(1, 4)


def test_answers_that_are_not_independent_have_no_interval() -> None:
    scores, labels = np.random.default_rng(1).random((2, 3, 4)), np.zeros((2, 4), dtype=int)
    for batch in (
        ({"y": scores}, {"y": scores}, labels),
        ({"y": labels}, {"y": labels}, None),
    ):
        measures = measures_of([batch])
        measures.result()
        assert measures.interval is None
    values = measures_of([({"y": LOGITS}, {"y": OTHERS}, None)])
    values.result()
    assert values.interval is None


def test_an_own_measure_comes_with_the_others() -> None:
    own = OwnFunction("m:highest", lambda outputs, samples: outputs["y"].max(1), False)
    measures = measures_of([({"y": LOGITS}, {"y": OTHERS}, LABELS)], own=own)
    found = measures.result()
    assert found.own == OwnMetric("m:highest", 4.75, 4.75)
    assert found.accuracy == Accuracy(4, 3, 2, 1, 0)
    assert measures.interval is None


def test_several_outputs_keep_their_order_and_the_first_that_fits_is_the_accuracy() -> None:
    dense = {"embedding": np.ones((4, 9)), "logits": LOGITS, "more": OTHERS}
    found = measures_of([(dense, dense, np.array([1, 0, 2, 2]))]).result()
    assert [check.name for check in found.outputs] == ["embedding", "logits", "more"]
    assert found.accuracy == found.outputs[0].top1
    two = {"box": np.ones((4, 2)), "logits": LOGITS}
    assert measures_of([(two, two, LABELS)]).result().accuracy == Accuracy(4, 3, 3, 0, 0)


def test_an_output_that_is_one_number_is_one_sample() -> None:
    check = measured(np.float32(3.0), np.float32(4.0))
    assert (check.kind, check.max_abs) == ("values", 1)


def test_an_output_that_is_no_tensor_is_left_out() -> None:
    measures = Measures([Port("map", None, None), Port("y", "float32", None)])
    measures.update({"y": LOGITS}, {"y": LOGITS}, None, {}, 0)
    assert [check.name for check in measures.result().outputs] == ["y"]
    known = Measures([Port("y", None, None)])
    known.update({"y": LOGITS}, {"y": LOGITS}, None, {}, 0)
    assert isinstance(known.result(), Measured)
    assert len(known.result().outputs) == 1


def test_empty_batches_change_nothing() -> None:
    batch = ({"y": LOGITS}, {"y": OTHERS}, LABELS)
    empty = ({"y": LOGITS[:0]}, {"y": OTHERS[:0]}, LABELS[:0])
    assert measures_of([empty, batch, empty]).result() == measures_of([batch]).result()

"""Outputs that cannot be compared, labels that fit nothing, and what is said of them."""

import numpy as np
import pytest

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.outcomes import Port
from onnxprune.trials.metrics import Measures
from onnxprune.trials.own_metric import OwnFunction
from onnxprune.types import Array

HINT = "--task values leaves labels aside; --metric measures in another way"


def measures(*names: str, task: str = "auto", own: OwnFunction | None = None) -> Measures:
    return Measures([Port(name, "float32", None) for name in names], task, own)


def refused(dense: Array, pruned: Array, start: int = 0) -> str:
    with pytest.raises(InputError) as caught:
        measures("y").update({"y": dense}, {"y": pruned}, None, {}, start)
    return caught.value.message


def unfit(outputs: dict[str, Array], *labels: Array, task: str = "auto") -> str:
    found = measures(*outputs, task=task)
    for each in labels:
        found.update(outputs, outputs, each, {}, 0)
    with pytest.raises(InputError) as caught:
        found.result()
    assert caught.value.hint == HINT
    return caught.value.message


def test_nan_is_told_with_its_model_and_sample() -> None:
    fine, odd = np.zeros((4, 2)), np.zeros((4, 2))
    odd[2:, 1] = np.nan
    assert refused(odd, fine, 10) == "the dense model's output 'y' is NaN at sample 12"
    assert refused(fine, odd, 1) == "the pruned model's output 'y' is NaN at sample 3"
    assert refused(odd, odd) == "the dense model's output 'y' is NaN at sample 2"
    assert refused(fine[:, 0], odd[:, 1]) == "the pruned model's output 'y' is NaN at sample 2"


def test_outputs_of_different_shapes_are_refused() -> None:
    assert refused(np.zeros((2, 3)), np.zeros((2, 4))) == (
        "output 'y' has shape (2, 3) in the dense model and (2, 4) in the pruned one"
    )


def test_outputs_of_different_families_are_refused() -> None:
    assert refused(np.zeros(2), np.zeros(2, dtype=np.int64)) == (
        "output 'y' is float64 in the dense model and int64 in the pruned one"
    )


def test_numbers_of_other_kinds_are_not_supported() -> None:
    odd = np.zeros(2, dtype=np.complex64)
    with pytest.raises(UnsupportedError) as caught:
        measures("y").update({"y": odd}, {"y": odd}, None, {}, 0)
    assert caught.value.message == "output 'y' of type complex64 cannot be compared"


def test_a_missing_output_is_named() -> None:
    for dense, pruned, model in (
        ({}, {"y": np.zeros(1)}, "dense"),
        ({"y": np.zeros(1)}, {}, "pruned"),
        ({}, {}, "dense"),
    ):
        with pytest.raises(InputError) as caught:
            measures("y").update(dense, pruned, None, {}, 0)
        assert caught.value.message == f"the {model} model's output 'y' is missing"


def test_a_model_without_tensors_cannot_be_compared() -> None:
    found = Measures([Port("map", None, None)])
    found.update({}, {}, None, {}, 0)
    with pytest.raises(InputError) as caught:
        found.result()
    assert caught.value.message == "no output can be compared ('map' gave no arrays)"


def test_labels_beyond_the_classes_fit_nothing() -> None:
    logits = {"logits": np.zeros((2, 10))}
    assert unfit(logits, np.array([0, 999])) == (
        "labels from 0 to 999 fit no output ('logits' has 10 classes)"
    )
    assert unfit(logits, np.array([3, 4]), np.array([-1, 12])) == (
        "labels from -1 to 12 fit no output ('logits' has 10 classes)"
    )
    assert unfit(logits, np.array([0, 999]), task="classes").startswith("labels from 0 to 999")


def test_labels_of_another_shape_fit_nothing() -> None:
    outputs = {"mask": np.zeros((2, 10, 4, 4)), "box": np.zeros((2, 4))}
    assert unfit(outputs, np.zeros((2, 5), dtype=np.int64)) == (
        "labels of shape (N, 5) fit no output ('mask' has shape (N, 10, 4, 4),"
        " 'box' has shape (N, 4))"
    )
    assert unfit({"y": np.zeros(2)}, np.array([1, 2])) == (
        "labels of shape (N) fit no output ('y' has shape (N))"
    )


def test_labels_that_are_no_integers_fit_nothing() -> None:
    for labels in (np.array([0.0, 1.0]), np.array(["cat", "dog"])):
        assert unfit({"y": np.zeros((2, 2))}, labels) == (
            "labels that are no integers fit no output"
        )
    assert unfit({"y": np.array(["cat", "dog"])}, np.array([0, 1])) == (
        "labels of shape (N) fit no output ('y' has shape (N))"
    )


def test_labels_that_fit_one_batch_only_fit_nothing() -> None:
    logits = {"y": np.zeros((2, 3))}
    for labels in ([[0, 1], [2, 3]], [[2, 3], [0, 1]]):
        assert unfit(logits, *map(np.array, labels)) == (
            "labels from 0 to 3 fit no output ('y' has 3 classes)"
        )


def test_labels_of_one_shape_that_fits_fit_nothing() -> None:
    for sizes in ([1, 2], [2, 1]):
        found = measures("y")
        for size in sizes:
            outputs = {"y": np.zeros((2, 3, size))}
            found.update(outputs, outputs, np.zeros(2, dtype=np.int64), {}, 0)
        with pytest.raises(InputError) as caught:
            found.result()
        assert caught.value.message.startswith("labels of shape (N) fit no output")


def test_labels_that_fit_nothing_may_be_for_an_own_measure_or_left_aside() -> None:
    outputs, labels = {"y": np.zeros((2, 3))}, np.array([0.5, 1.5])
    own = OwnFunction("m:f", lambda outputs, samples: samples["labels"], False)
    with_own = measures("y", own=own)
    with_own.update(outputs, outputs, labels, {}, 0)
    found = with_own.result()
    assert found.own is not None
    assert found.own.dense == 1
    as_values = measures("y", task="values")
    as_values.update(outputs, outputs, labels, {}, 0)
    assert as_values.result().outputs[0].kind == "values"


def test_an_output_that_labels_do_not_fit_is_measured_without_them() -> None:
    shares = np.array([[0.25, 0.75], [0.5, 0.5]])
    outputs = {"small": shares, "logits": np.eye(2, 5)}
    found = measures(*outputs)
    found.update(outputs, outputs, np.array([0, 4]), {}, 0)
    small, logits = found.result().outputs
    assert (small.kind, small.top1, small.answers) == ("scores", None, 2)
    assert (logits.kind, logits.answers) == ("scores", 2)
    assert logits.top1 is not None

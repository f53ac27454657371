"""Arrays find their inputs by name, rank and type, or an error says what there is."""

from typing import Any

import numpy as np
import pytest

from onnxprune.errors import InputError, OnnxpruneError, UnsupportedError, UsageError
from onnxprune.outcomes import Port
from tests.samples.made import Array, batches, floats, opened, port, read, refusal


def test_arrays_go_by_name_and_the_rest_is_noted() -> None:
    samples = opened({"y": floats(3), "x": floats(3, 2), "k": np.array(1)})
    assert samples.notes == ("array 'y' is not used", "array 'k' is not used")
    assert np.array_equal(read(samples), floats(3, 2))


def test_an_option_names_the_array() -> None:
    samples = opened({"data": floats(3, 2)}, inputs={"data": "x"})
    assert np.array_equal(read(samples), floats(3, 2))


@pytest.mark.parametrize(
    ("reading", "kind", "message", "hint"),
    [
        (
            {},
            InputError,
            "no array for the model's input 'x'; the set has 'images', 'labels'",
            "--input images=x names one",
        ),
        (
            {"inputs": {"image": "x"}},
            UsageError,
            "--input image=x: the set has no array 'image'",
            "did you mean images?",
        ),
        (
            {"inputs": {"images": "xx"}},
            UsageError,
            "--input images=xx: the model has no input 'xx'",
            "did you mean x?",
        ),
        (
            {"inputs": {"images": "input"}},
            UsageError,
            "--input images=input: the model has no input 'input'",
            "its inputs are x",
        ),
        (
            {"inputs": {"images": "x", "labels": "x"}},
            UsageError,
            "--input names one input twice",
            None,
        ),
        (
            {"inputs": {"images": "x"}, "labels": "q"},
            UsageError,
            "--labels q: the set has no such array",
            "it has images, labels",
        ),
    ],
)
def test_a_wrong_name_is_refused(
    reading: dict[str, Any], kind: type[OnnxpruneError], message: str, hint: str | None
) -> None:
    error = refusal({"images": floats(2, 2), "labels": np.zeros(2, int)}, **reading)
    assert (type(error), error.message, error.hint) == (kind, message, hint)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        (
            (None, 3, 32, 32),
            "samples of shape 3x32x31 do not fit the model's input of 3x32x32",
        ),
        ((None, 3), "samples of shape 3x32x31 do not fit the model's input of 3"),
        (
            (None, 3, None, 32),
            "samples of shape 3x32x31 do not fit the model's input of 3x?x32",
        ),
        ((3, 32, 32), "samples of shape 3x32x31 do not fit the model's input of 3x32x32"),
        ((), "samples of shape 3x32x31 do not fit the model's input of one value"),
    ],
)
def test_shapes_have_to_fit(shape: tuple[int | None, ...], found: str) -> None:
    error = refusal({"x": floats(2, 3, 32, 31)}, port(shape=shape))
    assert (type(error), error.message) == (InputError, f"'x': {found}")


def test_an_input_of_unknown_rank_takes_anything() -> None:
    samples = opened({"x": floats(3, 2, 1)}, port(shape=None))
    assert (samples.whole, samples.fixed) == (False, None)
    assert [batch.feeds["x"].shape for batch in batches(samples)] == [(2, 2, 1), (1, 2, 1)]


def test_one_rank_more_makes_each_sample_a_whole_feed() -> None:
    arrays = {"x": floats(3, 1, 2), "y": floats(3, 4), "k": np.array(7)}
    samples = opened(arrays, port(), port("y", (None, 4)), port("k", (1, 1), "int64"))
    assert samples.whole
    found = batches(samples, 16)
    assert [batch.count for batch in found] == [1, 1, 1]
    assert np.array_equal(found[1].feeds["x"], floats(3, 1, 2)[1])
    assert np.array_equal(found[1].feeds["y"], floats(3, 4)[1:2])
    assert found[1].feeds["k"].tolist() == [[7]]


def test_a_whole_feed_beside_one_of_many_is_refused() -> None:
    error = refusal({"x": floats(3, 1, 2), "y": floats(3, 4)}, port(), port("y", (8, 4)))
    assert error.message == (
        "a sample of 'x' is all that a run takes, but one of 'y' is only one of 8"
    )


def test_numbers_for_an_input_without_dimensions_run_one_by_one() -> None:
    samples = opened(
        {"x": floats(3, 2), "k": np.array([5, 6, 7])}, port(), port("k", (), "int64")
    )
    assert samples.whole
    assert [batch.feeds["k"].item() for batch in batches(samples, 2)] == [5, 6, 7]
    assert [batch.feeds["k"].shape for batch in batches(samples, 2)] == [(), (), ()]


@pytest.mark.parametrize("shape", [(), (1,), (None,), (1, 1), None])
def test_a_constant_takes_the_shape_of_its_input(shape: tuple[int | None, ...] | None) -> None:
    arrays = {"x": floats(3, 2), "k": np.array(7, np.float32)}
    samples = opened(arrays, port(), port("k", shape))
    for batch in batches(samples):
        assert batch.feeds["k"].shape == (1,) * len(shape or ())
        assert batch.feeds["k"].item() == 7


def test_a_constant_for_several_values_is_refused() -> None:
    error = refusal({"x": floats(3, 2), "k": floats(1)[0]}, port(), port("k", (None, 2)))
    assert error.message == "'k' is one value, the model's input 'k' takes ?x2"
    error = refusal({"x": floats(3, 2), "k": np.array(1)}, port(), port("k", ()))
    assert error.message == "'k' is int64, the model's input 'k' takes float32"


def test_inputs_that_fix_different_batches_are_refused() -> None:
    error = refusal(
        {"x": floats(8, 2), "y": floats(8, 2)}, port(shape=(4, 2)), port("y", (2, 2))
    )
    assert error.message == "the model's inputs fix different batch sizes: 4 in 'x', 2 in 'y'"


def test_a_fixed_batch_wins_over_a_free_one() -> None:
    samples = opened({"x": floats(8, 2), "y": floats(8, 2)}, port(), port("y", (4, 2)))
    assert samples.fixed == 4


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (None, "the model's input 'x' is no tensor that numpy knows"),
        ("bfloat16", "the model's input 'x' takes bfloat16, which numpy lacks"),
    ],
)
def test_some_inputs_are_not_supported(dtype: str | None, message: str) -> None:
    error = refusal({"x": floats(2, 2)}, Port("x", dtype, (None, 2)))
    assert (type(error), error.message) == (UnsupportedError, message)


def labels(values: Array, **reading: Any) -> Array:
    key = reading.get("labels") or "labels"
    samples = opened({"x": floats(len(values), 2), key: values}, **reading)
    assert samples.labelled
    assert samples.notes == ()
    parts = [batch.labels for batch in batches(samples)]
    return np.concatenate([part for part in parts if part is not None])


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 0, 2], np.uint8),
        np.array([1.0, 0.0, 2.0]),
        np.array([[1], [0], [2]]),
        np.array([[[1]], [[0]], [[2]]], np.float32),
    ],
)
def test_labels_are_whole_numbers_one_per_sample(values: Array) -> None:
    found = labels(values)
    assert found.dtype == np.int64
    assert found.tolist() == [1, 0, 2]
    assert labels(values, labels="right").tolist() == [1, 0, 2]


def test_truth_values_and_maps_are_labels() -> None:
    assert labels(np.array([True, False])).tolist() == [1, 0]
    assert labels(np.arange(8).reshape(2, 2, 2)).shape == (2, 2, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0, 0.5, 1]), "labels are whole numbers, not 0.5"),
        (np.array([0, np.nan, 1]), "labels are whole numbers, not nan"),
        (np.array([0, np.inf, 1]), "labels are whole numbers, not inf"),
        (np.array([0, 1e30, 1]), "labels are whole numbers, not 1e+30"),
        (np.array(["a", "b", "c"]), "labels are whole numbers, 'labels' is <U1"),
        (np.array([1j, 0, 0]), "labels are whole numbers, 'labels' is complex128"),
    ],
)
def test_other_labels_are_refused(values: Array, message: str) -> None:
    error = refusal({"x": floats(3, 2), "labels": values})
    assert (type(error), error.message) == (InputError, message)


def test_an_input_named_labels_is_fed_and_counts_for_nothing() -> None:
    samples = opened({"x": floats(2, 2), "labels": floats(2, 2)}, port(), port("labels"))
    assert not samples.labelled


def test_a_shape_for_random_samples_is_noted_elsewhere() -> None:
    samples = opened({"x": floats(2, 2)}, shapes={"x": (2,)})
    assert samples.notes == ("--shape is not used: it is for random samples",)

"""Cuts of every registered method: exact for every count; odd values; names and papers."""

import inspect
import re
from typing import Any

import numpy as np
import pytest

from onnxprune.recipe import own_options
from onnxprune.registry import Entry, entries, find
from onnxprune.scoring import rank
from onnxprune.selection import Sieve
from tests.laws.candidates import statistics
from tests.tensors_made import Array, Tensors, normal

METHODS = entries("method")
EVERYTHING = entries()


def by_name(entry: Entry) -> str:
    return entry.name


def scores_of(entry: Entry, values: Array, seed: int = 0) -> Array:
    made = Tensors({"w": values})
    given = statistics(entry, made.weights)
    source = rank(made.weights[0], made.values, entry, own_options(entry, {}), seed, given)
    return source.read(0, values.size)


@pytest.mark.parametrize("entry", METHODS, ids=by_name)
@pytest.mark.parametrize(
    "values",
    [np.zeros((4, 5), "f4"), np.full((4, 5), -3, "f4"), np.full((4, 5), 1e-45, "f4")],
    ids=["zeros", "equal", "subnormal"],
)
def test_scores_of_odd_values_are_numbers(values: Array, entry: Entry) -> None:
    assert np.isfinite(scores_of(entry, values)).all()


@pytest.mark.parametrize("entry", METHODS, ids=by_name)
def test_exactly_as_many_weights_go_as_are_asked_for(entry: Entry) -> None:
    values = np.repeat(normal("w", 10, 6), 2, axis=0)
    scores = scores_of(entry, values)
    made = Tensors({"w": values})
    given = statistics(entry, made.weights)
    source = rank(made.weights[0], made.values, entry, {}, 0, given)
    for zeros in range(values.size + 1):
        gone = Sieve(source.cut(zeros)).pruned(scores)
        assert int(gone.sum()) == zeros
        if 0 < zeros < values.size:
            assert scores[gone].max() <= scores[~gone].min()


@pytest.mark.parametrize("entry", EVERYTHING, ids=by_name)
def test_a_line_says_what_it_does_and_a_paper_where_it_is_from(entry: Entry) -> None:
    assert re.fullmatch(r"[A-Z][^\n]{10,89}[^.\n]\.", entry.summary)
    assert entry.paper
    assert entry.summary == (inspect.getdoc(entry.function) or "").splitlines()[0]


@pytest.mark.parametrize("entry", METHODS, ids=by_name)
def test_a_method_comes_with_an_allocation(entry: Entry) -> None:
    assert find(entry.allocation, "allocation").kind == "allocation"


def test_names_are_lower_case_and_taken_once() -> None:
    names: list[Any] = [name for one in EVERYTHING for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names)) >= 10
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_magnitude_is_the_absolute_value() -> None:
    values = np.array([[1.5, -2.0], [-0.0, 3.0]], "f4")
    scores = scores_of(find("magnitude"), values)
    np.testing.assert_array_equal(scores, np.array([1.5, 2.0, 0.0, 3.0], "f4"))


def test_random_scores_change_with_the_seed_only() -> None:
    entry = find("random")
    one, other = normal("a", 20, 20), normal("b", 20, 20)
    np.testing.assert_array_equal(scores_of(entry, one), scores_of(entry, other))
    assert not np.array_equal(scores_of(entry, one, 1), scores_of(entry, one, 2))

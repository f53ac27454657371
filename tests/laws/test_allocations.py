"""Every allocation in the registry meets its budget, within limits, on any tensors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxprune.errors import TargetError
from onnxprune.registry import entries
from onnxprune.types import Array
from tests.laws.candidates import call, candidates, masks

ALLOCATIONS = {entry.name: entry for entry in entries("allocation")}
NESTED = ["global", "lamp", "min_threshold"]
SHAPES = st.lists(
    st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple), min_size=1, max_size=5
)
FEW_VALUES = st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, 3e-39, 1e30, 2.0])
ANY_VALUES = st.floats(-4, 4, width=32)


@st.composite
def tensors(draw: st.DrawFn) -> list[Array]:
    elements = draw(st.sampled_from([FEW_VALUES, ANY_VALUES]))
    return [draw(hnp.arrays(np.float32, shape, elements=elements)) for shape in draw(SHAPES)]


@pytest.mark.parametrize("name", ALLOCATIONS)
@given(weights=tensors(), share=st.floats(0, 1), data=st.data())
@settings(max_examples=60, deadline=None)
def test_budgets_sum_to_the_total_and_keep_within_limits(
    name: str, weights: list[Array], share: float, data: st.DataObject
) -> None:
    limits = [data.draw(st.integers(0, values.size)) for values in weights]
    zeros = round(share * sum(limits))
    given_ones = candidates(weights, limits)
    try:
        counts = call(ALLOCATIONS[name], given_ones, zeros)
    except TargetError as error:
        # Rules with floors of their own may refuse; they then say what is possible.
        assert name in ("min_threshold", "uniform_plus", "from"), error
        assert "largest feasible" in (error.hint or "")
        return
    assert sum(counts) == zeros
    for count, limit in zip(counts, limits, strict=True):
        assert 0 <= count <= limit


@pytest.mark.parametrize("name", ALLOCATIONS)
@given(weights=tensors(), share=st.floats(0, 0.7))
@settings(max_examples=40, deadline=None)
def test_masks_have_as_many_zeros_as_the_budget_and_none_that_is_larger_than_what_stays(
    name: str, weights: list[Array], share: float
) -> None:
    given_ones = candidates(weights)
    zeros = round(share * sum(values.size for values in weights))
    try:
        counts = call(ALLOCATIONS[name], given_ones, zeros)
    except TargetError:
        return
    for values, gone, count in zip(weights, masks(given_ones, counts), counts, strict=True):
        assert gone.sum() == count
        size = np.abs(values.reshape(-1))
        if gone.any() and not gone.all():
            assert size[gone].max() <= size[~gone].min()


@pytest.mark.parametrize("name", NESTED)
@given(weights=tensors(), shares=st.tuples(st.floats(0, 0.6), st.floats(0, 0.6)))
@settings(max_examples=60, deadline=None)
def test_what_falls_at_a_lower_sparsity_falls_at_a_higher_one(
    name: str, weights: list[Array], shares: tuple[float, float]
) -> None:
    given_ones = candidates(weights)
    total = sum(values.size for values in weights)
    found = []
    for share in sorted(shares):
        try:
            counts = call(ALLOCATIONS[name], given_ones, round(share * total))
        except TargetError:
            return
        found.append(masks(given_ones, counts))
    for fewer, more in zip(*found, strict=True):
        assert not (fewer & ~more).any()


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_of_equal_weights_the_first_fall(name: str) -> None:
    weights = [np.full((3, 4), 0.25, np.float32), np.full((2, 6), 0.25, np.float32)]
    given_ones = candidates(weights)
    counts = call(ALLOCATIONS[name], given_ones, 9)
    for gone, count in zip(masks(given_ones, counts), counts, strict=True):
        assert gone[:count].all()
        assert not gone[count:].any()


def test_equal_scores_fall_in_the_first_tensor_first() -> None:
    weights = [np.full((2, 3), 1.0, np.float32), np.full((2, 3), 1.0, np.float32)]
    assert call(ALLOCATIONS["global"], candidates(weights), 8) == [6, 2]


def test_lamp_takes_equal_copies_in_turns() -> None:
    # In each tensor the scores are 1/3, 1/2 and 1, whatever its scale.
    weights = [np.full((1, 3), 0.1, np.float32), np.full((1, 3), 0.3, np.float32)]
    budgets = [call(ALLOCATIONS["lamp"], candidates(weights), zeros) for zeros in range(7)]
    assert budgets == [[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [3, 2], [3, 3]]


@given(weights=tensors(), exponent=st.integers(-20, 20), share=st.floats(0, 0.9))
@settings(max_examples=60, deadline=None)
def test_lamp_does_not_see_the_scale_of_a_tensor(
    weights: list[Array], exponent: int, share: float
) -> None:
    plain = [np.where(np.abs(v) < 1e-30, 0, np.minimum(v, 8)).astype("f4") for v in weights]
    scaled = [plain[0] * np.float32(2.0**exponent), *plain[1:]]
    zeros = round(share * sum(values.size for values in weights))
    lamp = ALLOCATIONS["lamp"]
    assert call(lamp, candidates(plain), zeros) == call(lamp, candidates(scaled), zeros)

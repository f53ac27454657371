"""A view says which stored value an operator sees where: it must agree with numpy."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnxprune.formats.view import View, whole
from tests.models import Array

# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SHAPES = [(24,), (4, 6), (2, 3, 4), (1, 6, 1, 4), (2, 2, 2, 3), (5, 7), (9, 4), (2, 1, 3, 5)]


def seen(view: View, stored: Array) -> Array:
    """Arrange stored values as a view says; factors of one may be in no dimension."""
    order = [factor for group in view.groups for factor in group]
    rest = [factor for factor in range(len(view.factors)) if factor not in order]
    assert all(view.factors[factor] == 1 for factor in rest)
    return stored.reshape(view.factors).transpose(order + rest).reshape(view.shape)


@st.composite
def factorizations(draw: st.DrawFn, number: int) -> tuple[int, ...]:
    """Draw sizes whose product is a number, ones among them."""
    sizes = []
    while number > 1:
        size = draw(st.sampled_from([d for d in range(1, number + 1) if number % d == 0]))
        sizes.append(size)
        number //= size
        if len(sizes) == 5:
            break
    return (*sizes, number) if number > 1 or not sizes else tuple(sizes)


def one_step(data: st.DataObject, view: View, values: Array) -> tuple[View, Array]:
    """Transpose, reshape, squeeze or unsqueeze a view and the values alike."""
    match data.draw(st.sampled_from(["transpose", "reshape", "squeeze", "unsqueeze"])):
        case "transpose":
            order = data.draw(st.permutations(range(values.ndim)))
            return view.transposed(order), values.transpose(order)
        case "squeeze":
            return view.squeezed(None), values.squeeze()
        case "unsqueeze":
            total = values.ndim + data.draw(st.integers(0, 2))
            axes = data.draw(st.permutations(range(total)))[: total - values.ndim]
            axes = [axis - total * data.draw(st.booleans()) for axis in axes]
            return view.unsqueezed(axes), np.expand_dims(values, tuple(axes))
    shape = data.draw(factorizations(values.size))
    new = view.reshaped(list(shape))
    return (view, values) if new is None else (new, values.reshape(shape))


@patient
@given(st.sampled_from(SHAPES), st.data())
def test_a_view_agrees_with_numpy_after_any_steps(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    stored = np.arange(math.prod(shape))
    view, values = whole(shape), stored.reshape(shape)
    for _ in range(data.draw(st.integers(1, 6))):
        view, values = one_step(data, view, values)
        assert view.shape == values.shape
        assert np.array_equal(seen(view, stored), values)


@patient
@given(st.sampled_from(SHAPES), st.data())
def test_a_stored_tensor_can_be_reshaped_to_any_shape_of_its_size(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    stored = np.arange(math.prod(shape))
    new = data.draw(factorizations(stored.size))
    view = whole(shape).reshaped(list(new))
    assert view is not None
    assert np.array_equal(seen(view, stored), stored.reshape(new))


@patient
@given(st.sampled_from(SHAPES), st.data())
def test_whatever_numpy_reshapes_without_a_copy_can_be_followed(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    values = np.arange(math.prod(shape)).reshape(shape)
    order = data.draw(st.permutations(range(len(shape))))
    new = data.draw(factorizations(values.size))
    moved = values.transpose(order)
    if np.shares_memory(moved.reshape(new), values):
        assert whole(shape).transposed(order).reshaped(list(new)) is not None


@patient
@given(st.sampled_from(SHAPES), st.data())
def test_a_reshape_can_be_undone(shape: tuple[int, ...], data: st.DataObject) -> None:
    view = whole(shape).transposed(data.draw(st.permutations(range(len(shape)))))
    new = view.reshaped(list(data.draw(factorizations(math.prod(shape)))))
    if new is not None:
        back = new.reshaped(list(view.shape))
        stored = np.arange(math.prod(shape))
        assert back is not None
        assert np.array_equal(seen(back, stored), seen(view, stored))


@patient
@given(st.sampled_from(SHAPES), st.data())
def test_a_layout_puts_every_stored_value_in_one_place(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    view = whole(shape)
    for _ in range(data.draw(st.integers(0, 3))):
        view, _ = one_step(data, view, np.empty(view.shape))
    roles = data.draw(st.lists(st.sampled_from("oki"), min_size=len(view.groups)))
    axes = {role: [a for a in range(len(view.groups)) if roles[a] == role] for role in "oki"}
    layout = view.layout(axes["o"], axes["i"])
    stored = np.arange(math.prod(shape))
    order = axes["o"] + axes["k"] + axes["i"]
    rows = seen(view, stored).transpose(order).reshape(layout.output_count, -1)
    assert np.array_equal(layout.matrix(stored), rows)
    assert np.array_equal(layout.flat(rows), stored)
    assert layout.output_count == math.prod(view.shape[axis] for axis in axes["o"])
    assert layout.input_count == math.prod(view.shape[axis] for axis in axes["i"])


def test_a_transposed_matrix_has_its_factors_the_other_way_round() -> None:
    assert whole((3, 5)).transposed([1, 0]) == View((3, 5), ((1,), (0,)))


def test_a_dimension_that_is_split_becomes_two_factors() -> None:
    assert whole((12, 5)).reshaped([3, 4, 5]) == View((3, 4, 5), ((0,), (1,), (2,)))


def test_dimensions_that_are_joined_become_one_group() -> None:
    joined = whole((3, 4, 5)).transposed([2, 0, 1]).reshaped([5, 12])
    assert joined == View((12, 5), ((1,), (0,)))


def test_a_join_across_a_transpose_keeps_both_factors_in_their_new_order() -> None:
    assert whole((3, 5)).transposed([1, 0]).reshaped([15]) == View((3, 5), ((1, 0),))


@pytest.mark.parametrize(
    "shape", [[6, 6], [6, 4], [4, 3, 3], [36, 2], [35], [9, 5], [0, 36], [-6, -6], [], [1]]
)
def test_a_shape_that_the_factors_cannot_give_is_refused(shape: list[int]) -> None:
    assert whole((4, 9)).transposed([1, 0]).reshaped(shape) is None

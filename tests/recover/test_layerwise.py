"""Layers brought back one by one equal slow loops over what each of them is fed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onnxprune.statistics import moments
from tests.models import node
from tests.recover.layers import (
    Array,
    Bench,
    Case,
    Values,
    bench,
    convolving,
    drawn,
    made,
    masked,
    masks_of,
    multiplying,
    recurrent,
    transposing,
)

CASES = [convolving, multiplying, transposing, recurrent]
Solve = Callable[[Array, Array, Array, Array], Array]
"""(the dense rows, which of them are kept, X as it is, X in the dense model)."""


def refitted(rows: Array, kept: Array, here: Array, there: Array) -> Array:
    """Solve each row's damped normal equations on what is kept of it."""
    square, cross = here @ here.T, here @ there.T
    added = 0.01 * np.mean(np.diag(square))
    found = np.zeros(rows.shape)
    for number, row in enumerate(rows):
        own = np.flatnonzero(kept[number])
        left = square[np.ix_(own, own)] + added * np.eye(own.size)
        found[number, own] = np.linalg.inv(left) @ (cross @ row + added * row)[own]
    return found


def reconstructed(rows: Array, kept: Array, here: Array, _: Array) -> Array:
    """Follow SparseGPT's listing column by column, with an inverse for each."""
    square = here @ here.T
    rows = rows.copy()
    for column in range(len(square)):
        if square[column, column] == 0:
            square[column, column] = 1
            rows[:, column] = 0
    square += 0.01 * np.mean(np.diag(square)) * np.eye(len(square))
    for column in range(len(square)):
        inverse = np.linalg.inv(square[column:, column:])
        for number in range(len(rows)):
            if not kept[number, column]:
                rows[number, column:] -= rows[number, column] * inverse[0] / inverse[0, 0]
                rows[number, column] = 0
    return rows


def reference(case: Case, masks: dict[str, Array], x: Array, solve: Solve) -> Values:
    """Fit a case's layers in the order of its graph, each in the model as it is by then."""
    now = masked(case, masks)
    dense = case.values(case.tensors, x)
    for name, as_matrix in case.weights.items():
        here = case.columns[name](case.values(now, x), now)
        there = case.columns[name](dense, case.tensors)
        # Where each value of the matrix lies in the tensor is what numbers in its place tell.
        places = as_matrix(np.arange(now[name].size).reshape(now[name].shape))
        matrix, kept = as_matrix(case.tensors[name]).copy(), as_matrix(masks[name])
        for (rows, x_here), (_, x_there) in zip(here, there, strict=True):
            matrix[rows] = solve(matrix[rows], kept[rows], x_here, x_there)
        flat = now[name].reshape(-1)
        flat[places.reshape(-1)] = matrix.reshape(-1)
    return now


def check(found: Bench, wanted: Values) -> None:
    tensors = found.tensors()
    for name, each in wanted.items():
        near = 1e-9 * max(abs(each).max(), 1)
        np.testing.assert_allclose(tensors[name], each, rtol=1e-7, atol=near, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_refitting_is_least_squares_layer_by_layer(
    case: Callable[[], Case], tmp_path: Path
) -> None:
    net = case()
    masks = masks_of(net)
    with bench(net, tmp_path, masks) as found:
        found.layers.refit()
        check(found, reference(net, masks, found.fitted(), refitted))
        assert found.layers.notes == []
        for name, mask in masks.items():
            assert not found.tensors()[name][~mask].any()


@pytest.mark.parametrize("case", CASES)
def test_reconstructing_is_sparsegpt_on_what_the_pruned_model_is_fed(
    case: Callable[[], Case], tmp_path: Path
) -> None:
    net = case()
    masks = masks_of(net, 1)
    with bench(net, tmp_path, masks) as found:
        found.layers.reconstruct()
        check(found, reference(net, masks, found.fitted(), reconstructed))
        for name, mask in masks.items():
            assert not found.tensors()[name][~mask].any()


def test_refitting_again_after_a_reconstruction_starts_from_the_dense_weights(
    tmp_path: Path,
) -> None:
    net = multiplying()
    masks = masks_of(net)
    with bench(net, tmp_path, masks) as found:
        found.layers.reconstruct()
        found.layers.refit()
        now = found.tensors()["first"]
    wanted = reference(net, masks, found.fitted(), refitted)["first"]
    np.testing.assert_allclose(now, wanted, rtol=1e-9)


def test_a_refitted_model_is_closer_to_the_dense_one(tmp_path: Path) -> None:
    net = convolving()
    masks = masks_of(net)
    with bench(net, tmp_path, masks) as found:
        x = found.fitted()
        dense = net.values(net.tensors, x)["y"]
        before = net.values(found.tensors(), x)["y"]
        found.layers.refit()
        after = net.values(found.tensors(), x)["y"]
    assert np.square(after - dense).mean() < np.square(before - dense).mean() / 2


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_batches_make_no_difference(batch: int, tmp_path: Path) -> None:
    net = convolving()
    masks = masks_of(net)
    with bench(net, tmp_path, masks, batch) as found:
        found.layers.refit()
        found.layers.correct(scaled=True)
        now = found.tensors()
    with bench(net, tmp_path, masks, 4) as other:
        other.layers.refit()
        other.layers.correct(scaled=True)
        check(other, now)


@pytest.mark.parametrize("limit", [3, 7])
def test_so_many_samples_are_fitted_on_as_the_limit_says(limit: int, tmp_path: Path) -> None:
    net = multiplying()
    masks = masks_of(net)
    with bench(net, tmp_path, masks, 2, limit) as found:
        assert len(found.fitted()) == limit
        found.layers.refit()
        check(found, reference(net, masks, found.fitted(), refitted))
    whole = reference(net, masks, net.x[found.layers.pool.trained], refitted)
    assert not np.allclose(found.tensors()["first"], whole["first"])


def test_what_is_held_out_is_not_fitted_on(tmp_path: Path) -> None:
    net = multiplying()
    masks = masks_of(net)
    with bench(net, tmp_path, masks) as found:
        found.layers.refit()
        wanted = found.tensors()
        held = found.layers.pool.held
        net.x[held] = 1000.0
    with bench(net, tmp_path, masks) as found:
        assert found.layers.pool.held == held
        found.layers.refit()
        check(found, wanted)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["refit", "reconstruct", "correct", "scaled"])
def test_inputs_that_are_always_the_same_give_finite_weights(
    way: str, case: Callable[[], Case], value: float, tmp_path: Path
) -> None:
    net = case()
    net.x[:] = value
    masks = masks_of(net)
    with bench(net, tmp_path, masks) as found:
        if way == "refit":
            found.layers.refit()
        elif way == "reconstruct":
            found.layers.reconstruct()
        else:
            found.layers.correct(scaled=way == "scaled")
        for name, each in found.tensors().items():
            assert np.isfinite(each).all()
            if name in masks:
                assert not each[~masks[name]].any()


def test_a_layer_whose_weights_all_fell_is_no_hindrance(tmp_path: Path) -> None:
    net = convolving()
    masks = masks_of(net)
    masks["grouped"][:] = False
    masks["plain"][2] = False
    with bench(net, tmp_path, masks) as found:
        found.layers.refit()
        found.layers.reconstruct()
        found.layers.correct(scaled=True)
        for name, each in found.tensors().items():
            assert np.isfinite(each).all()
            assert name not in masks or not each[~masks[name]].any()


def test_a_layer_that_is_too_wide_is_left_out_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = multiplying()
    masks = masks_of(net)
    monkeypatch.setattr(moments, "WIDEST", 8)
    with bench(net, tmp_path, masks) as found:
        found.layers.refit()
        assert found.layers.notes == [
            "'third': each output has 10 inputs, and a Gram matrix is made for up to 8: it is"
            " not fitted"
        ]
        third = net.tensors["third"] * masks["third"]
        assert np.array_equal(found.tensors()["third"], third)
        assert not np.array_equal(found.tensors()["fourth"], net.tensors["fourth"])


def test_progress_is_told_layer_by_layer(tmp_path: Path) -> None:
    net = convolving()
    with bench(net, tmp_path, masks_of(net)) as found:
        told: list[tuple[str, int, int]] = []
        found.layers.told = lambda *each: told.append(each)
        found.layers.refit()
        assert told == [("grouped", 0, 3), ("plain", 1, 3), ("dense", 2, 3), ("", 3, 3)]


OUTPUTS = {
    convolving: {"grouped": "b", "plain": "d", "dense": "y"},
    multiplying: {"first": "b", "third": "g"},
    transposing: {"plain": "a", "grouped": "d"},
}
"""By weight, what comes of its product and of what is added to that or normalises it."""

PLACES = [(case, name) for case, names in OUTPUTS.items() for name in names]


def channels(values: Array, layer: str) -> Array:
    """Return the values of each channel in a row."""
    axis = -1 if layer in ("first", "third", "dense") else 1
    moved = np.moveaxis(values, axis, 0)
    return moved.reshape(len(moved), -1)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_have_the_means_of_the_dense_model_and_if_wanted_the_spreads(
    case: Callable[[], Case], scaled: bool, tmp_path: Path
) -> None:
    net = case()
    masks = masks_of(net, 2, 0.3)
    with bench(net, tmp_path, masks) as found:
        x = found.fitted()
        found.layers.correct(scaled)
        now, dense = net.values(found.tensors(), x), net.values(net.tensors, x)
        for layer, output in OUTPUTS[case].items():
            here, there = channels(now[output], layer), channels(dense[output], layer)
            np.testing.assert_allclose(here.mean(1), there.mean(1), rtol=1e-8, atol=1e-8)
            if scaled:
                np.testing.assert_allclose(here.std(1), there.std(1), rtol=1e-7)
            else:
                assert not np.allclose(here.std(1), there.std(1))
        for name, mask in masks.items():
            assert not found.tensors()[name][~mask].any()


@pytest.mark.parametrize("case", OUTPUTS)
def test_without_spreads_only_what_is_added_changes(
    case: Callable[[], Case], tmp_path: Path
) -> None:
    net = case()
    masks = masks_of(net, 2)
    with bench(net, tmp_path, masks) as found:
        found.layers.correct(scaled=False)
        changed = set(found.state.changed(found.state.free))
        for name in (*net.weights, "scale"):
            assert name not in changed
        assert {
            name for name in changed if name.endswith("bias") or name == "shift"
        } == changed
        # Two layers of every case are found a place.
        assert len(changed) >= 2


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("case", OUTPUTS)
def test_correcting_what_is_right_changes_nothing(
    case: Callable[[], Case], scaled: bool, tmp_path: Path
) -> None:
    net = case()
    with bench(net, tmp_path, {}) as found:
        found.layers.correct(scaled)
        check(found, net.tensors)


@pytest.mark.parametrize(("first", "then"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_are_as_the_dense_ones_after_any_corrections(
    case: Callable[[], Case], first: bool, then: bool, tmp_path: Path
) -> None:
    """As where weights fall in steps, or statistics and biases are both asked for."""
    net = case()
    masks = masks_of(net, 2, 0.3)
    with bench(net, tmp_path, masks) as found:
        x = found.fitted()
        found.layers.correct(first)
        found.layers.correct(then)
        now, dense = net.values(found.tensors(), x), net.values(net.tensors, x)
        for layer, output in OUTPUTS[case].items():
            here, there = channels(now[output], layer), channels(dense[output], layer)
            np.testing.assert_allclose(here.mean(1), there.mean(1), rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(here.std(1), there.std(1), rtol=1e-7 if then else 10)


@pytest.mark.parametrize("case", OUTPUTS)
def test_means_are_right_after_weights_are_fitted_and_fall_again(
    case: Callable[[], Case], tmp_path: Path
) -> None:
    net = case()
    masks = masks_of(net, 2, 0.2)
    with bench(net, tmp_path, masks) as found:
        x = found.fitted()
        for seed in (3, 4):
            found.layers.refit()
            found.layers.correct(scaled=False)
            more = masks_of(net, seed, 0.2)
            masks = {name: mask & more[name] for name, mask in masks.items()}
            found.state.put_masks(masks)
        found.layers.correct(scaled=False)
        now, dense = net.values(found.tensors(), x), net.values(net.tensors, x)
        for layer, output in OUTPUTS[case].items():
            here, there = channels(now[output], layer), channels(dense[output], layer)
            np.testing.assert_allclose(here.mean(1), there.mean(1), rtol=1e-8, atol=1e-8)


def test_a_layer_without_a_place_is_left_alone(tmp_path: Path) -> None:
    net = multiplying()
    masks = masks_of(net, 2)
    with bench(net, tmp_path, masks) as found:
        told: list[tuple[str, int, int]] = []
        found.layers.told = lambda *each: told.append(each)
        found.layers.correct(scaled=True)
        assert told == [("first", 0, 2), ("third", 1, 2), ("", 2, 2)]
        for name in ("second", "fourth"):
            assert np.array_equal(found.tensors()[name], net.tensors[name] * masks[name])


def test_recurrent_layers_have_no_place(tmp_path: Path) -> None:
    net = recurrent()
    masks = masks_of(net)
    with bench(net, tmp_path, masks) as found:
        found.layers.correct(scaled=True)
        check(found, masked(net, masks))


@pytest.mark.parametrize("stays", ["scale", "shift"])
def test_a_normalisation_that_has_to_stay_is_no_place(stays: str, tmp_path: Path) -> None:
    net = convolving()
    with bench(net, tmp_path, masks_of(net), stays=[stays]) as found:
        found.layers.correct(scaled=True)
        for name in ("scale", "shift", "grouped_bias"):
            assert np.array_equal(found.tensors()[name], net.tensors[name])
        assert not np.array_equal(found.tensors()["plain_bias"], net.tensors["plain_bias"])


def test_a_bias_that_has_to_stay_is_no_place(tmp_path: Path) -> None:
    net = multiplying()
    masks = masks_of(net)
    with bench(net, tmp_path, masks, stays=["first_bias"]) as found:
        found.layers.correct(scaled=True)
        for name in ("first", "first_bias"):
            assert np.array_equal(found.tensors()[name], masked(net, masks)[name])
        assert not np.array_equal(found.tensors()["third_bias"], net.tensors["third_bias"])


def test_outputs_that_do_not_vary_are_not_scaled(tmp_path: Path) -> None:
    net = convolving()
    masks = masks_of(net, 2)
    masks["plain"][:2] = False
    with bench(net, tmp_path, masks) as found:
        x = found.fitted()
        found.layers.correct(scaled=True)
        now, dense = net.values(found.tensors(), x)["d"], net.values(net.tensors, x)["d"]
        here, there = channels(now, "plain"), channels(dense, "plain")
        np.testing.assert_allclose(here.mean(1), there.mean(1), rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(here[:2].std(1), 0, atol=1e-12)
        np.testing.assert_allclose(here[2:].std(1), there[2:].std(1), rtol=1e-7)


def product(alpha: float, *behind: str, own: bool = True, **others: Array) -> Case:
    """A Gemm with factors, with a bias of its own or without, and what comes behind it."""
    tensors = drawn(9, w=(5, 4), c=(5,)) | others
    if not own:
        del tensors["c"]
    text = "Gemm x w c -> a" if own else "Gemm x w -> a"
    nodes = [node(text, transB=1, alpha=alpha, beta=-0.5)]
    nodes += [node(each) for each in behind or ("Identity a -> y",)]
    return Case(
        made(nodes, tensors, ("n", 4)),
        tensors,
        np.random.default_rng(1).standard_normal((20, 4)).astype(np.float32) + 1,
        {"w": lambda each: each},
        {"w": lambda values, _: [(np.arange(5), alpha * values["x"].T)]},
    )


def normalised(alpha: float, own: bool = False) -> Case:
    """With a scale that is negative or nothing."""
    return product(
        alpha,
        "BatchNormalization a scale shift mean variance -> y",
        own=own,
        **drawn(8, shift=(5,), mean=(5,)),
        scale=np.array([1.0, -2.0, 0.5, 0.0, 3.0]),
        variance=np.array([1.0, 2.0, 0.5, 1.0, 1.0]),
    )


def summed(alpha: float) -> Case:
    return product(alpha, "Add a d -> y", own=False, **drawn(8, d=(1, 5)))


def both(alpha: float) -> Case:
    return normalised(alpha, own=True)


@pytest.mark.parametrize("alpha", [1.0, 2.0])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("case", [product, summed, normalised, both])
def test_factors_of_a_product_and_of_its_bias_are_thought_of(
    case: Callable[[float], Case], scaled: bool, alpha: float, tmp_path: Path
) -> None:
    net = case(alpha)
    masks = masks_of(net, 5)
    masks["w"][:, 0] = True
    with bench(net, tmp_path, masks) as found:
        found.layers.correct(scaled)
        x = found.fitted()
        now, dense = (net.values(each, x)["y"] for each in (found.tensors(), net.tensors))
        np.testing.assert_allclose(now.mean(0), dense.mean(0), rtol=1e-8, atol=1e-9)
        if scaled:
            np.testing.assert_allclose(now.std(0), dense.std(0), rtol=1e-7)
    with bench(net, tmp_path, masks) as found:
        found.layers.refit()
        check(found, reference(net, masks, found.fitted(), refitted))

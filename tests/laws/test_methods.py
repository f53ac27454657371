"""Every method in the registry: documented, deterministic, one finite score per weight."""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import onnxprune
from onnxprune.planning import make_plan
from onnxprune.recipe import make_recipe
from onnxprune.registry import STATISTICS, entries, find
from onnxprune.scoring import rank
from onnxprune.types import Array
from tests.laws.candidates import statistics, weight_of
from tests.tensors_made import Tensors, normal

METHODS = {entry.name: entry for entry in entries("method")}
MEASURED = sorted(name for name, entry in METHODS.items() if entry.measured)
EVERYTHING = {entry.name: entry for entry in entries()}
WEIGHT = np.random.default_rng(3).standard_normal((6, 5, 3, 3)).astype(np.float32)


def scores_of(name: str, values: Array, seed: int = 0) -> Array:
    weight = weight_of("w", values)
    flat = values.reshape(-1)
    given = statistics(METHODS[name], [weight])
    ranking = rank(weight, lambda _, a, b: flat[a:b], METHODS[name], {}, seed, given)
    return ranking.read(0, values.size)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_one_finite_score_per_weight(name: str) -> None:
    scores = scores_of(name, WEIGHT)
    assert scores.shape == (WEIGHT.size,)
    assert np.isfinite(scores).all()
    assert scores.dtype in (np.float32, np.float64)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_the_same_scores_again(name: str) -> None:
    np.testing.assert_array_equal(scores_of(name, WEIGHT), scores_of(name, WEIGHT))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_leaves_its_weight_as_it_was(name: str) -> None:
    values = WEIGHT.copy()
    values.flags.writeable = False
    scores_of(name, values)
    np.testing.assert_array_equal(values, WEIGHT)


@pytest.mark.parametrize("name", METHODS)
def test_an_elementwise_method_scores_pieces_as_it_scores_the_whole(name: str) -> None:
    if not METHODS[name].elementwise:
        pytest.skip("needs the whole tensor")
    flat = WEIGHT.reshape(-1)
    ranking = rank(weight_of("w", WEIGHT), lambda _, a, b: flat[a:b], METHODS[name], {}, 0)
    pieces = [ranking.read(start, start + 27) for start in range(0, flat.size, 27)]
    np.testing.assert_array_equal(np.concatenate(pieces), scores_of(name, WEIGHT))


@pytest.mark.parametrize("name", EVERYTHING)
def test_an_entry_is_documented_and_lives_in_the_file_of_its_name(name: str) -> None:
    entry = EVERYTHING[name]
    stem = Path(inspect.getfile(entry.function)).stem
    assert stem in (name, name + "_", name + "_file")
    assert entry.summary.endswith(".")
    assert entry.paper
    assert set(entry.needs) <= STATISTICS


@pytest.mark.parametrize("name", EVERYTHING)
def test_an_entry_is_found_by_its_names(name: str) -> None:
    entry = EVERYTHING[name]
    for spelling in (name, *entry.aliases):
        assert find(spelling) is entry


@pytest.mark.parametrize(
    "name", sorted(n for n, e in EVERYTHING.items() if not e.measured and n != "from")
)
@pytest.mark.parametrize("sparsity", [0.0, 0.123, 0.5, 0.9, 0.95])
def test_the_mask_of_any_method_is_exact_on_the_shipped_model(
    name: str, sparsity: float, digits: Path
) -> None:
    try:
        report = onnxprune.prune(digits, sparsity, name, dry_run=True, verify=False)
    except onnxprune.OnnxpruneError as error:
        assert (name, error.exit_code) == ("uniform_plus", 7)
        return
    assert report.mask_zeros == round(sparsity * report.size)
    assert report.zeros == report.mask_zeros


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("sparsity", [0.0, 0.123, 0.5, 0.9, 0.95])
@pytest.mark.parametrize("allocation", [None, "erk", "min_threshold"])
def test_a_plan_of_what_was_measured_is_exact(
    allocation: str | None, sparsity: float, name: str
) -> None:
    made = Tensors(
        {"a": normal("a", 7, 9), "b": normal("b", 5, 2, 3, 3), "c": normal("c", 4, 8)}
    )
    recipe = make_recipe({"sparsity": sparsity, "method": name, "allocation": allocation})
    given = statistics(METHODS[name], made.weights)
    plan = make_plan(recipe, made.weights, made.values, given=given)
    size = sum(weight.size for weight in made.weights)
    assert sum(plan.zeros.values()) == round(sparsity * size)
    for path, gone in made.pruned(plan).items():
        assert gone.sum() == plan.zeros[path]
        scores = plan.rankings[path].read(0, gone.size)
        if gone.any() and not gone.all():
            assert scores[gone.reshape(-1)].max() <= scores[~gone.reshape(-1)].min()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("sparsity", [0.123, 0.5, 0.9])
def test_scores_that_are_compared_by_row_take_the_same_of_every_row(
    sparsity: float, name: str
) -> None:
    made = Tensors({"a": normal("a", 7, 9), "b": normal("b", 5, 2, 3, 3)})
    recipe = make_recipe({"sparsity": sparsity, "method": name, "group": "row"})
    given = statistics(METHODS[name], made.weights)
    plan = make_plan(recipe, made.weights, made.values, given=given)
    assert sum(plan.zeros.values()) == round(sparsity * sum(w.size for w in made.weights))
    for weight in made.weights:
        gone = made.pruned(plan)[weight.path].reshape(-1)
        counts = weight.layout.matrix(gone).sum(1)
        # What is left over is taken from the first rows.
        assert list(counts) == sorted(counts, reverse=True)
        assert counts.max() - counts.min() <= 1
        known = replace(given, zeros=plan.zeros)
        whole = rank(weight, made.values, METHODS[name], {}, 0, known).read(0, weight.size)
        for row, lost in zip(
            weight.layout.matrix(whole), weight.layout.matrix(gone), strict=True
        ):
            assert not lost.any() or lost.all() or row[lost].max() <= row[~lost].min()


@pytest.mark.parametrize("name", MEASURED)
def test_the_mask_of_a_method_that_measures_is_exact_on_the_shipped_model(
    name: str, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXPRUNE_THREADS", "1")
    images = np.random.default_rng(5).standard_normal((4, 1, 8, 8)).astype(np.float32)
    report = onnxprune.prune(
        digits,
        0.9,
        name,
        steps=2,
        data=onnxprune.trial({"image": images, "labels": np.arange(4)}, batch=2, device="cpu"),
        dry_run=True,
        verify=False,
    )
    assert report.zeros == report.mask_zeros == round(0.9 * report.size)


def test_another_seed_draws_other_weights() -> None:
    assert (scores_of("random", WEIGHT, 1) != scores_of("random", WEIGHT, 2)).any()


def test_the_method_of_the_examples_prunes_the_shipped_model(
    digits: Path, tmp_path: Path
) -> None:
    own = digits.parents[1] / "own_method.py"
    report = onnxprune.prune(digits, 0.9, str(own), output=tmp_path / "out.onnx")
    assert report.mask_zeros == round(0.9 * report.size)
    assert own.read_text().count("\n") <= 20

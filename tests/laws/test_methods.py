"""Every method in the registry: documented, deterministic, one finite score per weight."""

import inspect
from pathlib import Path

import numpy as np
import pytest

import onnxprune
from onnxprune.registry import STATISTICS, entries, find
from onnxprune.scoring import rank
from onnxprune.types import Array
from tests.laws.candidates import weight_of

METHODS = {entry.name: entry for entry in entries("method")}
EVERYTHING = {entry.name: entry for entry in entries()}
WEIGHT = np.random.default_rng(3).standard_normal((6, 5, 3, 3)).astype(np.float32)


def scores_of(name: str, values: Array, seed: int = 0) -> Array:
    weight = weight_of("w", values)
    flat = values.reshape(-1)
    ranking = rank(weight, lambda _, a, b: flat[a:b], METHODS[name], {}, seed)
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


@pytest.mark.parametrize("name", sorted(set(EVERYTHING) - {"from"}))
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


def test_another_seed_draws_other_weights() -> None:
    assert (scores_of("random", WEIGHT, 1) != scores_of("random", WEIGHT, 2)).any()


def test_the_method_of_the_examples_prunes_the_shipped_model(
    digits: Path, tmp_path: Path
) -> None:
    own = digits.parents[1] / "own_method.py"
    report = onnxprune.prune(digits, 0.9, str(own), output=tmp_path / "out.onnx")
    assert report.mask_zeros == round(0.9 * report.size)
    assert own.read_text().count("\n") <= 20

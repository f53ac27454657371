"""Comparisons of masks, beside a slow and direct computation."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxprune
from onnxprune.comparing import Comparison, compare, spearman
from onnxprune.errors import InputError
from onnxprune.masks import load, write
from tests.conftest import Ran
from tests.reference_weights import onnx_values
from tests.tensors_made import Array

Run = Callable[..., Ran]


def slow_ranks(values: Sequence[float]) -> list[float]:
    """Rank values from 1, equal ones by the mean of their places."""
    order = sorted(values)
    places = {
        value: [i + 1 for i, v in enumerate(order) if v == value] for value in set(order)
    }
    return [sum(places[value]) / len(places[value]) for value in values]


def slow_spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    one, other = slow_ranks(left), slow_ranks(right)
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return float(np.corrcoef(one, other)[0, 1])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_rank_correlation_with_ties_is_that_of_mean_ranks(
    pairs: list[tuple[int, int]],
) -> None:
    left, right = [pair[0] / 5 for pair in pairs], [pair[1] / 5 for pair in pairs]
    found, expected = spearman(np.array(left), np.array(right)), slow_spearman(left, right)
    assert (found is None) == (expected is None)
    assert found == pytest.approx(expected, abs=1e-12)


def test_rank_correlation_knows_order_only() -> None:
    rising = np.array([0.1, 0.2, 0.3, 0.9])
    assert spearman(rising, rising**3) == pytest.approx(1)
    assert spearman(rising, -rising) == pytest.approx(-1)
    assert spearman(rising, np.array([0.2, 0.1, 0.3, 0.9])) == pytest.approx(0.8)
    assert spearman(rising, np.full(4, 0.5)) is None
    assert spearman(np.array([]), np.array([])) is None


def file_of(masks: dict[str, Array], path: Path) -> Path:
    write(path, masks.items(), "0" * 64)
    return path


def drawn(seed: int, keep: Sequence[float]) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    shapes = [(4, 3), (50,), (2, 3, 4, 5), (1,)]
    return {
        f"t{index}": random.random(shape) < share
        for index, (shape, share) in enumerate(zip(shapes, keep, strict=True))
    }


def check(result: Comparison, one: dict[str, Array], other: dict[str, Array]) -> None:
    """Compare a result with what each definition says, weight by weight."""
    total = sum(mask.size for mask in one.values())
    gaps, both, either, chance_both, chance_either = [], 0, 0, 0.0, 0.0
    for layer, name in zip(result.layers, one, strict=True):
        a, b = one[name].reshape(-1).tolist(), other[name].reshape(-1).tolist()
        size = len(a)
        assert (layer.path, layer.size) == (name, size)
        assert layer.first == pytest.approx(a.count(False) / size)
        assert layer.second == pytest.approx(b.count(False) / size)
        kept_by_both = sum(x and y for x, y in zip(a, b, strict=True))
        kept_by_either = sum(x or y for x, y in zip(a, b, strict=True))
        expected = kept_by_both / kept_by_either if kept_by_either else 1.0
        assert layer.overlap == pytest.approx(expected)
        gaps.append((size, abs(a.count(False) - b.count(False)) / size))
        both += kept_by_both
        either += kept_by_either
        p, q = a.count(True) / size, b.count(True) / size
        chance_both += size * p * q
        chance_either += size * (p + q - p * q)
    assert result.distance == pytest.approx(sum(size / total * gap for size, gap in gaps))
    assert result.largest == pytest.approx(max(gap for _, gap in gaps))
    assert result.overlap == pytest.approx(both / either if either else 1.0)
    assert result.chance == pytest.approx(
        chance_both / chance_either if chance_either else 1.0
    )
    ratios = (
        [layer.first for layer in result.layers],
        [layer.second for layer in result.layers],
    )
    assert result.spearman == pytest.approx(slow_spearman(*ratios))


@pytest.mark.parametrize("seed", range(5))
def test_a_comparison_is_what_its_definitions_say(seed: int, tmp_path: Path) -> None:
    one, other = drawn(seed, [0.5, 0.9, 0.2, 1]), drawn(seed + 100, [0.7, 0.1, 0.3, 1])
    files = [file_of(one, tmp_path / "a"), file_of(other, tmp_path / "b")]
    check(compare(*files), one, other)


def test_masks_that_keep_nothing_are_alike(tmp_path: Path) -> None:
    nothing = {"w": np.zeros((3, 4), bool), "v": np.zeros(0, bool)}
    result = compare(file_of(nothing, tmp_path / "a"), tmp_path / "a")
    assert [layer.overlap for layer in result.layers] == [1.0, 1.0]
    assert (result.overlap, result.chance, result.distance, result.largest) == (1, 1, 0, 0)
    assert result.spearman is None


def test_a_mask_equals_itself(digits: Path, tmp_path: Path) -> None:
    pruned = tmp_path / "p.onnx"
    onnxprune.prune(digits, 0.8, output=pruned, verify=False)
    onnxprune.masks.export(pruned, tmp_path / "m.npz")
    result = compare(pruned, tmp_path / "m.npz")
    assert (result.overlap, result.distance, result.largest) == (1, 0, 0)
    assert result.spearman == pytest.approx(1)
    assert 0.1 < result.chance < 0.3


def test_models_are_compared_by_their_zeros(run: Run, digits: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{method}.onnx" for method in ("lamp", "erk")]
    for file in files:
        onnxprune.prune(digits, 0.9, file.stem, output=file, verify=False)
    masks = [{name: onnx_values(file)[name] != 0 for name in load(digits)} for file in files]
    check(compare(*files), *masks)
    found = json.loads(run("mask", "compare", *files, "--json").out)
    assert found.pop("schema") == 1
    assert found.keys() == {"layers", "distance", "largest", "spearman", "overlap", "chance"}
    assert [layer["path"] for layer in found["layers"]] == list(masks[0])
    printed = run("mask", "compare", *files)
    assert (printed.code, printed.err) == (0, "")
    assert f"rank correlation {found['spearman']:.3f}" in printed.out
    assert f"kept by both over kept by either: {100 * found['overlap']:.1f} %" in printed.out
    assert "fc1.weight     65,536" in printed.out


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": (2, 3)}, "'b' is in one but not in other"),
        ({"a": (2, 3), "b": (4,), "c": (1,)}, "'c' is in other but not in one"),
        ({"a": (3, 2), "b": (4,)}, "'a' has shape [2, 3] in one, [3, 2] in other"),
    ],
)
def test_masks_of_other_tensors_cannot_be_compared(
    other: dict[str, tuple[int, ...]],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file_of({"a": np.ones((2, 3), bool), "b": np.ones(4, bool)}, Path("one"))
    file_of({name: np.ones(shape, bool) for name, shape in other.items()}, Path("other"))
    with pytest.raises(InputError) as refused:
        compare("one", "other")
    assert str(refused.value) == message


def test_small_masks_compare_as_computed_by_hand(tmp_path: Path) -> None:
    one = {"a": np.array([1, 1, 0, 0], bool), "b": np.array([[1, 0], [0, 0]], bool)}
    other = {"a": np.array([0, 1, 1, 0], bool), "b": np.array([[1, 1], [1, 0]], bool)}
    result = compare(file_of(one, tmp_path / "a"), file_of(other, tmp_path / "b"))
    found = [(layer.first, layer.second, layer.overlap) for layer in result.layers]
    assert found == [(0.5, 0.5, pytest.approx(1 / 3)), (0.75, 0.25, pytest.approx(1 / 3))]
    assert (result.distance, result.largest, result.spearman) == (0.25, 0.5, -1)
    assert result.overlap == pytest.approx((1 + 1) / (3 + 3))
    assert result.chance == pytest.approx((1 + 0.75) / (3 + 3.25))


def test_ties_share_the_mean_of_their_ranks() -> None:
    # Ranks 1, 2.5, 2.5, 4 and 2, 1, 3.5, 3.5, each less its mean: 2.25 / sqrt(4.5 * 4.5).
    found = spearman(np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.2, 0.1, 0.4, 0.4]))
    assert found == pytest.approx(2.25 / 4.5)


def test_the_command_refuses_masks_of_other_tensors(run: Run, tmp_path: Path) -> None:
    one = file_of({"w": np.ones((2, 3), bool)}, tmp_path / "a")
    other = file_of({"w": np.ones((3, 2), bool)}, tmp_path / "b")
    for words in ([], ["--json"]):
        ran = run("mask", "compare", one, other, *words)
        assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)
        assert f"'w' has shape [2, 3] in {one}, [3, 2] in {other}" in ran.err


def test_layers_without_a_spread_of_ratios_have_no_rank_correlation(
    run: Run, tmp_path: Path
) -> None:
    masks = {"v": np.array([True, False]), "w": np.array([False, True, True, False])}
    file = file_of(masks, tmp_path / "m")
    assert json.loads(run("mask", "compare", file, file, "--json").out)["spearman"] is None
    assert "rank correlation none" in run("mask", "compare", file, file).out

"""What methods that measure have in common, and what sets them apart."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxprune
from onnxprune.errors import TargetError
from onnxprune.scores.obd import obd
from onnxprune.scores.quadratic import quadratic
from tests.measured import reference
from tests.measured.nets import Array, Net, convolving, layered, masks_of
from tests.measured.pruning import kept_by, pruned
from tests.measured.reference import Asked
from tests.models import constant, model, node

NET = layered()
ONE_STEP = ("iterative_snip", "force", "linear")


def same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    return all(bool((one[name] == other[name]).all()) for name in one)


@pytest.mark.parametrize("net", [NET, convolving()], ids=["layered", "convolving"])
@pytest.mark.parametrize("method", ONE_STEP)
def test_in_one_step_the_gradient_methods_are_snip(
    method: str, net: Net, tmp_path: Path
) -> None:
    snip = kept_by(net, Asked("snip", 0.8), tmp_path)
    assert same(kept_by(net, Asked(method, 0.8), tmp_path), snip)


def test_in_several_steps_they_are_all_different(tmp_path: Path) -> None:
    found = [kept_by(NET, Asked(method, 0.8, 5), tmp_path) for method in ONE_STEP[:2]]
    found.append(kept_by(NET, Asked("grasp_it", 0.8, 5), tmp_path))
    found.append(kept_by(NET, Asked("snip", 0.8), tmp_path))
    assert not any(
        same(one, other) for at, one in enumerate(found) for other in found[at + 1 :]
    )


@pytest.mark.parametrize("method", ["linear", "obd", "quadratic"])
def test_with_a_large_penalty_a_loss_model_is_magnitude(method: str, tmp_path: Path) -> None:
    magnitude = tmp_path / "magnitude.onnx"
    onnxprune.prune(NET.save(tmp_path), 0.8, "magnitude", output=magnitude, verify=False)
    wanted = masks_of(magnitude, list(NET.weights))
    assert same(kept_by(NET, Asked(method, 0.8, 3, penalty=1e9), tmp_path), wanted)
    assert not same(kept_by(NET, Asked(method, 0.8, 3), tmp_path), wanted)


def test_where_the_gradient_is_nothing_the_quadratic_model_is_obd() -> None:
    weight, curvature = NET.weights["second"].astype(np.float64), np.full((8, 7), 0.3)
    curvature[2:5] = 0.7
    for penalty in (0.0, 0.1):
        found = quadratic(
            weight,
            gradient=np.zeros_like(weight),
            curvature=curvature,
            magnitude_penalty=penalty,
        )
        wanted = obd(weight, curvature=curvature, magnitude_penalty=penalty)
        np.testing.assert_array_equal(found, wanted)


def test_away_from_a_minimum_the_gradient_term_counts(tmp_path: Path) -> None:
    asked = [Asked(method, 0.8, 6) for method in ("obd", "quadratic")]
    assert not same(*(kept_by(NET, each, tmp_path) for each in asked))


def after_steps(method: str, tmp_path: Path, steps: int) -> list[dict[str, Array]]:
    """Prune less and less far, so that each mask is one step of the longest run."""
    kept = 1 - 0.9
    found = []
    for step in range(1, steps + 1):
        sparsity = 1 - kept ** (step / steps)
        found.append(kept_by(NET, Asked(method, sparsity, step), tmp_path))
    return found


@pytest.mark.parametrize("method", ["iterative_snip", "grasp_it", "quadratic", "synflow"])
def test_what_fell_in_a_step_stays_away(method: str, tmp_path: Path) -> None:
    found = after_steps(method, tmp_path, 5)
    for before, after in pairwise(found):
        assert all(not (after[name] & ~before[name]).any() for name in after)


def test_in_force_weights_return(tmp_path: Path) -> None:
    found = after_steps("force", tmp_path, 5)
    wanted = list(reference.steps(NET, Asked("force", 0.9, 5)))
    returned = 0
    for before, after in pairwise(found):
        returned += sum(int((after[name] & ~before[name]).sum()) for name in after)
    assert returned > 0
    for mine, theirs in zip(found, wanted, strict=True):
        assert same(mine, theirs)


@pytest.mark.parametrize("method", ["snip", "force", "obd", "grasp", "synflow", "grasp_it"])
@pytest.mark.parametrize("sparsity", [0.0, 0.333, 0.95])
def test_totals_are_exact(method: str, sparsity: float, tmp_path: Path) -> None:
    report = pruned(NET, Asked(method, sparsity, 3), tmp_path)
    assert report.mask_zeros == report.zeros == round(sparsity * NET.size)


@pytest.mark.parametrize("method", ["snip", "iterative_snip", "force", "quadratic"])
def test_min_kept_holds_for_every_tensor(method: str, tmp_path: Path) -> None:
    free = kept_by(NET, Asked(method, 0.95, 3), tmp_path)
    held = kept_by(NET, Asked(method, 0.95, 3), tmp_path, min_kept=2)
    assert min(int(each.sum()) for each in free.values()) < 2
    assert min(int(each.sum()) for each in held.values()) == 2


def test_a_tensor_that_ends_empty_is_warned_of(tmp_path: Path) -> None:
    report = pruned(NET, Asked("snip", 0.99), tmp_path)
    empty = [each.weight.path for each in report.tensors if each.sparsity == 1]
    assert empty
    for path in empty:
        assert report.warnings.count(f"'{path}' ends with no weight at all") == 1


def unbiased() -> Net:
    """A net without biases: where one layer is empty, no gradient is left in any."""
    weights = {
        "first": np.array([[1.0, 0.5], [0.25, 2.0]], np.float32),
        "second": np.array([[0.01, 0.02], [0.03, 0.01]], np.float32),
    }
    nodes = [node("MatMul x first -> a"), node("Tanh a -> b"), node("MatMul b second -> y")]
    proto = model(
        nodes, {"x": ("n", 2)}, "y", [constant(key, each) for key, each in weights.items()]
    )

    def forward(w: dict[str, Any], x: Any, bend: Any) -> Any:
        return bend(x @ w["first"]) @ w["second"]

    x = np.array([[1, 2], [2, -1], [1, 1]], np.float32)
    return Net(proto, weights, {}, forward, x, np.array([0, 1, 0]))


@pytest.mark.parametrize("method", ["iterative_snip", "grasp_it", "linear", "synflow"])
def test_a_collapse_is_an_error_that_names_the_layer(method: str, tmp_path: Path) -> None:
    message = "step 2: all scores of what is left are 0: of 'first' nothing of 4 is left"
    asked = Asked(method, 0.75, 2)
    with pytest.raises(TargetError) as caught:
        pruned(unbiased(), asked, tmp_path, layer={"first": 1.0})
    assert str(caught.value) == f"{tmp_path / 'net.onnx'}: {message}"
    assert "--min-kept" in (caught.value.hint or "")
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_one_kept_weight_is_enough_against_a_collapse(tmp_path: Path) -> None:
    kept = kept_by(unbiased(), Asked("iterative_snip", 0.75, 2), tmp_path, min_kept=1)
    assert [int(each.sum()) for each in kept.values()] == [1, 1]

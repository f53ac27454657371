"""Recovery keeps a pattern: on the way, step by step, and in what is written."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxprune
from onnxprune.recover import falling
from onnxprune.types import Array, Report

SET = Path(__file__).parents[1] / "calibration" / "digits_calibration.npz"
EVENLY = {"allocation": "uniform", "sparsity": 0.4}
FILTERED = ("conv1.weight", "conv2.weight", "fc1.weight")


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPRUNE_THREADS", "1")


def values_of(path: Path) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def recovered(model: Path, output: Path, pattern: str, method: str, **more: Any) -> Report:
    data = onnxprune.trial(SET, device="cpu", batch=50)
    given = {"pattern": pattern, "output": output, "verify": False, "data": data} | more
    return onnxprune.prune(model, given.pop("sparsity", None), method, **given)


def fours(values: Array) -> Array:
    return np.moveaxis(values, 1, -1).reshape(-1, 4)


def hold(output: Path, pattern: str, report: Report) -> None:
    after = values_of(output)
    for tensor in report.tensors:
        values = after[tensor.weight.path]
        # Where inputs are always zero, fitting leaves zeros, too.
        assert (values == 0).sum() >= tensor.mask_zeros
        if pattern == "2:4":
            assert ((fours(values) == 0).sum(1) >= 2).all()
            assert 2 * tensor.mask_zeros == tensor.weight.size
        elif pattern == "block:4x4":
            rows, columns = values.shape[0] // 4, values.shape[1] // 4
            blocks = values.reshape(rows, 4, columns, 4, -1) == 0
            assert (blocks.any((1, 3)) == blocks.all((1, 3))).all()
        else:
            gone = (values == 0).reshape(len(values), -1)
            assert (gone.any(1) == gone.all(1)).all()
            bias = after[tensor.weight.path.replace("weight", "bias")]
            assert not bias[gone.all(1)].any()
            assert bias[~gone.all(1)].all()


@pytest.mark.parametrize(
    ("pattern", "method", "more"),
    [
        ("2:4", "magnitude", {"recover": "refit,bias"}),
        ("2:4", "sparsegpt", {"recover": "sparsegpt"}),
        ("2:4", "magnitude", {"recover": "distill", "epochs": 2, "steps": 6}),
        ("2:4", "force", {"recover": "distill", "epochs": 2, "steps": 4}),
        ("2:4", "magnitude", {"recover": "refit", "steps": 3}),
        (
            "block:4x4",
            "lamp",
            {"recover": "distill", "epochs": 2, "steps": 6, "sparsity": 0.6},
        ),
        ("filters", "magnitude", EVENLY | {"recover": "refit,statistics"}),
        ("filters", "magnitude", EVENLY | {"recover": "distill", "epochs": 9, "steps": 6}),
    ],
)
def test_what_is_written_has_the_pattern(
    pattern: str, method: str, more: dict[str, Any], digits: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.onnx"
    report = recovered(digits, output, pattern, method, **more)
    assert report.recovery is not None
    assert any(step.kept for step in report.recovery.steps)
    assert report.recovery.changed
    hold(output, pattern, report)


@pytest.mark.parametrize("pattern", ["2:4", "filters", "block:4x4"])
def test_what_fell_on_the_way_stays_and_never_breaks_the_pattern(
    pattern: str, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Array]] = []
    original: Callable[..., Any] = falling.masks_of

    def watched(*given: Any) -> Any:
        masks = original(*given)
        shapes = {weight.path: weight.shape for weight in given[0].weights}
        seen.append({path: mask.reshape(shapes[path]) for path, mask in masks.items()})
        return masks

    monkeypatch.setattr(falling, "masks_of", watched)
    more = {} if pattern == "2:4" else {"sparsity": 0.5}
    recovered(
        *(digits, tmp_path / "out.onnx", pattern, "magnitude"),
        **more,
        recover="distill",
        epochs=6,
        steps=7,
    )
    assert len(seen) == 7
    for before, after in pairwise(seen):
        for path, kept in after.items():
            assert not (kept & ~before[path]).any()
    for masks in seen:
        for kept in masks.values():
            if pattern == "2:4":
                assert (fours(kept).sum(1) >= 2).all()
    share = [sum(int((~m).sum()) for m in masks.values()) for masks in seen]
    assert share == sorted(share)
    assert len(set(share)) == 7


@pytest.mark.parametrize("method", ["iterative_snip", "force", "synflow", "snip"])
def test_methods_in_steps_end_with_the_pattern(
    method: str, digits: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.onnx"
    steps = {} if method == "snip" else {"steps": 3}
    for pattern, more in (("2:4", {}), ("filters", {"sparsity": 0.4})):
        report = recovered(digits, output, pattern, method, force=True, **steps, **more)
        hold(output, pattern, report)
        if pattern == "filters":
            assert {each.weight.path for each in report.tensors} == set(FILTERED)
            assert abs(report.mask_zeros - 0.4 * report.size) < 512


def test_sparsegpt_refits_what_its_own_choice_within_groups_left(
    digits: Path, tmp_path: Path
) -> None:
    found = {}
    for method in ("magnitude", "sparsegpt"):
        report = recovered(
            digits, tmp_path / f"{method}.onnx", "2:4", method, recover="sparsegpt"
        )
        assert report.recovery is not None
        found[method] = report.recovery.final.loss
    assert found["sparsegpt"] < found["magnitude"]

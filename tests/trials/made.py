"""Models whose accuracy can be told by eye, their samples, and what two models have in common."""

from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.outcomes import CheckResult, Measured
from onnxprune.studying import check, trial
from onnxprune.trials.trial import Trial
from tests import models

Array = models.Array
Arrays = dict[str, Array]

SCORES = [models.node("Mul s signs -> both"), models.node("Add both bar -> y")]
"""Make of a sum two scores: the first is higher where the sum is at least 1."""

SIGNS = [models.constant("signs", [[1, -1]]), models.constant("bar", [[0, 0.5]])]


def column(name: str, count: int, scale: float = 1.0) -> models.TensorProto:
    """Make a weight of one column: 1, 2, 3 and so on, times the scale."""
    return models.constant(name, [[scale * (row + 1)] for row in range(count)])


def staircase(path: Path, count: int = 10, batch: int | str = "n") -> Path:
    """Write a model that has one more of its samples wrong for each weight that goes."""
    nodes = [models.node("MatMul x w -> s"), *SCORES]
    weights = [column("w", count), *SIGNS]
    return models.save(path, models.model(nodes, {"x": [batch, count]}, "y", weights))


def steps(count: int = 10) -> Arrays:
    """Make the samples of a staircase: each needs one weight, that of its own number."""
    return {"x": np.eye(count, dtype=np.float32), "labels": np.zeros(count, np.int64)}


def branches(path: Path, first: int = 10, second: int = 10, scale: float = 1.0) -> Path:
    """Write a model of two weights, `v` and `w`; the values of `v` are scaled."""
    nodes = [
        models.node("MatMul a v -> from_a"),
        models.node("MatMul b w -> from_b"),
        models.node("Add from_a from_b -> total"),
        models.node("Mul total scale -> s"),
        *SCORES,
    ]
    weights = [
        column("v", first, scale),
        column("w", second),
        models.constant("scale", [1 / scale]),
        *SIGNS,
    ]
    inputs = {"a": ["n", first], "b": ["n", second]}
    return models.save(path, models.model(nodes, inputs, "y", weights))


def needing(first: list[int], second: list[int], sizes: tuple[int, int] = (10, 10)) -> Arrays:
    """Make samples for branches: each needs one weight, of `v` or of `w`."""
    count = len(first) + len(second)
    a, b = (np.zeros((count, size), np.float32) for size in sizes)
    for row, place in enumerate(first):
        a[row, place] = 1
    for row, place in enumerate(second, len(first)):
        b[row, place] = 1
    return {"a": a, "b": b, "labels": np.zeros(count, np.int64)}


def dividing(path: Path, first: float = 1.0) -> Path:
    """Write a model whose output is 0 / 0 for samples whose weight is zero."""
    nodes = [models.node("MatMul x w -> s"), models.node("Div s s -> r")]
    values = [[first], *([float(row)] for row in range(2, 11))]
    weights = [models.constant("w", values)]
    return models.save(path, models.model(nodes, {"x": ["n", 10]}, "r", weights))


def quiet(data: Any, **given: Any) -> Trial:
    """Make a trial on the processor that does not time the models."""
    return trial(data, **({"device": "cpu", "latency": False} | given))


def compared(dense: Path, pruned: Path, data: Any, **given: Any) -> CheckResult:
    """Compare two files."""
    return check(dense, pruned, quiet(data, **given)).result


def measured(dense: Path, pruned: Path, data: Any, **given: Any) -> Measured:
    """Return what two files have in common."""
    return compared(dense, pruned, data, **given).measured


def stored(path: Path, arrays: Arrays) -> Path:
    """Write samples into a file."""
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path

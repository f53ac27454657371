"""Every measure beside a slow and direct computation, however the samples are batched."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.outcomes import OutputCheck, Port
from onnxprune.trials.metrics import Measures
from onnxprune.types import Array

# Few values, so that ties are common; one rules a class out, and no row of them sums to 1.
SCORES = [-math.inf, -3.0, -0.5, 0.0, 0.75, 0.75, 2.0, 30.0]


def measure(
    dense: Array,
    pruned: Array,
    labels: Array | None = None,
    task: str = "auto",
    splits: Sequence[int] = (),
) -> OutputCheck:
    measures = Measures([Port("y", str(dense.dtype), None)], task)
    edges = [0, *sorted(splits), len(dense)]
    for start, end in pairwise(edges):
        part = slice(start, end)
        found = labels[part] if labels is not None else None
        measures.update({"y": dense[part]}, {"y": pruned[part]}, found, {}, start)
    (check,) = measures.result().outputs
    return check


def near(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def slow_best(row: Sequence[float]) -> list[int]:
    """Order classes by their score, the first of equal ones first."""
    return sorted(range(len(row)), key=lambda number: (-row[number], number))


def slow_softmax(row: Sequence[float]) -> list[float]:
    highest = max(row)
    if math.isinf(highest):
        shares = [1.0 if score == highest else 0.0 for score in row]
    else:
        shares = [math.exp(score - highest) for score in row]
    return [share / math.fsum(shares) for share in shares]


def slow_kl(dense: Sequence[float], pruned: Sequence[float]) -> float:
    total = 0.0
    for one, other in zip(dense, pruned, strict=True):
        if one > 0:
            total += one * (math.log(one) - math.log(other)) if other > 0 else math.inf
    return total


def slow_cosine(dense: Sequence[float], pruned: Sequence[float]) -> float:
    left = math.sqrt(math.fsum(value * value for value in dense))
    right = math.sqrt(math.fsum(value * value for value in pruned))
    if left == 0 or right == 0:
        return float(left == right)
    product = math.fsum(a * b for a, b in zip(dense, pruned, strict=True))
    return product / (left * right)


def slow_sqnr(dense: Sequence[float], pruned: Sequence[float]) -> float | None:
    signal = math.fsum(value * value for value in dense)
    noise = math.fsum((a - b) ** 2 for a, b in zip(dense, pruned, strict=True))
    return 10 * math.log10(signal / noise) if signal and noise else None


def random_scores(seed: int, samples: int, classes: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(samples, classes)).astype(np.float32)
    pruned = dense + rng.normal(scale=0.7, size=dense.shape).astype(np.float32)
    return dense, pruned, rng.integers(classes, size=samples)


def check_counts(check: OutputCheck, dense: Array, pruned: Array, labels: Array) -> None:
    rows = list(zip(dense.tolist(), pruned.tolist(), labels.tolist(), strict=True))
    best = [(slow_best(one), slow_best(other), label) for one, other, label in rows]
    assert check.kind == "scores"
    assert check.answers == len(rows)
    assert check.agreed == sum(one[0] == other[0] for one, other, _ in best)
    for found, depth in ((check.top1, 1), (check.top5, 5)):
        if depth >= dense.shape[1]:
            assert found is None
            continue
        right = [(label in a[:depth], label in b[:depth]) for a, b, label in best]
        assert found is not None
        assert found.total == len(rows)
        assert found.dense == sum(one for one, _ in right)
        assert found.pruned == sum(other for _, other in right)
        assert found.lost == sum(one and not other for one, other in right)
        assert found.won == sum(other and not one for one, other in right)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("samples", "classes"), [(1, 2), (37, 5), (200, 6), (64, 20)])
def test_scores_are_measured_as_by_hand(seed: int, samples: int, classes: int) -> None:
    dense, pruned, labels = random_scores(seed, samples, classes)
    check = measure(dense, pruned, labels)
    check_counts(check, dense, pruned, labels)
    pairs = list(zip(dense.tolist(), pruned.tolist(), strict=True))
    divergences = [slow_kl(slow_softmax(a), slow_softmax(b)) for a, b in pairs]
    assert check.kl == pytest.approx(math.fsum(divergences) / samples, rel=1e-12, abs=1e-14)
    cosines = [slow_cosine(a, b) for a, b in pairs]
    assert check.cosine == pytest.approx(math.fsum(cosines) / samples, abs=1e-12)
    sqnr = slow_sqnr(dense.reshape(-1).tolist(), pruned.reshape(-1).tolist())
    assert check.sqnr == pytest.approx(sqnr, abs=1e-10)
    differences = np.abs(dense.astype(np.float64) - pruned.astype(np.float64))
    assert check.max_abs == differences.max()


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_diverge_as_they_are(seed: int) -> None:
    scores, others, _ = random_scores(seed, 50, 4)
    dense = np.array([slow_softmax(row) for row in scores.tolist()]).astype(np.float32)
    pruned = np.array([slow_softmax(row) for row in others.tolist()]).astype(np.float32)
    check = measure(dense, pruned)
    pairs = zip(dense.tolist(), pruned.tolist(), strict=True)
    assert check.kind == "scores"
    assert check.kl == pytest.approx(np.mean([slow_kl(a, b) for a, b in pairs]), rel=1e-12)


@given(st.data())
def test_ties_and_classes_ruled_out_are_measured_as_by_hand(data: st.DataObject) -> None:
    samples, classes = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 8))
    row = st.lists(st.sampled_from(SCORES), min_size=classes, max_size=classes)
    rows = st.lists(row, min_size=samples, max_size=samples)
    dense, pruned = np.array(data.draw(rows)), np.array(data.draw(rows))
    label = st.integers(0, classes - 1)
    labels = np.array(data.draw(st.lists(label, min_size=samples, max_size=samples)))
    check = measure(dense, pruned, labels)
    check_counts(check, dense, pruned, labels)
    pairs = zip(dense.tolist(), pruned.tolist(), strict=True)
    total = sum(slow_kl(slow_softmax(a), slow_softmax(b)) for a, b in pairs)
    assert check.kl is not None
    assert check.kl >= 0
    # Where one share of 1 stands alone, rounding is all that is measured.
    assert check.kl == pytest.approx(total / samples, rel=1e-12, abs=1e-14)


@given(st.data())
def test_how_samples_are_batched_does_not_matter(data: st.DataObject) -> None:
    seed, samples = data.draw(st.integers(0, 99)), data.draw(st.integers(1, 12))
    splits = data.draw(st.lists(st.integers(0, samples), max_size=4))
    dense, pruned, labels = random_scores(seed, samples, 7)
    if data.draw(st.booleans()):
        dense = np.exp(dense) / np.exp(dense).sum(axis=1, keepdims=True)
    answers = labels if data.draw(st.booleans()) else None
    whole = measure(dense, pruned, answers)
    parts = measure(dense, pruned, answers, splits=splits)
    assert (parts.kind, parts.top1, parts.top5) == (whole.kind, whole.top1, whole.top5)
    assert (parts.agreed, parts.answers) == (whole.agreed, whole.answers)
    assert (parts.identical, parts.max_abs) == (whole.identical, whole.max_abs)
    assert near(parts.kl, whole.kl)
    assert near(parts.cosine, whole.cosine)
    assert near(parts.sqnr, whole.sqnr)


@given(st.data())
def test_values_of_any_shape_are_measured_as_by_hand(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    number = st.one_of(
        st.sampled_from([0.0, -1.0, 1.0]), st.floats(-(2.0**100), 2.0**100, width=32)
    )
    size = math.prod(shape)
    values = st.lists(number, min_size=size, max_size=size)
    dense = np.array(data.draw(values), dtype=np.float32).reshape(shape)
    pruned = np.array(data.draw(values), dtype=np.float32).reshape(shape)
    check = measure(dense, pruned, task="values")
    rows = dense.astype(np.float64).reshape(len(dense), -1)
    others = pruned.astype(np.float64).reshape(len(pruned), -1)
    cosines = [slow_cosine(a, b) for a, b in zip(rows.tolist(), others.tolist(), strict=True)]
    assert check.kind == "values"
    assert check.answers == 0
    assert check.cosine == pytest.approx(np.mean(cosines), abs=1e-12)
    sqnr = slow_sqnr(rows.reshape(-1).tolist(), others.reshape(-1).tolist())
    assert check.sqnr == pytest.approx(sqnr, abs=1e-9)
    assert check.max_abs == np.abs(rows - others).max()


def test_segmentation_is_measured_position_by_position() -> None:
    rng = np.random.default_rng(5)
    dense = rng.normal(size=(3, 7, 4, 2)).astype(np.float32)
    pruned = dense + rng.normal(size=dense.shape).astype(np.float32)
    labels = rng.integers(7, size=(3, 4, 2))
    check = measure(dense, pruned, labels)
    places = [(n, y, x) for n in range(3) for y in range(4) for x in range(2)]
    rows = np.array([dense[n, :, y, x] for n, y, x in places])
    others = np.array([pruned[n, :, y, x] for n, y, x in places])
    check_counts(check, rows, others, np.array([labels[place] for place in places]))


def test_large_outputs_are_measured_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    dense, pruned, labels = random_scores(8, 23, 9)
    whole = measure(dense, pruned, labels)
    monkeypatch.setattr("onnxprune.trials.classes.PIECE", 20)
    monkeypatch.setattr("onnxprune.trials.values.PIECE", 4)
    pieces = measure(dense, pruned, labels)
    assert (pieces.top1, pieces.top5, pieces.agreed) == (whole.top1, whole.top5, whole.agreed)
    assert pieces.max_abs == whole.max_abs
    assert pieces.kl == pytest.approx(whole.kl, rel=1e-12)
    assert pieces.cosine == pytest.approx(whole.cosine, rel=1e-12)
    assert pieces.sqnr == pytest.approx(whole.sqnr, rel=1e-12)

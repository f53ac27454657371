"""Reads ratios from files: pruned models, reports, masks, and what a sensitivity measured."""

import json
import math
from fractions import Fraction
from pathlib import Path

from onnxprune.allocations.curves import Curves, Ratios
from onnxprune.errors import InputError, LimitError, about
from onnxprune.formats.files import open_regular
from onnxprune.formats.loading import load_model
from onnxprune.formats.tallies import count_zeros
from onnxprune.formats.wire import read_exactly
from onnxprune.masks import MaskFile
from onnxprune.points import Point, Study
from onnxprune.studies import is_study, read_study
from onnxprune.types import Recipe

REPORT_LIMIT = 1 << 28


def ratios_file(recipe: Recipe) -> Path | None:
    """Return the file that a recipe takes its ratios from, if it does."""
    if recipe.allocation is None or not recipe.allocation.startswith("from:"):
        return None
    return Path(recipe.allocation.removeprefix("from:"))


def read_ratios(path: Path) -> Ratios:
    """Read each tensor's sparsity from a pruned model, a report, masks, or a sensitivity."""
    with about(path):
        file = open_regular(path)
        try:
            head = read_exactly(file.descriptor, 0, min(64, file.size))
            if head.startswith(b"PK\x03\x04"):
                return _of_masks(path)
            if head.lstrip().startswith(b"{"):
                if file.size > REPORT_LIMIT:
                    raise LimitError(f"{file.size / 2**20:.0f} MiB is no report of onnxprune")
                text = read_exactly(file.descriptor, 0, file.size)
                return curves_of(text) if is_study(text) else _of_report(text)
        finally:
            file.close()
        with load_model(path) as model:
            return {
                weight.path: Fraction(count_zeros(model, weight.path), weight.size)
                for weight in model.weights
            }


def _of_masks(path: Path) -> dict[str, Fraction]:
    ratios = {}
    with MaskFile(path) as masks:
        for name in masks:
            mask = masks.mask(name)
            ratios[name] = Fraction(int((~mask).sum()), max(mask.size, 1))
    return ratios


def _of_report(text: bytes) -> dict[str, Fraction]:
    try:
        ratios = {
            str(tensor["name"]): Fraction(int(tensor["zeros"]), int(tensor["size"]))
            for tensor in json.loads(text)["tensors"]
        }
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise InputError("not a report of onnxprune") from error
    for name, ratio in ratios.items():
        if not 0 <= ratio <= 1:
            raise InputError(f"the zeros of '{name}' do not fit its size")
    return ratios


def curves_of(text: bytes) -> Curves:
    """Read what pruning each tensor alone costs: in divergence, else in what there is."""
    study = read_study(text)
    if study.kind != "sensitivity":
        raise InputError(
            f"a {study.kind} has no costs of single tensors",
            "onnxprune sensitivity measures them",
        )
    cost = next(
        (c for c in COSTS if all(_is_known(c(study, p)) for p in study.points if p.measured)),
        None,
    )
    if cost is None:
        raise InputError("its points have no figure in common")
    curves: dict[str, list[tuple[float, float]]] = {method: [] for method in study.methods}
    broken: set[str] = set()
    for point in sorted(study.points, key=lambda point: point.sparsity):
        value = cost(study, point) if point.measured is not None else None
        if value is None:
            # Beyond a sparsity that could not be measured nothing is known to be bearable.
            broken.add(point.method)
        elif point.method not in broken:
            curves[point.method].append((point.sparsity, value))
    return Curves(curves)


def _is_known(cost: float | None) -> bool:
    return cost is not None and math.isfinite(cost)


def _divergence(_: Study, point: Point) -> float | None:
    assert point.measured is not None
    return max((o.kl for o in point.measured.outputs if o.kl is not None), default=None)


def _angle(_: Study, point: Point) -> float | None:
    assert point.measured is not None
    found = [o.cosine for o in point.measured.outputs if o.cosine is not None]
    return 1 - min(found) if found else None


def _loss(study: Study, point: Point) -> float | None:
    return study.dense - point.value if point.value is not None else None


COSTS = (_divergence, _angle, _loss)

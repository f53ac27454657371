"""Applies masks found on one model to another."""

from pathlib import Path

from onnxprune.errors import InputError, UsageError
from onnxprune.formats.loading import Model
from onnxprune.formats.saving import Pruner
from onnxprune.masks import MaskFile
from onnxprune.planning import Plan
from onnxprune.pruning import Settings, default_output, rewrite
from onnxprune.types import Array, Report, Skipped


def apply_masks(path: Path, masks: Path, settings: Settings) -> Report:
    """Zero in a model what a mask file, or another pruned model, does not keep."""
    file = MaskFile(masks)

    def decide(model: Model) -> tuple[Plan, dict[str, Pruner]]:
        known = {weight.path: weight for weight in model.weights}
        for name, shape in file.shapes.items():
            if name not in known:
                raise InputError(
                    f"no prunable tensor '{name}', which {masks} has a mask for",
                    "masks fit models with the same tensor names",
                )
            if known[name].shape != shape:
                found = list(known[name].shape)
                raise InputError(f"'{name}' has shape {found}, its mask {list(shape)}")
        chosen = [weight for weight in model.weights if weight.path in file.shapes]
        rest = [
            Skipped(weight.path, "no mask for it", weight.size)
            for weight in model.weights
            if weight.path not in file.shapes
        ]
        plan = Plan(chosen, rest)
        pruners = {}
        for weight in chosen:
            pruned = ~file.mask(weight.path).reshape(-1)
            plan.zeros[weight.path] = int(pruned.sum())
            if plan.zeros[weight.path]:
                pruners[weight.path] = _pruner(pruned)
        return plan, pruners

    with file:
        refuse_overwriting(masks, path, settings)
        return rewrite(path, settings, decide)


def refuse_overwriting(read: Path, model: Path, settings: Settings) -> None:
    """Refuse an output that is a file we read besides the model."""
    output = settings.output or default_output(model)
    if not settings.dry_run and output.exists() and output.samefile(read):
        raise UsageError(f"the output is the input file {read.name}; name another")


def _pruner(pruned: Array) -> Pruner:
    return lambda start, values: pruned[start : start + values.size]

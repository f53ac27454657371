"""Applies masks found on one model to another."""

from collections.abc import Callable
from pathlib import Path

from onnxprune.errors import InputError, UsageError
from onnxprune.formats.loading import Model
from onnxprune.gradual import GradualPlan
from onnxprune.masks import MaskFile
from onnxprune.planning import Plan
from onnxprune.pruning import Decision, Settings, default_output, edits_of, rewrite
from onnxprune.types import Report, Skipped

Finish = Callable[[Model, GradualPlan], Plan]
"""Does more to a model whose masks are decided."""


def apply_masks(
    path: Path, masks: Path, settings: Settings, finish: Finish | None = None
) -> Report:
    """Zero in a model what a mask file, or another pruned model, does not keep.

    Args:
        path: the model.
        masks: the mask file or model.
        settings: how to work.
        finish: wins back what the masks cost, if that is wanted.
    """
    file = MaskFile(masks)

    def decide(model: Model) -> Decision:
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
        masks_of = {weight.path: file.mask(weight.path).reshape(-1) for weight in chosen}
        zeros = {path: int(mask.size - mask.sum()) for path, mask in masks_of.items()}
        made = GradualPlan(chosen, rest, zeros, masks=masks_of)
        plan = made if finish is None else finish(model, made)
        return Decision(plan, edits_of(plan), plan.additions)

    with file:
        refuse_overwriting(masks, path, settings)
        return rewrite(path, settings, decide)


def refuse_overwriting(read: Path, model: Path, settings: Settings) -> None:
    """Refuse an output that is a file we read besides the model."""
    output = settings.output or default_output(model)
    if not settings.dry_run and output.exists() and output.samefile(read):
        raise UsageError(f"the output is the input file {read.name}; name another")

"""Runs recipes on files: prunes, takes channels out, checks what came of it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxprune.formats.loading import Model, wants_onnx
from onnxprune.gradual import GradualPlan
from onnxprune.planners import assist, planning
from onnxprune.planning import Plan
from onnxprune.pruning import Settings, prune_file
from onnxprune.ranked import company
from onnxprune.types import Recipe, Report

if TYPE_CHECKING:
    from onnxprune.trials.checking import Acceptance
    from onnxprune.trials.trial import Trial


def run_recipe(  # noqa: PLR0913 - a model, what to do with it, on what
    model: Path,
    recipe: Recipe,
    settings: Settings,
    trial: "Trial | None" = None,
    keep_failed: bool = False,
    calibration: "Trial | None" = None,
    example: "Trial | None" = None,
) -> Report:
    """Prune a model file as a recipe says, and check it if there is a trial.

    Args:
        model: the file.
        recipe: what to prune.
        settings: how to work.
        trial: what the pruned model is checked by.
        keep_failed: write it even where the gate fails.
        calibration: what methods measure the model on.
        example: what models are run on that have to compute the same, where there is neither.
    """
    if not company().leads:
        assist(model, recipe, settings.allow_hardlinks, calibration)
    if recipe.remove:
        known = trial or calibration or example
        return _remove(model, recipe, settings, trial, keep_failed, calibration, known)
    if wants_onnx(model, settings.output):
        from onnxprune.converting import prune_to_onnx

        def prune_as(others: Settings) -> Report:
            return run_recipe(model, recipe, others, trial, keep_failed, calibration)

        return prune_to_onnx(model, settings, calibration or trial, prune_as)
    if trial is None:
        return _prune(model, recipe, settings, calibration)
    from onnxprune.trials.checking import Acceptance, check_samples

    check_samples(model, trial, settings.allow_hardlinks)
    acceptance = Acceptance(trial, keep_failed, settings.progress)
    accepted = replace(settings, accept=acceptance)
    report = _prune(model, recipe, accepted, calibration)
    return _concluded(report, acceptance, calibration)


def _remove(  # noqa: PLR0913 - those of `run_recipe`
    model: Path,
    recipe: Recipe,
    settings: Settings,
    trial: "Trial | None",
    keep_failed: bool,
    calibration: "Trial | None",
    example: "Trial | None",
) -> Report:
    """Prune a model file, and take out the channels that fell."""
    from onnxprune.slimming import prune_and_remove
    from onnxprune.trials.checking import Acceptance, check_samples

    def prune_file(path: Path, inner: Settings) -> Report:
        return _prune(path, recipe, inner, calibration)

    if trial is None:
        return prune_and_remove(model, settings, example, True, prune_file)
    check_samples(model, trial, settings.allow_hardlinks)
    acceptance = Acceptance(trial, keep_failed, settings.progress)
    accepted = replace(settings, accept=acceptance)
    report = prune_and_remove(model, accepted, example, False, prune_file)
    return _concluded(report, acceptance, calibration)


def _concluded(
    report: Report, acceptance: "Acceptance", calibration: "Trial | None"
) -> Report:
    """Add what a check showed; refuse a model that failed its gate."""
    from onnxprune.trials.checking import refuse_failed

    report = replace(report, check=acceptance.result)
    if report.recovery is not None and calibration is not None:
        report = _warned(report, acceptance.trial, calibration)
    refuse_failed(acceptance.result, report)
    return report


def apply_recipe(
    model: Path,
    masks: Path,
    recipe: Recipe,
    settings: Settings,
    calibration: "Trial | None" = None,
) -> Report:
    """Apply masks to a model file, and win back what they cost as a recipe says."""
    from onnxprune.applying import apply_masks

    if not recipe.recover:
        return apply_masks(model, masks, settings)
    from onnxprune.calibrating import Calibrator
    from onnxprune.recovering import Recovering

    with Calibrator(calibration, settings.checkpoint, settings.progress) as calibrator:
        recovering = Recovering(calibrator, settings.progress)

        def finish(opened: Model, plan: GradualPlan) -> Plan:
            return recovering.recover(opened, recipe, plan, plan.masks)

        return apply_masks(model, masks, settings, finish)


def _warned(report: Report, trial: "Trial", calibration: "Trial") -> Report:
    """Say so where a model is checked on what it was fitted to."""
    if trial.data is not calibration.data and trial.data != calibration.data:
        return report
    warning = (
        "accuracy is of the samples that the recovery was fitted on, and so too good;"
        " --check SET names others"
    )
    return replace(report, warnings=(*report.warnings, warning))


def _prune(
    model: Path, recipe: Recipe, settings: Settings, calibration: "Trial | None"
) -> Report:
    from onnxprune.applying import refuse_overwriting
    from onnxprune.ratios import ratios_file, read_ratios

    file = ratios_file(recipe)
    ratios = None
    if file is not None:
        ratios = read_ratios(file)
        refuse_overwriting(file, model, settings)
    with planning([recipe], calibration, settings, company()) as planner:
        return prune_file(model, recipe, settings, ratios, planner)

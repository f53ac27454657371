"""The commands as Python functions: the same options, reports and errors."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxprune.bounds import limiting
from onnxprune.formats.loading import Model
from onnxprune.formats.trust import trusting
from onnxprune.gradual import GradualPlan
from onnxprune.inspecting import inspect_file
from onnxprune.patterns.pattern import parse_pattern
from onnxprune.planners import assist, planning
from onnxprune.planning import Plan
from onnxprune.pruning import Settings, prune_file
from onnxprune.ranked import company
from onnxprune.recipe import make_recipe
from onnxprune.storage import DENSE
from onnxprune.types import Recipe, Report

if TYPE_CHECKING:
    from onnxprune.trials.trial import Trial


def prune(  # noqa: PLR0913 - the twin of a command has its options
    model: str | Path,
    sparsity: float | str | None = None,
    method: str | None = None,
    *,
    allocation: str | None = None,
    output: str | Path | None = None,
    force: bool = False,
    dry_run: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    layer: Mapping[str, float] | None = None,
    max_layer_sparsity: float = 1.0,
    min_kept: int = 0,
    min_size: int = 0,
    include_embeddings: bool = False,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    steps: int | None = None,
    schedule: str | None = None,
    batches_per_step: int | None = None,
    precision: str | None = None,
    loss: str | None = None,
    bn: str | None = None,
    curvature: str | None = None,
    group: str | None = None,
    pattern: str | None = None,
    channel_multiple: int | None = None,
    recover: str | Sequence[str] = (),
    epochs: int | None = None,
    time_budget: float | str | None = None,
    lr: float | None = None,
    optimizer: str | None = None,
    augment: str | Sequence[str] | None = None,
    match: Sequence[str] = (),
    label_weight: float | None = None,
    held_out: float | None = None,
    rewind: str | Path | None = None,
    verify: bool = True,
    compressed_size: bool = False,
    allow_hardlinks: bool = False,
    check: "Trial | None" = None,
    keep_failed: bool = False,
    data: "Trial | None" = None,
    checkpoint: str | Path | None = None,
    storage: str = DENSE,
    trust_model: bool = False,
    timeout: float | None = None,
    memory_limit: str | int | None = None,
    max_amplification: float | None = None,
) -> Report:
    """Prune a model file and write the result beside it, or where `output` says.

    Args:
        model: an ONNX file, TorchScript, or an exported program.
        sparsity: zeros over prunable weights, in [0, 1).
        method: a method's or an allocation's name (see `methods()`), or a Python file;
            lamp, or magnitude where only an allocation is named.
        allocation: how zeros are divided among tensors, if not as the method says.
        output: the file to write; `<stem>.pruned.onnx` beside the model by default.
        force: replace an existing output.
        dry_run: report what would happen, write nothing.
        include: prune only tensors that one of these globs matches.
        exclude: leave tensors alone that one of these globs matches.
        layer: sparsities of single tensors, by glob.
        max_layer_sparsity: no tensor gets sparser than this.
        min_kept: every tensor keeps at least so many weights.
        min_size: tensors with fewer elements are left alone.
        include_embeddings: prune lookup tables, too.
        seed: where random numbers start.
        options: options of the method and the allocation themselves.
        steps: in how many steps a method that measures prunes.
        schedule: how the zeros grow over the steps, `exponential` or `linear`.
        batches_per_step: how many batches are measured in each step.
        precision: of what is measured, `float32` or `float64`.
        loss: `cross-entropy`, `mse`, or `module:function`.
        bn: normalise by the file's statistics, `eval`, or by each batch's, `batch`.
        curvature: `exact`, `mc` or `empirical`.
        group: among what the lowest scores fall, `tensor` or `row`.
        pattern: which weights fall together: `unstructured`, N:M such as `2:4`, `block:RxC`,
            or `filters`.
        channel_multiple: with filters, every tensor keeps a multiple of so many.
        recover: what is tried to win accuracy back, of `refit`, `sparsegpt`, `statistics`,
            `bias` and `distill`; each stays only if the model is better for it.
        epochs: how often distillation goes through the samples.
        time_budget: how long it may take, in seconds or as `10m`.
        lr: its largest step, as a share of how large a tensor's values are.
        optimizer: `adamw` or `sgd`.
        augment: how it changes samples, of `flip`, `shift` and `mix`, or `none`.
        match: globs of values inside the graph that are matched besides the outputs.
        label_weight: what labels count beside the dense model's answers.
        held_out: the share of the samples that recovery is judged by.
        rewind: a model file whose values the kept weights take.
        verify: let onnx.checker look at the model.
        compressed_size: compress the whole file for its size instead of samples.
        allow_hardlinks: take external data files that have several names.
        check: run the model before and after on samples (see `trial`); a gate that fails
            raises GateFailed, whose `report` is what was found.
        keep_failed: write the model even if the gate fails.
        data: on what methods that measure the model measure it (see `trial`).
        checkpoint: a folder that keeps finished steps, for the next time.
        storage: how pruned tensors are written, `dense` or `sparse`.
        trust_model: load a model that is a program, as TorchScript is.
        timeout: seconds that a library may take to look at a model; a trial has its own.
        memory_limit: what a child process may take, in bytes or such as `16G`.
        max_amplification: how many times as large as a file may be what it says it holds.
    """
    given = locals()
    values = {each.name: given[each.name] for each in fields(Recipe)}
    values |= {"layer": layer or {}, "options": dict(options or {})}
    recipe = make_recipe(values | {"rewind": str(rewind) if rewind is not None else None})
    settings = Settings(
        output=Path(output) if output is not None else None,
        force=force,
        dry_run=dry_run,
        verify=verify,
        compressed_size=compressed_size,
        allow_hardlinks=allow_hardlinks,
        checkpoint=Path(checkpoint) if checkpoint is not None else None,
        storage=storage,
    )
    bounds = limiting(
        timeout=timeout, memory_limit=memory_limit, max_amplification=max_amplification
    )
    with trusting(trust_model), bounds:
        return run_recipe(Path(model), recipe, settings, check, keep_failed, data)


def run_recipe(  # noqa: PLR0913 - a model, what to do with it, on what
    model: Path,
    recipe: Recipe,
    settings: Settings,
    trial: "Trial | None" = None,
    keep_failed: bool = False,
    calibration: "Trial | None" = None,
) -> Report:
    """Prune a model file as a recipe says, and check it if there is a trial."""
    if not company().leads:
        assist(model, recipe, settings.allow_hardlinks, calibration)
    from onnxprune.formats.loading import wants_onnx

    if wants_onnx(model, settings.output):
        from onnxprune.converting import prune_to_onnx

        def prune_as(others: Settings) -> Report:
            return run_recipe(model, recipe, others, trial, keep_failed, calibration)

        return prune_to_onnx(model, settings, calibration or trial, prune_as)
    if trial is None:
        return _prune(model, recipe, settings, calibration)
    from onnxprune.trials.checking import Acceptance, check_samples, refuse_failed

    check_samples(model, trial, settings.allow_hardlinks)
    acceptance = Acceptance(trial, keep_failed, settings.progress)
    accepted = replace(settings, accept=acceptance)
    report = replace(_prune(model, recipe, accepted, calibration), check=acceptance.result)
    if report.recovery is not None and calibration is not None:
        report = _warned(report, trial, calibration)
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


def inspect(  # noqa: PLR0913 - the twin of a command has its options
    model: str | Path,
    *,
    verify: bool = True,
    compressed_size: bool = False,
    trust_model: bool = False,
    timeout: float | None = None,
    memory_limit: str | int | None = None,
    max_amplification: float | None = None,
    pattern: str | None = None,
) -> Report:
    """Report on a model file as it is.

    Args:
        model: an ONNX file, TorchScript, or an exported program.
        verify: let onnx.checker look at the model.
        compressed_size: compress the whole file for its size instead of samples.
        trust_model: load a model that is a program, as TorchScript is.
        timeout: seconds that a library may take to look at a model; a trial has its own.
        memory_limit: what a child process may take, in bytes or such as `16G`.
        max_amplification: how many times as large as a file may be what it says it holds.
        pattern: N:M or `block:RxC` instead of 2:4 and `block:4x4`, of which every tensor's
            `structure` tells how far it has them.
    """
    settings = Settings(verify=verify, compressed_size=compressed_size)
    bounds = limiting(
        timeout=timeout, memory_limit=memory_limit, max_amplification=max_amplification
    )
    with trusting(trust_model), bounds:
        return inspect_file(Path(model), settings, parse_pattern(pattern or "unstructured"))

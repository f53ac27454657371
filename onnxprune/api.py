"""The commands as Python functions: the same options, reports and errors."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from onnxprune.errors import about
from onnxprune.formats.loading import load_model
from onnxprune.formats.trust import trusting
from onnxprune.planning import resolve
from onnxprune.pruning import Planner, Settings, inspect_file, plan_weights, prune_file
from onnxprune.ranked import ALONE, Company, Dismissed, company
from onnxprune.recipe import make_recipe
from onnxprune.registry import Entry, entries
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
    verify: bool = True,
    compressed_size: bool = False,
    allow_hardlinks: bool = False,
    check: "Trial | None" = None,
    keep_failed: bool = False,
    data: "Trial | None" = None,
    checkpoint: str | Path | None = None,
    trust_model: bool = False,
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
        verify: let onnx.checker look at the model.
        compressed_size: compress the whole file for its size instead of samples.
        allow_hardlinks: take external data files that have several names.
        check: run the model before and after on samples (see `trial`); a gate that fails
            raises GateFailed, whose `report` is what was found.
        keep_failed: write the model even if the gate fails.
        data: on what methods that measure the model measure it (see `trial`).
        checkpoint: a folder that keeps finished steps, for the next time.
        trust_model: load a model that is a program, as TorchScript is.
    """
    recipe = make_recipe(
        {
            "sparsity": sparsity,
            "method": method,
            "allocation": allocation,
            "include": include,
            "exclude": exclude,
            "layer": layer or {},
            "max_layer_sparsity": max_layer_sparsity,
            "min_kept": min_kept,
            "min_size": min_size,
            "include_embeddings": include_embeddings,
            "seed": seed,
            "options": dict(options or {}),
            "steps": steps,
            "schedule": schedule,
            "batches_per_step": batches_per_step,
            "precision": precision,
            "loss": loss,
            "bn": bn,
            "curvature": curvature,
        }
    )
    settings = Settings(
        output=Path(output) if output is not None else None,
        force=force,
        dry_run=dry_run,
        verify=verify,
        compressed_size=compressed_size,
        allow_hardlinks=allow_hardlinks,
        checkpoint=Path(checkpoint) if checkpoint is not None else None,
    )
    with trusting(trust_model):
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
    refuse_failed(acceptance.result, report)
    return report


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


@contextlib.contextmanager
def planning(
    recipes: Sequence[Recipe],
    calibration: "Trial | None",
    settings: Settings,
    sharing: Company = ALONE,
) -> Iterator[Planner]:
    """Return what plans recipes; torch is loaded only if a method measures the model.

    Args:
        recipes: all that will be planned.
        calibration: on what a model is measured.
        settings: how to work.
        sharing: the processes that measure it together.
    """
    if not any(resolve(recipe)[0].measured for recipe in recipes):
        yield plan_weights
        return
    from onnxprune.calibrating import Calibrator, on_samples

    if any(on_samples(recipe) for recipe in recipes):
        sharing.meet()
    with Calibrator(calibration, settings.checkpoint, settings.progress, sharing) as planner:
        yield planner


def assist(
    model: Path, recipe: Recipe, allow_hardlinks: bool, calibration: "Trial | None"
) -> NoReturn:
    """Do what the leading process gives out for one model, then end."""
    if resolve(recipe)[0].measured and calibration is not None:
        from onnxprune.calibrating import Calibrator, on_samples

        if on_samples(recipe):
            company().meet()
            with (
                about(model),
                load_model(model, allow_hardlinks=allow_hardlinks) as opened,
                Calibrator(calibration, company=company()) as calibrator,
            ):
                calibrator.assist(opened, recipe)
    raise Dismissed


def inspect(
    model: str | Path,
    *,
    verify: bool = True,
    compressed_size: bool = False,
    trust_model: bool = False,
) -> Report:
    """Report on a model file as it is.

    Args:
        model: an ONNX file, TorchScript, or an exported program.
        verify: let onnx.checker look at the model.
        compressed_size: compress the whole file for its size instead of samples.
        trust_model: load a model that is a program, as TorchScript is.
    """
    settings = Settings(verify=verify, compressed_size=compressed_size)
    with trusting(trust_model):
        return inspect_file(Path(model), settings)


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """A method or an allocation, as `onnxprune methods` lists it.

    Args:
        name: what `--method` or `--allocation` takes.
        kind: `method` or `allocation`.
        summary: what it does; `paper`: where it comes from.
        needs: what has to be measured or given.
        options: its own options, with their defaults.
        aliases: other names.
        steps: in how many steps a method prunes unless told otherwise.
        samples: how many samples each step measures at least.
        regrow: whether what fell may return.
    """

    name: str
    kind: str
    summary: str
    paper: str
    needs: tuple[str, ...]
    options: dict[str, Any]
    aliases: tuple[str, ...]
    steps: int = 1
    samples: int = 0
    regrow: bool = False


def methods() -> list[MethodInfo]:
    """List what `--method` and `--allocation` take."""
    return [_info(entry) for entry in entries()]


def _info(entry: Entry) -> MethodInfo:
    return MethodInfo(
        entry.name,
        entry.kind,
        entry.summary,
        entry.paper,
        entry.needs,
        dict(entry.options),
        entry.aliases,
        entry.steps,
        entry.samples if entry.measured else 0,
        entry.regrow,
    )

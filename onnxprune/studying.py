"""The commands that run models, as Python functions: check, sweep, search, sensitivity, shrink."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnxprune.errors import UsageError, about
from onnxprune.formats.loading import load_model
from onnxprune.formats.output import check_output
from onnxprune.outcomes import CheckReport
from onnxprune.patterns.demands import fit_pattern, refuse_search
from onnxprune.patterns.pattern import parse_pattern
from onnxprune.planners import assist, planning, refuse_recovery
from onnxprune.points import Study
from onnxprune.pruning import Progress, Settings, default_output
from onnxprune.ranked import company
from onnxprune.recipe import make_recipe, parse_sparsity
from onnxprune.removals import Removal
from onnxprune.running import run_recipe
from onnxprune.samples.opening import Source
from onnxprune.shrinking import RANDOM, shrink_file
from onnxprune.trials.checking import check_files, refuse_failed
from onnxprune.trials.journal import Journal
from onnxprune.trials.searching import search_min_kept, search_sparsity
from onnxprune.trials.sensing import sense_file
from onnxprune.trials.sweeping import sweep_file, variant_of
from onnxprune.trials.trial import Trial, make_trial
from onnxprune.types import Found, Recipe

METHODS = ("lamp", "global", "erk")
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
ALONE = (0.5, 0.7, 0.9)


def trial(data: Source, **given: Any) -> Trial:
    """Say on what models are run and what they have to meet.

    Args:
        data: a file, a folder, `module:function`, a dictionary of arrays by input, or a
            function that yields such dictionaries.
        given: the options of `onnxprune check`, spelt with underscores: how samples are read
            (`inputs`, `labels`, `limit`, `mean`, `std`, `layout`, `cast`, …), where models run
            (`device`, `batch`, `timeout`, `task`, `metric`, `cache`, `latency`), and the gate
            (`max_drop`, `min_accuracy`, `min_agreement`, `max_kl`).
    """
    return make_trial(data, **given)


def check(dense: str | Path, pruned: str | Path, trial: Trial) -> CheckReport:
    """Run two model files on the same samples and say what pruning cost.

    Args:
        dense: the model as it was.
        pruned: the model to compare.
        trial: the samples and the gate; a gate that fails raises GateFailed, whose `report`
            is what was found.
    """
    return check_trial(Path(dense), Path(pruned), trial)


def check_trial(
    dense: Path, pruned: Path, trial: Trial, progress: Progress | None = None
) -> CheckReport:
    """Compare two model files; raise GateFailed where the gate fails."""
    report = check_files(dense, pruned, trial, progress)
    refuse_failed(report.result, report)
    return report


def sweep(
    model: str | Path,
    trial: Trial,
    methods: Sequence[str] = METHODS,
    sparsities: Sequence[float | str] = SPARSITIES,
    *,
    data: Trial | None = None,
    **recipe: Any,
) -> Study:
    """Run a model with several methods at several sparsities, without writing models.

    Args:
        model: an ONNX file.
        trial: the samples.
        methods: methods or allocations; `method+allocation` for a pair.
        sparsities: zeros over prunable weights.
        data: on what methods that measure the model measure it; the trial's samples if not
            given.
        recipe: other fields of a recipe, as `prune` takes them.
    """
    made, tried = make_recipe(recipe), _sparsities(sparsities)
    return run_sweep(Path(model), trial, methods, tried, made, calibration=data or trial)


def run_sweep(  # noqa: PLR0913 - a model, what to try, how
    model: Path,
    trial: Trial,
    methods: Sequence[str],
    sparsities: Sequence[float],
    recipe: Recipe,
    journal: Journal | None = None,
    progress: Progress | None = None,
    calibration: Trial | None = None,
) -> Study:
    """Run a sweep, keeping finished points in a journal."""
    refuse_recovery(recipe)
    _refuse_misfits(recipe, sparsities)
    recipes = [variant_of(recipe, label, 0.0) for label in methods]
    with planning(recipes, calibration, Settings(progress=progress)) as planner:
        return sweep_file(
            model, recipe, methods, sparsities, trial, journal, progress, planner
        )


def search(  # noqa: PLR0913 - the twin of a command has its options
    model: str | Path,
    trial: Trial,
    *,
    over: str = "sparsity",
    resolution: float = 0.01,
    confident: bool = False,
    output: str | Path | None = None,
    force: bool = False,
    data: Trial | None = None,
    **recipe: Any,
) -> Found:
    """Find the largest sparsity within the trial's gate, and write that model.

    Args:
        model: an ONNX file.
        trial: the samples and the gate.
        over: `sparsity`, or `min-kept` for the number of weights every tensor keeps.
        resolution: sparsities are multiples of it.
        confident: the whole interval of the drop stays within `max_drop`.
        output: the file to write; `<stem>.pruned.onnx` beside the model by default.
        force: replace an existing output.
        data: as in `sweep`.
        recipe: fields of a recipe, as `prune` takes them.
    """
    settings = Settings(output=Path(output) if output is not None else None, force=force)
    made = make_recipe(recipe)
    return run_search(
        Path(model), trial, made, settings, over, resolution, confident, data or trial
    )


def run_search(  # noqa: PLR0913 - a model, what to try, how
    model: Path,
    trial: Trial,
    recipe: Recipe,
    settings: Settings,
    over: str = "sparsity",
    resolution: float = 0.01,
    confident: bool = False,
    calibration: Trial | None = None,
) -> Found:
    """Search, then write the model that won."""
    refuse_recovery(recipe)
    refuse_search(recipe, parse_pattern(recipe.pattern))
    if not company().leads:
        assist(model, recipe, settings.allow_hardlinks, calibration)
    # A long search should not end at a file that is in the way.
    links = settings.allow_hardlinks
    with about(model), load_model(model, allow_hardlinks=links) as opened:
        output = settings.output or default_output(model)
        check_output(output, opened.all_files(), settings.force)
    progress = settings.progress
    with planning([recipe], calibration, settings, company()) as planner:
        if over == "sparsity":
            found = search_sparsity(
                model, recipe, trial, resolution, confident, progress, planner
            )
            best = replace(recipe, sparsity=found.setting)
        elif over == "min-kept":
            found = search_min_kept(model, recipe, trial, progress, planner)
            best = replace(recipe, min_kept=int(found.setting))
        else:
            raise UsageError(f"--over is sparsity or min-kept, not '{over}'")
    report = run_recipe(model, best, settings, calibration=calibration)
    return Found(found, replace(report, check=found.result))


def sensitivity(
    model: str | Path,
    trial: Trial,
    sparsities: Sequence[float | str] = ALONE,
    *,
    data: Trial | None = None,
    **recipe: Any,
) -> Study:
    """Prune each tensor alone at several sparsities and measure what that costs.

    Args:
        model: an ONNX file.
        trial: the samples.
        sparsities: of one tensor at a time.
        data: as in `sweep`.
        recipe: which tensors, and what scores them, as `prune` takes it.
    """
    made = make_recipe({"method": "magnitude"} | recipe)
    return run_sensitivity(
        Path(model), trial, _sparsities(sparsities), made, calibration=data or trial
    )


def run_sensitivity(  # noqa: PLR0913 - a model, what to try, how
    model: Path,
    trial: Trial,
    sparsities: Sequence[float],
    recipe: Recipe,
    journal: Journal | None = None,
    progress: Progress | None = None,
    calibration: Trial | None = None,
) -> Study:
    """Measure sensitivities, keeping finished points in a journal."""
    refuse_recovery(recipe)
    if recipe.remove:
        raise UsageError(
            "--remove takes out what falls in several tensors; here each falls alone",
            "--pattern filters",
        )
    _refuse_misfits(recipe, sparsities)
    with planning([recipe], calibration, Settings(progress=progress)) as planner:
        return sense_file(model, recipe, sparsities, trial, journal, progress, planner)


def shrink(  # noqa: PLR0913 - the twin of a command has its options
    model: str | Path,
    *,
    output: str | Path | None = None,
    force: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    compressed_size: bool = False,
    allow_hardlinks: bool = False,
    data: Trial | None = None,
) -> Removal:
    """Take out channels that are zero, and see that the model computes the same.

    Args:
        model: an ONNX file.
        output: the file to write; `<stem>.shrunk.onnx` beside the model by default.
        force: replace an existing output.
        dry_run: do all but put the result in place.
        verify: let onnx.checker look at the result, and run both models beside each other.
        compressed_size: compress whole files for their size instead of samples.
        allow_hardlinks: take external data files that have several names.
        data: on what both models are run; random samples if not given.
    """
    settings = Settings(
        output=Path(output) if output is not None else None,
        force=force,
        dry_run=dry_run,
        verify=verify,
        compressed_size=compressed_size,
        allow_hardlinks=allow_hardlinks,
    )
    return shrink_file(Path(model), settings, data or make_trial(RANDOM))


def _sparsities(given: Sequence[float | str]) -> list[float]:
    return [parse_sparsity(each) for each in given]


def _refuse_misfits(recipe: Recipe, sparsities: Sequence[float]) -> None:
    """Refuse sparsities that the pattern does not have, before anything is run."""
    for sparsity in sparsities:
        fit_pattern(replace(recipe, sparsity=sparsity), parse_pattern(recipe.pattern))

"""The commands that run models: check, sweep, search, sensitivity, shrink."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

# What runs models is imported by the command that does: others should not wait for it.
from onnxprune.cli.given import calibration_of, recipe_of, sparsities_of, trial_of, words
from onnxprune.cli.groups import (
    Bounded,
    Choice,
    Limits,
    Looking,
    Printing,
    Run,
    Set,
    grouped,
)
from onnxprune.cli.meter import Meter
from onnxprune.cli.options import (
    CheckSet,
    Confident,
    Dense,
    DryRun,
    Force,
    Method,
    Methods,
    Model,
    Output,
    Over,
    Pruned,
    Resolution,
    Resume,
    ShrunkOutput,
    Sparsities,
    Sparsity,
    TrustModel,
)
from onnxprune.cli.options import Journal as JournalFile
from onnxprune.cli.show import check_reports, present, presenting
from onnxprune.cli.words import Grouped
from onnxprune.errors import UsageError
from onnxprune.pruning import Settings, default_output
from onnxprune.report.text import show

if TYPE_CHECKING:
    from onnxprune.trials.journal import Journal

LIMIT = "0.01"
"""The drop that a search allows where no gate is given."""


@grouped
def check(
    dense: Dense,
    pruned: Pruned,
    trust_model: TrustModel = False,
    *,
    samples: Set,
    run: Run,
    limits: Limits,
    bounded: Bounded,
    printing: Printing,
) -> None:
    """Run two models on the same samples and show what pruning cost."""
    del trust_model, bounded  # their callbacks have seen to it
    from onnxprune.studying import check_trial

    check_reports(printing, [dense, pruned], checked=True)
    trial = trial_of(samples, run, limits)
    with Meter(printing.quiet) as meter, presenting(printing) as result:
        result(check_trial(dense, pruned, trial, meter))


@grouped
def sweep(
    model: Model,
    methods: Methods = "lamp,global,erk",
    sparsities: Sparsities = "0.5,0.7,0.8,0.9,0.95",
    journal: JournalFile = None,
    resume: Resume = False,
    check: CheckSet = None,
    trust_model: TrustModel = False,
    *,
    choice: Choice,
    samples: Set,
    run: Run,
    bounded: Bounded,
    printing: Printing,
) -> None:
    """Run a model with several methods at several sparsities, without writing models."""
    del trust_model, bounded
    from onnxprune.studying import run_sweep

    check_reports(printing, [model, choice.recipe], study=True)
    recipe = recipe_of(choice)
    trial = trial_of(samples, run, Limits(), check, recipe.seed)
    calibration = calibration_of(samples, run, recipe.seed)
    tried = words(methods), sparsities_of(sparsities)
    with _keeping(model, "sweep", journal, resume) as kept:
        with Meter(printing.quiet) as meter:
            study = run_sweep(model, trial, *tried, recipe, kept, meter, calibration)
        present(study, printing)


@grouped
def search(
    model: Model,
    sparsity: Sparsity = None,
    method: Method = None,
    over: Over = "sparsity",
    resolution: Resolution = 0.01,
    confident: Confident = False,
    output: Output = None,
    force: Force = False,
    check: CheckSet = None,
    *,
    choice: Choice,
    samples: Set,
    run: Run,
    limits: Limits,
    looking: Looking,
    bounded: Bounded,
    printing: Printing,
) -> None:
    """Find the largest sparsity within a budget, and write that model."""
    del bounded
    from onnxprune.studying import run_search

    check_reports(
        printing, [model, output or default_output(model), choice.recipe], study=True
    )
    if over == "min-kept":
        method = method or "global"
    elif sparsity is not None:
        raise UsageError("search finds the sparsity itself", "--over min-kept takes one")
    elif not limits.given:
        limits = Limits(max_drop=LIMIT)
    recipe = recipe_of(choice, method, sparsity)
    trial = trial_of(samples, run, limits, check, recipe.seed)
    calibration = calibration_of(samples, run, recipe.seed)
    with Meter(printing.quiet) as meter:
        settings = Settings(
            output=output,
            force=force,
            verify=not looking.no_verify,
            compressed_size=looking.compressed_size,
            allow_hardlinks=looking.allow_hardlinks,
            progress=meter,
        )
        how = over, resolution, confident, calibration
        found = run_search(model, trial, recipe, settings, *how)
    present(found, printing)


@grouped
def sensitivity(
    model: Model,
    method: Method = None,
    sparsities: Sparsities = "0.5,0.7,0.9",
    journal: JournalFile = None,
    resume: Resume = False,
    check: CheckSet = None,
    trust_model: TrustModel = False,
    *,
    choice: Choice,
    samples: Set,
    run: Run,
    bounded: Bounded,
    printing: Printing,
) -> None:
    """Prune each tensor alone at several sparsities and show what that costs."""
    del trust_model, bounded
    from onnxprune.studying import run_sensitivity

    check_reports(printing, [model, choice.recipe], study=True)
    recipe = recipe_of(choice, method or "magnitude")
    trial = trial_of(samples, run, Limits(), check, recipe.seed)
    calibration = calibration_of(samples, run, recipe.seed)
    tried = sparsities_of(sparsities)
    with _keeping(model, "sensitivity", journal, resume) as kept:
        with Meter(printing.quiet) as meter:
            study = run_sensitivity(model, trial, tried, recipe, kept, meter, calibration)
        present(study, printing)


@grouped
def shrink(
    model: Model,
    output: ShrunkOutput = None,
    force: Force = False,
    dry_run: DryRun = False,
    *,
    samples: Set,
    run: Run,
    looking: Looking,
    bounded: Bounded,
    printing: Printing,
) -> None:
    """Take out channels that are zero, and see that the model computes the same."""
    del bounded
    from onnxprune.shrinking import RANDOM, shrink_file

    check_reports(printing, [model, output or default_output(model, "shrunk")])
    trial = trial_of(samples, run, Limits(), samples.data or RANDOM)
    with Meter(printing.quiet) as meter:
        settings = Settings(
            output=output,
            force=force,
            dry_run=dry_run,
            verify=not looking.no_verify,
            compressed_size=looking.compressed_size,
            allow_hardlinks=looking.allow_hardlinks,
            progress=meter,
        )
        removal = shrink_file(model, settings, trial)
    present(removal, printing)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (check, sweep, search, sensitivity, shrink):
        app.command(cls=Grouped)(command)


@contextlib.contextmanager
def _keeping(model: Path, kind: str, file: Path | None, resume: bool) -> Iterator["Journal"]:
    """Keep finished points in a file until they are reported, and say so if that fails."""
    from onnxprune.trials.journal import Journal

    path = file or Path(f"{model.stem}.{kind}.partial.json")
    journal = Journal(path, resume)
    try:
        yield journal
    except BaseException:
        if journal.kept:
            sys.stderr.write(
                f"onnxprune: {journal.kept} finished points are in {show(str(path))};"
                " --resume goes on from them\n"
            )
        raise
    journal.end()

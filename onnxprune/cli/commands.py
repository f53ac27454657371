"""The commands and their options."""

import json
import sys
from dataclasses import asdict
from typing import Any

import typer

from onnxprune.cli import checks
from onnxprune.cli.given import (
    calibration_of,
    checked,
    example_of,
    pruning_recipe,
    recipe_of,
    trial_of,
)
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
    Checkpoint,
    CheckSet,
    DenseOutput,
    DryRun,
    First,
    Force,
    Json,
    KeepFailed,
    MaskOutput,
    Masks,
    Method,
    Model,
    NoVerify,
    Output,
    Pattern,
    Quiet,
    Second,
    Sparsity,
    Storage,
    Timeout,
    TrustModel,
)
from onnxprune.cli.recovery import Recovery
from onnxprune.cli.show import check_reports, present, presenting
from onnxprune.cli.words import Grouped
from onnxprune.errors import UsageError
from onnxprune.inspecting import inspect_file
from onnxprune.listing import methods as list_methods
from onnxprune.patterns.pattern import parse_pattern
from onnxprune.pruning import Settings, default_output
from onnxprune.report.text import count, percent, show
from onnxprune.running import apply_recipe, run_recipe
from onnxprune.storage import DENSE

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
mask = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(mask, name="mask", help="Export, apply or compare masks.")


@app.command(cls=Grouped)
@grouped
def prune(
    model: Model,
    sparsity: Sparsity = None,
    method: Method = None,
    output: Output = None,
    force: Force = False,
    dry_run: DryRun = False,
    keep_failed: KeepFailed = False,
    check: CheckSet = None,
    checkpoint: Checkpoint = None,
    storage: Storage = DENSE,
    *,
    choice: Choice,
    recovery: Recovery,
    samples: Set,
    run: Run,
    limits: Limits,
    looking: Looking,
    bounded: Bounded,
    printing: Printing,
) -> None:
    """Prune a model: score its weights, zero the least important, report."""
    del bounded
    check_reports(
        printing,
        [model, output or default_output(model), choice.recipe],
        checked(samples, check),
    )
    recipe = pruning_recipe(model, choice, method, sparsity, recovery)
    trial = None
    if checked(samples, check):
        trial = trial_of(samples, run, limits, check, recipe.seed)
    elif limits.given:
        raise UsageError("a gate needs samples to run the models on", "--data SET names them")
    calibration = calibration_of(samples, run, recipe.seed)
    example = example_of(recipe, samples, run)
    with Meter(printing.quiet) as meter:
        settings = Settings(
            output=output,
            force=force,
            dry_run=dry_run,
            verify=not looking.no_verify,
            compressed_size=looking.compressed_size,
            allow_hardlinks=looking.allow_hardlinks,
            progress=meter,
            checkpoint=checkpoint,
            storage=storage,
        )
        with presenting(printing) as result:
            made = run_recipe(
                model, recipe, settings, trial, keep_failed, calibration, example
            )
            result(made)


@app.command(cls=Grouped)
@grouped
def inspect(
    model: Model,
    pattern: Pattern = None,
    timeout: Timeout = None,
    *,
    printing: Printing,
    looking: Looking,
    bounded: Bounded,
) -> None:
    """Show a model's weights, zeros and the tensors that cannot be pruned."""
    del timeout, bounded
    check_reports(printing, [model])
    settings = Settings(
        verify=not looking.no_verify,
        compressed_size=looking.compressed_size,
        allow_hardlinks=looking.allow_hardlinks,
    )
    wanted = parse_pattern(pattern or "unstructured")
    present(inspect_file(model, settings, wanted), printing)


@app.command(cls=Grouped)
@grouped
def densify(
    model: Model,
    output: DenseOutput = None,
    force: Force = False,
    timeout: Timeout = None,
    *,
    printing: Printing,
    looking: Looking,
    bounded: Bounded,
) -> None:
    """Make a model's sparse tensors dense again, for tools that read no others."""
    del timeout, bounded
    from onnxprune.densifying import densify_file

    check_reports(printing, [model, output or default_output(model, "dense")])
    settings = Settings(
        output=output,
        force=force,
        verify=not looking.no_verify,
        compressed_size=looking.compressed_size,
        allow_hardlinks=looking.allow_hardlinks,
    )
    present(densify_file(model, settings), printing)


@app.command(cls=Grouped)
def methods(as_json: Json = False) -> None:
    """List what --method and --allocation take, with the papers."""
    found = list_methods()
    if as_json:
        sys.stdout.write(
            json.dumps([asdict(info) for info in found], indent=2, default=str) + "\n"
        )
        return
    from onnxprune.cli.console import make_console
    from onnxprune.report.terminal import print_on, render_methods

    print_on(make_console(), render_methods(found))


@mask.command("export", cls=Grouped)
@grouped
def mask_export(
    pruned: Model,
    output: MaskOutput,
    force: Force = False,
    quiet: Quiet = False,
    trust_model: TrustModel = False,
    timeout: Timeout = None,
    *,
    bounded: Bounded,
) -> None:
    """Write the mask that a pruned model's zeros make."""
    del trust_model, timeout, bounded  # their callbacks have seen to it
    from onnxprune.masks import export

    made = export(pruned, output, force)
    if not quiet:
        share = percent(made.zeros / made.size if made.size else 0.0)
        sys.stdout.write(
            f"{show(made.output)}: {made.tensors} tensors,"
            f" {count(made.zeros)} of {count(made.size)} weights pruned ({share})\n"
        )


@mask.command("apply", cls=Grouped)
@grouped
def mask_apply(
    model: Model,
    masks: Masks,
    output: Output = None,
    force: Force = False,
    dry_run: DryRun = False,
    no_verify: NoVerify = False,
    trust_model: TrustModel = False,
    checkpoint: Checkpoint = None,
    storage: Storage = DENSE,
    *,
    recovery: Recovery,
    samples: Set,
    run: Run,
    bounded: Bounded,
    printing: Printing,
) -> None:
    """Zero in a model what a mask found on another does not keep."""
    del trust_model, bounded
    recipe = recipe_of(Choice(), recovery=recovery)
    calibration = calibration_of(samples, run, recipe.seed)
    check_reports(printing, [model, output or default_output(model), masks])
    with Meter(printing.quiet) as meter:
        settings = Settings(
            output=output,
            force=force,
            dry_run=dry_run,
            verify=not no_verify,
            progress=meter,
            checkpoint=checkpoint,
            storage=storage,
        )
        result = apply_recipe(model, masks, recipe, settings, calibration)
    present(result, printing)


@mask.command("compare", cls=Grouped)
@grouped
def mask_compare(
    first: First,
    second: Second,
    as_json: Json = False,
    trust_model: TrustModel = False,
    timeout: Timeout = None,
    *,
    bounded: Bounded,
) -> None:
    """Compare two masks layer by layer: ratios, and whether the same weights stay."""
    del trust_model, timeout, bounded
    from onnxprune.cli.console import make_console
    from onnxprune.comparing import compare
    from onnxprune.report.as_json import comparison_to_json
    from onnxprune.report.terminal import print_on, render_comparison

    result = compare(first, second)
    if as_json:
        sys.stdout.write(comparison_to_json(result) + "\n")
        return
    console = make_console()
    print_on(console, render_comparison(result, not console.is_terminal))


checks.register(app)
command: Any = typer.main.get_command(app)

"""The commands and their options."""

import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import typer

from onnxprune.api import methods as list_methods
from onnxprune.api import run_recipe
from onnxprune.cli.meter import Meter
from onnxprune.cli.options import (
    Allocation,
    Compressed,
    DryRun,
    Embeddings,
    Exclude,
    First,
    Force,
    Hardlinks,
    Include,
    Json,
    Layer,
    MaskOutput,
    Masks,
    MaxLayerSparsity,
    Method,
    MinKept,
    MinSize,
    Model,
    NoVerify,
    Output,
    Own,
    Quiet,
    RecipeFile,
    Reports,
    Second,
    Seed,
    Sparsity,
)
from onnxprune.cli.show import check_reports, present
from onnxprune.cli.words import Grouped
from onnxprune.errors import UsageError
from onnxprune.pruning import Settings, default_output, inspect_file
from onnxprune.recipe import make_recipe, read_recipe
from onnxprune.report.text import count, percent, show
from onnxprune.types import Recipe

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
mask = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(mask, name="mask", help="Export, apply or compare masks.")


@app.command(cls=Grouped)
def prune(
    model: Model,
    sparsity: Sparsity = None,
    method: Method = None,
    allocation: Allocation = None,
    options: Own = None,
    include: Include = None,
    exclude: Exclude = None,
    layer: Layer = None,
    max_layer_sparsity: MaxLayerSparsity = None,
    min_kept: MinKept = None,
    min_size: MinSize = None,
    include_embeddings: Embeddings = False,
    seed: Seed = None,
    recipe: RecipeFile = None,
    output: Output = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    report: Reports = None,
    quiet: Quiet = False,
    no_verify: NoVerify = False,
    compressed_size: Compressed = False,
    allow_hardlinks: Hardlinks = False,
) -> None:
    """Prune a model: score its weights, zero the least important, report."""
    check_reports(report or [], [model, output or default_output(model), recipe])
    given = {
        "sparsity": sparsity,
        "method": method,
        "allocation": allocation,
        "options": _settings(options or []) or None,
        "include": include,
        "exclude": exclude,
        "layer": layer,
        "max_layer_sparsity": max_layer_sparsity,
        "min_kept": min_kept,
        "min_size": min_size,
        "include_embeddings": include_embeddings or None,
        "seed": seed,
    }
    made = _recipe(model, recipe, given)
    with Meter(quiet) as meter:
        settings = Settings(
            output=output,
            force=force,
            dry_run=dry_run,
            verify=not no_verify,
            compressed_size=compressed_size,
            allow_hardlinks=allow_hardlinks,
            progress=meter,
        )
        result = run_recipe(model, made, settings)
    present(result, as_json, quiet, report or [])


@app.command(cls=Grouped)
def inspect(
    model: Model,
    as_json: Json = False,
    report: Reports = None,
    quiet: Quiet = False,
    no_verify: NoVerify = False,
    compressed_size: Compressed = False,
    allow_hardlinks: Hardlinks = False,
) -> None:
    """Show a model's weights, zeros and the tensors that cannot be pruned."""
    check_reports(report or [], [model])
    settings = Settings(
        verify=not no_verify,
        compressed_size=compressed_size,
        allow_hardlinks=allow_hardlinks,
    )
    present(inspect_file(model, settings), as_json, quiet, report or [])


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
def mask_export(
    pruned: Model,
    output: MaskOutput,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write the mask that a pruned model's zeros make."""
    from onnxprune.masks import export

    made = export(pruned, output, force)
    if not quiet:
        share = percent(made.zeros / made.size if made.size else 0.0)
        sys.stdout.write(
            f"{show(made.output)}: {made.tensors} tensors,"
            f" {count(made.zeros)} of {count(made.size)} weights pruned ({share})\n"
        )


@mask.command("apply", cls=Grouped)
def mask_apply(
    model: Model,
    masks: Masks,
    output: Output = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    report: Reports = None,
    quiet: Quiet = False,
    no_verify: NoVerify = False,
) -> None:
    """Zero in a model what a mask found on another does not keep."""
    from onnxprune.applying import apply_masks

    check_reports(report or [], [model, output or default_output(model), masks])
    with Meter(quiet) as meter:
        settings = Settings(
            output=output, force=force, dry_run=dry_run, verify=not no_verify, progress=meter
        )
        result = apply_masks(model, masks, settings)
    present(result, as_json, quiet, report or [])


@mask.command("compare", cls=Grouped)
def mask_compare(
    first: First,
    second: Second,
    as_json: Json = False,
) -> None:
    """Compare two masks layer by layer: ratios, and whether the same weights stay."""
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


def _recipe(model: Path, file: Path | None, given: dict[str, Any]) -> Recipe:
    values = read_recipe(file) if file is not None else {}
    own = values.get("options")
    if isinstance(own, dict) and given["options"]:
        given["options"] = own | given["options"]
    values.update({name: value for name, value in given.items() if value is not None})
    allocation = values.get("allocation")
    takes_total = isinstance(allocation, str) and allocation.startswith("from:")
    if values.get("sparsity") is None and not takes_total:
        raise UsageError(
            "how much should go? try --sparsity 0.5",
            f"onnxprune inspect {model} shows what is there",
        )
    assert set(values) <= {field.name for field in fields(Recipe)}
    return make_recipe(values)


def _settings(pairs: list[str]) -> dict[str, str]:
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set takes NAME=VALUE, not '{pair}'")
        settings[name.replace("-", "_")] = value
    return settings


command: Any = typer.main.get_command(app)

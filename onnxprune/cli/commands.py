"""The commands and their options."""

import json
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import onnxprune.masks as mask_files
from onnxprune.api import methods as list_methods
from onnxprune.api import run_recipe
from onnxprune.applying import apply_masks
from onnxprune.cli.show import Meter, check_reports, make_console, present
from onnxprune.comparing import compare
from onnxprune.errors import UsageError
from onnxprune.pruning import Settings, inspect_file
from onnxprune.recipe import make_recipe, read_recipe
from onnxprune.report.as_json import comparison_to_json
from onnxprune.report.terminal import render_comparison
from onnxprune.report.text import count, percent, show
from onnxprune.types import Recipe

WHAT, WHERE, HOW, REPORTS = "What to prune", "Files", "Method", "Reports"
app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
mask = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)
app.add_typer(mask, name="mask", help="Export, apply or compare masks.")

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")]
Json = Annotated[bool, typer.Option("--json", help="The report as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Reports = Annotated[
    list[Path] | None,
    typer.Option(
        "--report", metavar="FILE", help="Also write it as .json, .md, .html or .txt."
    ),
]
NoVerify = Annotated[
    bool, typer.Option("--no-verify", help="Do not let onnx.checker look at the model.")
]
Compressed = Annotated[
    bool, typer.Option("--compressed-size", help="Compress whole files, not samples of them.")
]
Hardlinks = Annotated[
    bool, typer.Option("--allow-hardlinks", help="Take data files that have several names.")
]


@app.command()
def prune(
    model: Model,
    sparsity: Annotated[
        str | None, typer.Option("-s", "--sparsity", metavar="S", help="Such as 0.9 or 90%.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("-m", "--method", metavar="NAME", help="A name or a .py file; lamp."),
    ] = None,
    allocation: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How zeros are divided; also from:FILE."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the method's own."),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Prune only these tensors.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Leave these tensors alone.")
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB=S", help="The sparsity of the tensors that match."),
    ] = None,
    max_layer_sparsity: Annotated[
        str | None, typer.Option(metavar="S", help="No tensor gets sparser.")
    ] = None,
    min_kept: Annotated[
        int | None, typer.Option(metavar="N", help="Every tensor keeps at least N weights.")
    ] = None,
    min_size: Annotated[
        int | None, typer.Option(metavar="N", help="Leave smaller tensors alone.")
    ] = None,
    include_embeddings: Annotated[
        bool, typer.Option("--include-embeddings", help="Prune lookup tables, too.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Where random numbers start.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="These options, from a file; options win."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: MODEL.pruned.onnx."),
    ] = None,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what would happen, write nothing.")
    ] = False,
    as_json: Json = False,
    report: Reports = None,
    quiet: Quiet = False,
    no_verify: NoVerify = False,
    compressed_size: Compressed = False,
    allow_hardlinks: Hardlinks = False,
) -> None:
    """Prune a model: score its weights, zero the least important, report."""
    check_reports(report or [])
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


@app.command()
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
    check_reports(report or [])
    settings = Settings(
        verify=not no_verify,
        compressed_size=compressed_size,
        allow_hardlinks=allow_hardlinks,
    )
    present(inspect_file(model, settings), as_json, quiet, report or [])


@app.command()
def methods(as_json: Json = False) -> None:
    """List what --method and --allocation take, with the papers."""
    found = list_methods()
    if as_json:
        sys.stdout.write(json.dumps([asdict(info) for info in found], indent=2) + "\n")
        return
    table = Table(box=None, pad_edge=False, show_header=True, header_style="")
    table.add_column("name", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("what it does, and where it comes from", overflow="fold")
    for info in found:
        needs = f"; needs {', '.join(info.needs)}" if info.needs else ""
        own = "".join(f"; --set {name}={value}" for name, value in info.options.items())
        table.add_row(
            Text("\n".join((info.name, *info.aliases))),
            Text(info.kind),
            Text(f"{info.summary}\n{info.paper}{needs}{own}"),
        )
    make_console().print(table)


@mask.command("export")
def mask_export(
    pruned: Model,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.npz")],
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Write the mask that a pruned model's zeros make."""
    made = mask_files.export(pruned, output, force)
    if not quiet:
        share = percent(made.zeros / made.size if made.size else 0.0)
        sys.stdout.write(
            f"{show(made.output)}: {made.tensors} tensors,"
            f" {count(made.zeros)} of {count(made.size)} weights pruned ({share})\n"
        )


@mask.command("apply")
def mask_apply(
    model: Model,
    masks: Annotated[Path, typer.Argument(metavar="MASKS", help="A .npz or a pruned model.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="As for prune.")
    ] = None,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what would happen, write nothing.")
    ] = False,
    as_json: Json = False,
    report: Reports = None,
    quiet: Quiet = False,
    no_verify: NoVerify = False,
) -> None:
    """Zero in a model what a mask found on another does not keep."""
    check_reports(report or [])
    with Meter(quiet) as meter:
        settings = Settings(
            output=output, force=force, dry_run=dry_run, verify=not no_verify, progress=meter
        )
        result = apply_masks(model, masks, settings)
    present(result, as_json, quiet, report or [])


@mask.command("compare")
def mask_compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A .npz or a pruned model.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    as_json: Json = False,
) -> None:
    """Compare two masks layer by layer: ratios, and whether the same weights stay."""
    result = compare(first, second)
    if as_json:
        sys.stdout.write(comparison_to_json(result) + "\n")
        return
    console = make_console()
    console.print(render_comparison(result, not console.is_terminal))


def _recipe(model: Path, file: Path | None, given: dict[str, Any]) -> Recipe:
    values = read_recipe(file) if file is not None else {}
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

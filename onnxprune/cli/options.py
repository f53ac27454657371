"""The options of the commands: their spellings, help and groups."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

what = partial(typer.Option, rich_help_panel="What to prune")
how = partial(typer.Option, rich_help_panel="Method")
measuring = partial(typer.Option, rich_help_panel="Measuring")
where = partial(typer.Option, rich_help_panel="Files")
reports = partial(typer.Option, rich_help_panel="Reports")

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="An ONNX file, TorchScript or a .pt2.")
]
Masks = Annotated[Path, typer.Argument(metavar="MASKS", help="A .npz or a pruned model.")]
Dense = Annotated[Path, typer.Argument(metavar="DENSE", help="The model as it was.")]
Pruned = Annotated[Path, typer.Argument(metavar="PRUNED", help="The model to compare.")]
First = Annotated[Path, typer.Argument(metavar="A", help="A .npz or a pruned model.")]
Second = Annotated[Path, typer.Argument(metavar="B", help="Another.")]

Sparsity = Annotated[
    str | None, what("-s", "--sparsity", metavar="S", help="Such as 0.9 or 90%.")
]
Include = Annotated[list[str] | None, what(metavar="GLOB", help="Prune only these tensors.")]
Exclude = Annotated[list[str] | None, what(metavar="GLOB", help="Leave these tensors alone.")]
Layer = Annotated[
    list[str] | None,
    what(metavar="GLOB=S", help="The sparsity of the tensors that match."),
]
MaxLayerSparsity = Annotated[str | None, what(metavar="S", help="No tensor gets sparser.")]
MinKept = Annotated[
    int | None, what(metavar="N", help="Every tensor keeps at least N weights.")
]
MinSize = Annotated[int | None, what(metavar="N", help="Leave smaller tensors alone.")]
Embeddings = Annotated[bool, what("--include-embeddings", help="Prune lookup tables, too.")]

Method = Annotated[
    str | None, how("-m", "--method", metavar="NAME", help="A name or a .py file; lamp.")
]
Allocation = Annotated[
    str | None, how(metavar="NAME", help="How zeros are divided; also from:FILE.")
]
Own = Annotated[
    list[str] | None, how("--set", metavar="NAME=VALUE", help="An option of the method's own.")
]
Group = Annotated[
    str | None, how(metavar="tensor|row", help="Among what the lowest scores fall.")
]
Seed = Annotated[int | None, how(metavar="N", help="Where random numbers start.")]
Penalty = Annotated[
    float | None,
    how("--magnitude-penalty", metavar="L", help="Adds L/2 w² to a loss model's score."),
]
Steps = Annotated[
    int | None, measuring("--steps", metavar="T", help="Measure and prune in T steps.")
]
Schedule = Annotated[
    str | None, measuring(metavar="exponential|linear|cubic", help="How the zeros grow.")
]
BatchesPerStep = Annotated[
    int | None, measuring(metavar="B", help="Batches to measure in each step.")
]
Precision = Annotated[
    str | None, measuring(metavar="float32|float64", help="Of what is measured.")
]
Loss = Annotated[
    str | None,
    measuring(metavar="NAME", help="cross-entropy, mse, or module:function."),
]
Bn = Annotated[
    str | None,
    measuring(
        "--bn", metavar="eval|batch", help="Normalise by the file's statistics, or not."
    ),
]
Curvature = Annotated[
    str | None,
    measuring(metavar="exact|mc|empirical", help="Over all classes, drawn, or the labels'."),
]
Checkpoint = Annotated[
    Path | None,
    measuring("--checkpoint", metavar="DIR", help="Keep finished steps, go on from them."),
]
RecipeFile = Annotated[
    Path | None, how(metavar="FILE.toml", help="These options, from a file; options win.")
]


def _trust(wanted: bool) -> bool:
    """Trust the files of this command from now on."""
    if wanted:
        from onnxprune.formats.trust import trust

        trust()
    return wanted


TrustModel = Annotated[
    bool,
    where(
        "--trust-model", callback=_trust, help="Load models that are programs (TorchScript)."
    ),
]
Output = Annotated[
    Path | None, where("-o", "--output", metavar="FILE", help="Default: MODEL.pruned.onnx.")
]
ShrunkOutput = Annotated[
    Path | None, where("-o", "--output", metavar="FILE", help="Default: MODEL.shrunk.onnx.")
]
MaskOutput = Annotated[
    Path, where("-o", "--output", metavar="FILE.npz", help="The mask file to write.")
]
Force = Annotated[bool, where("--force", help="Replace an existing output.")]
DryRun = Annotated[bool, where("--dry-run", help="Report what would happen, write nothing.")]
KeepFailed = Annotated[
    bool, where("--keep-failed", help="Write the model even if the gate fails.")
]
CheckSet = Annotated[
    str | None,
    typer.Option(
        "--check",
        metavar="SET",
        rich_help_panel="Samples",
        help="Check the result on these samples; those of --data by default.",
    ),
]
Methods = Annotated[
    str, how("--methods", metavar="A,B,...", help="Methods; NAME+ALLOCATION for a pair.")
]
Sparsities = Annotated[
    str, what("--sparsities", metavar="S,S,...", help="What to try, such as 0.5,0.9.")
]
Journal = Annotated[
    Path | None,
    where("--journal", metavar="FILE", help="Keeps finished points until the end."),
]
Resume = Annotated[bool, where("--resume", help="Go on from the points in the journal.")]
Over = Annotated[
    str, how("--over", metavar="sparsity|min-kept", help="What to search; sparsity.")
]
Resolution = Annotated[
    float, how("--resolution", metavar="R", help="How fine the search is; 0.01.")
]
Confident = Annotated[
    bool,
    how("--confident", help="The whole interval of the drop stays within --max-drop."),
]
NoVerify = Annotated[
    bool, where("--no-verify", help="Do not let onnx.checker look at the model.")
]
Hardlinks = Annotated[
    bool, where("--allow-hardlinks", help="Take data files that have several names.")
]

Json = Annotated[bool, reports("--json", help="The report as JSON on standard output.")]
Reports = Annotated[
    list[Path] | None,
    reports(
        "--report", metavar="FILE", help="Also write it there; the suffix tells the form."
    ),
]
Quiet = Annotated[bool, reports("-q", "--quiet", help="Print nothing but errors.")]
Compressed = Annotated[
    bool, reports("--compressed-size", help="Compress whole files, not samples of them.")
]

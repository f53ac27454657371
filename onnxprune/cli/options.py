"""The options of the commands: their spellings, help and groups."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from onnxprune.bounds import limit

# Whether a file can be read is found out where it is, and has an exit code of its own.
argument = partial(typer.Argument, readable=False)
option = partial(typer.Option, readable=False)
what = partial(option, rich_help_panel="What to prune")
how = partial(option, rich_help_panel="Method")
measuring = partial(option, rich_help_panel="Measuring")
where = partial(option, rich_help_panel="Files")
reports = partial(option, rich_help_panel="Reports")
limiting = partial(option, rich_help_panel="Limits")

Model = Annotated[Path, argument(metavar="MODEL", help="An ONNX file, TorchScript or a .pt2.")]
Masks = Annotated[Path, argument(metavar="MASKS", help="A .npz or a pruned model.")]
Dense = Annotated[Path, argument(metavar="DENSE", help="The model as it was.")]
Pruned = Annotated[Path, argument(metavar="PRUNED", help="The model to compare.")]
First = Annotated[Path, argument(metavar="A", help="A .npz or a pruned model.")]
Second = Annotated[Path, argument(metavar="B", help="Another.")]

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
Pattern = Annotated[
    str | None,
    how("--pattern", metavar="P", help="unstructured, N:M, block:RxC or filters."),
]
ChannelMultiple = Annotated[
    int | None,
    how("--channel-multiple", metavar="N", help="With filters, keep a multiple of N of each."),
]
Remove = Annotated[
    bool, how("--remove", help="Take the filters that fall out of the model: smaller, faster.")
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


def _timeout(seconds: float | None) -> float | None:
    """Let libraries take so long from now on."""
    limit(timeout=seconds)
    return seconds


def _memory_limit(size: str | None) -> str | None:
    """Let child processes take so much memory from now on."""
    limit(memory_limit=size)
    return size


def _max_amplification(times: float | None) -> float | None:
    """Let files claim so many times what they hold from now on."""
    limit(max_amplification=times)
    return times


Timeout = Annotated[
    float | None,
    limiting(
        "--timeout",
        metavar="S",
        callback=_timeout,
        help="Seconds that a library may take: 60 to look at a model, 300 for one answer.",
    ),
]
MemoryLimit = Annotated[
    str | None,
    limiting(
        "--memory-limit",
        metavar="SIZE",
        callback=_memory_limit,
        help="What a child process may take, such as 32G: 16G to look at a model, "
        "the machine's memory to run one.",
    ),
]
MaxAmplification = Annotated[
    float | None,
    limiting(
        "--max-amplification",
        metavar="N",
        callback=_max_amplification,
        help="Refuse files that claim N times their bytes: 8; packed or sparse ones 100.",
    ),
]
TrustModel = Annotated[
    bool,
    where(
        "--trust-model", callback=_trust, help="Load models that are programs (TorchScript)."
    ),
]
Output = Annotated[
    Path | None, where("-o", "--output", metavar="FILE", help="Default: MODEL.pruned.onnx.")
]
DenseOutput = Annotated[
    Path | None, where("-o", "--output", metavar="FILE", help="Default: MODEL.dense.onnx.")
]
Storage = Annotated[
    str, where("--storage", metavar="dense|sparse", help="Of pruned tensors; dense.")
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
    option(
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

"""Checks, studies and searches made by hand, with figures a test can check by eye."""

from collections.abc import Sequence

from onnxprune.outcomes import (
    Accuracy,
    CheckReport,
    CheckResult,
    Condition,
    DataFacts,
    Latency,
    Measured,
    OutputCheck,
    OwnMetric,
    Place,
    Sizes,
)
from onnxprune.points import Point, Search, Study

PLACE = Place("CPUExecutionProvider", 2, "1.31.1")
FAILED_KL = Condition(
    "--max-kl", 0.25, 0.31, False, "KL 0.310 is above --max-kl 0.25 by 0.060"
)
HELD_DROP = Condition("--max-drop", 0.01, 0.005, True, "accuracy fell by 0.50 points")


def data(random: bool = False, labelled: bool = True, samples: int = 200) -> DataFacts:
    """Make the facts of a set."""
    return DataFacts("test.npz", samples, labelled, random, 16)


def accuracy(pruned: int = 196, dense: int = 197, total: int = 200) -> Accuracy:
    """Make counts of right answers in which nothing was won besides."""
    lost, won = max(dense - pruned, 0), max(pruned - dense, 0)
    return Accuracy(total, dense, pruned, lost, won)


def output(
    name: str = "logits", top1: Accuracy | None = None, top5: Accuracy | None = None
) -> OutputCheck:
    """Make an output that decides on classes."""
    return OutputCheck(name, "scores", False, top1, top5, 195, 200, 0.0123, 0.9987, 23.4, 1.25)


def values(name: str = "embedding") -> OutputCheck:
    """Make an output of other values."""
    return OutputCheck(name, "values", False, cosine=0.99996, sqnr=40.12, max_abs=0.002)


def result(
    outputs: Sequence[OutputCheck] = (),
    conditions: Sequence[Condition] = (),
    own: OwnMetric | None = None,
    **fields: object,
) -> CheckResult:
    """Make what a check showed."""
    measured = Measured(tuple(outputs) or (output(top1=accuracy()),), own)
    settings = {"data": data(), "place": PLACE, "interval": (-0.004, 0.019)} | fields
    return CheckResult(measured=measured, conditions=tuple(conditions), **settings)  # type: ignore[arg-type]


def check_report(
    made: CheckResult, dense: str = "a.onnx", pruned: str = "b.onnx"
) -> CheckReport:
    """Make the check of two files."""
    sizes = Sizes(1000, 1000, 900, 500, False)
    return CheckReport(dense, "0" * 64, pruned, "1" * 64, made, sizes, (0.0, 0.9), 0.25)


def point(
    method: str = "lamp",
    sparsity: float = 0.5,
    right: int | None = 196,
    failure: str | None = None,
) -> Point:
    """Make a point with so many right answers of 200; None could not be measured."""
    zeros = round(1000 * sparsity)
    if right is None:
        return Point(method, sparsity, zeros, 1000, None, failure or "it cannot be", 0.5)
    measured = Measured((output(top1=accuracy(right)),))
    return Point(method, sparsity, zeros, 1000, measured, None, 0.5)


def study(points: Sequence[Point], kind: str = "sweep", **fields: object) -> Study:
    """Make a study whose dense model has 197 of 200 answers right."""
    settings = {
        "model": "m.onnx",
        "sha256": "0" * 64,
        "data": data(),
        "place": PLACE,
        "measure": "accuracy",
        "dense": 0.985,
        "sizes": Sizes(1000, None, 900, None, False),
        "seconds": 12.5,
    } | fields
    return Study(kind=kind, points=tuple(points), **settings)  # type: ignore[arg-type]


def sweep() -> Study:
    """Make a sweep of two methods at two sparsities, one of whose points failed."""
    return study(
        [
            point("lamp", 0.5, 197),
            point("lamp", 0.9, 190),
            point("erk", 0.5, 196),
            point("erk", 0.9, None, "--sparsity 0.9: at most 88.0 % can go"),
        ],
        latency=Latency(0.00121, 0.00120, 21, 16),
    )


def sensitivity() -> Study:
    """Make a sensitivity of two tensors at two sparsities."""
    points = [
        point("conv.weight", 0.5, 197),
        point("conv.weight", 0.9, 187),
        point("fc.weight", 0.5, 198),
        point("fc.weight", 0.9, 157),
    ]
    return study(points, "sensitivity")


def search(over: str = "sparsity") -> Search:
    """Make a search of three points; the first one won."""
    settings = (0.5, 0.75, 0.62) if over == "sparsity" else (0.0, 1.0, 64.0)
    points = [point("lamp", 0.5, 196), point("lamp", 0.75, 180), point("lamp", 0.62, None)]
    return Search(
        study=study(points, "search"),
        over=over,
        budget=("--max-drop 0.01",) if over == "sparsity" else (),
        settings=settings,
        accepted=(True, False, False),
        chosen=0,
        result=result(conditions=[HELD_DROP]),
        sentences=("1 of 200 samples decides",),
    )


HOSTILE = [
    "a|b",
    "w[red]x[/red]",
    "<script>alert(1)</script>",
    'w\' onload=x "y" &lt;',
    "**bold** `code` # ~~x~~ \\",
    "w\x1b]0;pwned\x07\x00\ud800",
    "::error file=x::w",
    "=1+1",
    "_under $x^2$",
    "層.重み",
]

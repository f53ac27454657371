"""What recovery wins back on trained models: the ladder of `examples/recovery`, with its goals."""

import importlib
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks import peers
from tests.benchmarks.figures import Figures
from tests.benchmarks.suites import Goal, Say
from tests.shared import FOLDER

EXAMPLE = Path(__file__).parents[2] / "examples" / "recovery"
TRAINED = {0.5: 0.0, 0.8: 0.3, 0.9: 1.2, 0.95: 4.5}
"""By sparsity, how many points ResNet-20 may be below the dense model once it is trained."""

LAYERED = {0.5: 1.0, 0.7: 5.0}
"""The same without any gradient."""

RIVAL, OURS = "uniform: SparseGPT of onnxsim", "uniform: refit,statistics,bias"
EPOCHS = 120
COLUMNS = ("model", "rung", "sparsity", "accuracy", "below dense", "agree", "seconds")

Row = dict[str, Any]


def ladder() -> Any:
    """Import the example's script."""
    if str(EXAMPLE) not in sys.path:
        sys.path.insert(0, str(EXAMPLE))
    return importlib.import_module("ladder")


def climb(_: int, say: Say) -> Figures:
    """Climb the ladder; where the optional models are not there, that of the digits."""
    script = ladder()
    folder = peers.workplace() / "recovery"
    folder.mkdir(parents=True, exist_ok=True)
    climbs = [script.digits()]
    if (FOLDER / "models").exists():
        climbs = [script.resnet(FOLDER, EPOCHS), *script.smaller(FOLDER)]
    rows: list[Row] = []
    for model, rungs in climbs:
        for rung in rungs:
            say(f"{model.name} at {rung.sparsity:g}: {rung.name}")
            rows.append(script.climb(model, rung, folder, "auto"))
    return Figures(
        "recovery",
        "Accuracy after recovery, on samples that it never saw, and the seconds it took",
        COLUMNS,
        tuple(shown(row) for row in rows),
        goals(rows),
        (f"finished rungs are kept in {folder}; without that folder all are climbed anew",),
    )


def goals(rows: list[Row]) -> tuple[Goal, ...]:
    """Return what ResNet-20 should reach."""
    found = [row for row in rows if row["model"] == "resnet20" and "dense" in row]
    made = []
    for kind, limits in (("distill", TRAINED), ("", LAYERED)):
        for sparsity, limit in limits.items():
            drops = [
                drop(row)
                for row in found
                if row["sparsity"] == sparsity
                and (kind in row["rung"] if kind else "distill" not in row["rung"])
                and "uniform" not in row["rung"]
            ]
            what = "trained" if kind else "without gradients"
            text = f"points below dense at {sparsity:g}, {what}"
            made.append(Goal(text, min(drops, default=None), limit))
    by_name = {(row["rung"], row["sparsity"]): row for row in found}
    for sparsity in LAYERED:
        ours, rival = by_name.get((OURS, sparsity)), by_name.get((RIVAL, sparsity))
        ahead = None if ours is None or rival is None else drop(rival) - drop(ours)
        text = f"points ahead of onnxsim's SparseGPT at {sparsity:g}, uniform"
        made.append(Goal(text, ahead, 0.0, at_least=True))
    return tuple(made)


def drop(row: Row) -> float:
    """Return how many points a row is below the dense model."""
    return round(100 * (row["dense"] - row["pruned"]) / row["total"], 4)


def shown(row: Row) -> tuple[str, ...]:
    """Return a row's cells."""
    right = "dense" in row
    return (
        row["model"],
        row["rung"],
        f"{row['sparsity']:g}",
        f"{row['pruned'] / row['total']:.2%}" if right else "-",
        f"{drop(row):+.2f}" if right else "-",
        f"{row['agreement']:.1%}" if "agreement" in row else "-",
        f"{row['seconds']:.0f}" if "seconds" in row else "not here",
    )

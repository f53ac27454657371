"""What it costs to take filters out, beside single weights: `examples/recovery/channels.py`."""

import importlib
import sys
from dataclasses import replace
from typing import Any

from tests.benchmarks import peers
from tests.benchmarks.figures import Figures
from tests.benchmarks.recovery import EXAMPLE
from tests.benchmarks.suites import Say
from tests.shared import FOLDER

EPOCHS = 60
COLUMNS = (
    "what goes",
    "recovery",
    "zeros",
    "MACs",
    "accuracy",
    "below",
    "file",
    "batch",
    "seconds",
)


def compare(_: int, say: Say) -> Figures:
    """Take filters out of ResNet-20, or of the digits where that is not there."""
    if str(EXAMPLE) not in sys.path:
        sys.path.insert(0, str(EXAMPLE))
    script: Any = importlib.import_module("channels")
    folder = peers.workplace() / "channels"
    folder.mkdir(parents=True, exist_ok=True)
    model = script.digits()[0]
    if (FOLDER / "models").exists():
        model = replace(script.resnet(FOLDER, EPOCHS)[0], name="resnet20")
    rows = []
    for row in script.rows_of(model, EPOCHS, folder):
        say(f"{row['kind']}, {row['rung']}")
        rows.append(row)
    return Figures(
        "channels",
        f"{model.name}: 30 % of the filters taken out, and single weights that save as many"
        " multiplications; file and batch are over those of the dense model",
        COLUMNS,
        tuple(shown(row) for row in rows),
        (),
        (f"finished rows are kept in {folder}; without that folder all are made anew",),
    )


def shown(row: dict[str, Any]) -> tuple[str, ...]:
    """Return a row's cells."""
    return (
        row["kind"],
        row["rung"],
        f"{row['sparsity']:.3f}",
        f"{row['macs']:.3f}",
        f"{row['pruned'] / row['total']:.2%}",
        f"{100 * (row['dense'] - row['pruned']) / row['total']:+.2f}",
        f"{row['bytes']:.3f}",
        f"{row['latency']:.3f}",
        f"{row['seconds']:.0f}",
    )

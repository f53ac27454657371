"""Takes filters out of a model beside a model that keeps as many multiplications in single zeros.

Run from the repository root: `python examples/recovery/channels.py` for the digits, or with
`--shared DIR` for ResNet-20 on CIFAR-10. Both lose the same share of multiply-accumulates and are
recovered alike; the table says what is left of the accuracy, of the file, and of the time a batch
takes. What is done is kept in `--folder`.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ladder import Model, digits, resnet
from rich.console import Console
from rich.table import Table

import onnxprune

SHARE = 0.3
RECOVERIES = ("", "refit,statistics,bias", "distill")
BATCH = 100


def kept_macs(model: Model, sparsity: float) -> float:
    """Return the share of multiply-accumulates that LAMP leaves of single weights."""
    report = onnxprune.prune(model.path, sparsity, dry_run=True)
    assert report.macs is not None
    return report.macs[1] / report.macs[0]


def as_few(model: Model, share: float) -> float:
    """Return the sparsity at which so many multiply-accumulates are left."""
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if kept_macs(model, middle) > share else (low, middle)
    return low


def prune(
    model: Model, sparsity: float, recover: str, epochs: int, folder: Path, **more: Any
) -> dict[str, Any]:
    """Prune and recover a model once; return what came of it."""
    fitted = onnxprune.trial(model.fitted, device="auto", **model.reading)
    judged = onnxprune.trial(model.judged, device="auto", batch=BATCH, **model.reading)
    if recover:
        more |= {"recover": recover, "data": fitted}
    if recover == "distill":
        more["epochs"] = epochs
    output = folder / "channels.onnx"
    began = time.monotonic()
    report = onnxprune.prune(
        model.path, sparsity, check=judged, output=output, force=True, **more
    )
    took = time.monotonic() - began
    assert report.check is not None
    accuracy, latency = report.check.measured.accuracy, report.check.latency
    assert accuracy is not None
    assert latency is not None
    removal, macs = report.removal, report.macs
    if removal is not None:
        assert removal.macs is not None
        left = removal.macs[1] / removal.macs[0]
    else:
        assert macs is not None
        left = macs[1] / macs[0]
    return {
        "sparsity": sparsity,
        "macs": left,
        "dense": accuracy.dense,
        "pruned": accuracy.pruned,
        "total": accuracy.total,
        "bytes": (report.sizes.after or 0) / report.sizes.before,
        "latency": latency.ratio,
        "seconds": took,
    }


def rows_of(model: Model, epochs: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield one row for each kind of recovery and each way to save as much."""
    removing = {"remove": True, "allocation": "uniform", "method": "magnitude"}
    first = None
    for recover in RECOVERIES:
        name = f"distill, {epochs} epochs" if recover == "distill" else recover or "one shot"
        for kind, more in (("filters", removing), ("single weights", {})):
            word = "".join(letter if letter.isalnum() else "-" for letter in f"{kind} {name}")
            place = folder / f"{model.name}-{word}.json"
            if place.exists():
                row: dict[str, Any] = json.loads(place.read_text())
            else:
                sparsity = SHARE
                if not more:
                    assert first is not None
                    sparsity = as_few(model, first["macs"])
                row = prune(model, sparsity, recover, epochs, folder, **more)
                row |= {"kind": kind, "rung": name}
                place.write_text(json.dumps(row))
            first = first or row
            yield row


def table_of(rows: list[dict[str, Any]]) -> Table:
    """Lay the rows out."""
    table = Table(box=None, pad_edge=False)
    for title in ("what goes", "recovery"):
        table.add_column(title)
    for title in ("zeros", "MACs", "accuracy", "below dense", "file", "batch", "seconds"):
        table.add_column(title, justify="right")
    for row in rows:
        drop = (row["dense"] - row["pruned"]) / row["total"]
        table.add_row(
            row["kind"],
            row["rung"],
            f"{row['sparsity']:.3f}",
            f"{row['macs']:.3f}",
            f"{row['pruned'] / row['total']:.2%}",
            f"{100 * drop:+.2f}",
            f"{row['bytes']:.3f}",
            f"{row['latency']:.3f}",
            f"{row['seconds']:.0f}",
        )
    return table


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, help="a folder with models/ and data/")
    parser.add_argument("--folder", type=Path, default=Path(".bench/channels"))
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    model = digits()[0]
    if options.shared is not None:
        model = replace(resnet(options.shared, options.epochs)[0], name="resnet20")
    rows = list(rows_of(model, options.epochs, options.folder))
    Console(width=110, highlight=False).print(table_of(rows))


if __name__ == "__main__":
    main()

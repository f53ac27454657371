"""Climbs a ladder: how much accuracy each kind of recovery wins back, and in what time.

Run from the repository root: `python examples/recovery/ladder.py` for the digits in `calibration/`,
or with `--shared DIR` for ResNet-20 on CIFAR-10 and three smaller models. What is done is kept in
`--folder` as one report per rung, so that a long climb goes on where it stopped.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rivals import apply_sparsegpt

import onnxprune

ROOT = Path(__file__).parents[2]
PIXELS = {
    "inputs": {"images_u8": "input"},
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}


@dataclass(frozen=True, slots=True)
class Model:
    """A model, the samples that recovery sees, and others that judge it."""

    name: str
    path: Path
    fitted: Path
    judged: Path
    reading: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to prune and recover a model.

    Args:
        name: what it is called.
        sparsity: how much goes.
        options: of `onnxprune.prune`.
        rival: whether another tool does it, for comparison.
    """

    name: str
    sparsity: float
    options: dict[str, Any]
    rival: bool = False


def layered(sparsity: float, **more: Any) -> Iterator[Rung]:
    """Go up without any gradient."""
    yield Rung("one shot", sparsity, more)
    for recover in ("statistics", "refit", "refit,statistics,bias"):
        yield Rung(recover, sparsity, {"recover": recover, **more})


def falling(sparsity: float, epochs: int) -> Rung:
    """Train while weights fall."""
    name = f"distill, {epochs} epochs"
    return Rung(name, sparsity, {"recover": "distill", "epochs": epochs})


def trained(sparsity: float, epochs: int) -> Iterator[Rung]:
    """Go up by training, on the mask of one shot and with weights that fall on the way."""
    once = {"recover": "refit,distill", "epochs": epochs, "steps": 1}
    yield Rung(f"refit,distill, one shot, {epochs} epochs", sparsity, once)
    yield falling(sparsity, epochs)


def resnet(shared: Path, long: int) -> tuple[Model, list[Rung]]:
    """Return ResNet-20 on CIFAR-10 and its rungs; the last ones take up to `long` epochs."""
    model = Model(
        "resnet20",
        shared / "models" / "resnet20" / "ts_bn.onnx",
        shared / "data" / "cifar10_calibration.npz",
        shared / "data" / "cifar10_test.npz",
        PIXELS,
    )
    rungs = [rung for sparsity in (0.5, 0.7, 0.8, 0.9) for rung in layered(sparsity)]
    for sparsity in (0.5, 0.7):
        even = {"allocation": "uniform", "method": "sparsegpt"}
        rungs += [
            Rung("uniform: SparseGPT of onnxsim", sparsity, {}, rival=True),
            Rung("uniform: SparseGPT", sparsity, {"recover": "sparsegpt", **even}),
            Rung(
                "uniform: refit,statistics,bias",
                sparsity,
                {"recover": "refit,statistics,bias", **even},
            ),
        ]
    rungs.append(falling(0.5, 20))
    for sparsity in (0.8, 0.9, 0.95):
        rungs += trained(sparsity, 20) if sparsity == 0.9 else [falling(sparsity, 20)]
        # Up to 0.8 the default is enough.
        rungs.append(falling(sparsity, min(long, 60) if sparsity <= 0.8 else long))
    return model, rungs


def smaller(shared: Path) -> Iterator[tuple[Model, list[Rung]]]:
    """Return models of other kinds, each with two sparsities."""
    models, data = shared / "models", shared / "data"
    keypoint = "hand_gesture_point_history"
    for name, path, fitted, judged in (
        ("mnist", "mnist_cntk/mnist.onnx", "mnist_calibration", "mnist_test"),
        ("magika", "magika/standard_v3_3.onnx", "magika_basic", "magika_basic"),
        (
            "hand_gesture",
            "hand_gesture/point_history_lstm.onnx",
            f"{keypoint}_calibration",
            f"{keypoint}_test",
        ),
    ):
        sets = data / f"{fitted}.npz", data / f"{judged}.npz"
        rungs = []
        for sparsity in (0.8, 0.9):
            rungs += [
                Rung("one shot", sparsity, {}),
                Rung("refit", sparsity, {"recover": "refit"}),
                Rung("refit,distill", sparsity, {"recover": "refit,distill", "epochs": 30}),
            ]
        yield Model(name, models / path, *sets), rungs


def digits() -> tuple[Model, list[Rung]]:
    """Return the model of the repository, which takes seconds."""
    data = ROOT / "calibration"
    model = Model(
        "digits",
        ROOT / "examples" / "digits" / "digits.onnx",
        data / "digits_calibration.npz",
        data / "digits_test.npz",
    )
    return model, [*layered(0.97), *trained(0.97, 20)]


def climb(model: Model, rung: Rung, folder: Path, device: str) -> dict[str, Any]:
    """Take one rung, unless it was taken before; return its figures."""
    name = "".join(letter if letter.isalnum() else "-" for letter in rung.name)
    place = folder / f"{model.name}-{rung.sparsity:g}-{name}.json"
    if place.exists():
        found: dict[str, Any] = json.loads(place.read_text())
        return found
    reading = {"device": device, "latency": False, **model.reading}
    fitted = onnxprune.trial(model.fitted, **reading)
    judged = onnxprune.trial(model.judged, **reading)
    output = folder / f"{model.name}.onnx"
    began = time.monotonic()
    if rung.rival:
        if not apply_sparsegpt(model.path, output, fitted, rung.sparsity):
            return {"model": model.name, "sparsity": rung.sparsity, "rung": rung.name}
        result = onnxprune.check(model.path, output, judged).result
    else:
        report = onnxprune.prune(
            model.path,
            rung.sparsity,
            output=output,
            force=True,
            data=fitted,
            check=judged,
            **rung.options,
        )
        assert report.check is not None
        assert report.zeros >= round(rung.sparsity * report.size)
        result = report.check
    figures = {
        "model": model.name,
        "sparsity": rung.sparsity,
        "rung": rung.name,
        "seconds": round(time.monotonic() - began, 1),
        "total": result.data.samples,
    }
    accuracy, output_check = result.measured.accuracy, result.measured.outputs[0]
    if accuracy is not None:
        figures |= {"dense": accuracy.dense, "pruned": accuracy.pruned}
    if output_check.agreement is not None:
        figures["agreement"] = float(output_check.agreement)
    place.write_text(json.dumps(figures))
    return figures


def table_of(rows: list[dict[str, Any]]) -> Table:
    """Lay the figures out, one rung a line."""
    table = Table(box=None, pad_edge=False)
    for title in ("model", "rung"):
        table.add_column(title)
    for title in ("sparsity", "accuracy", "below dense", "agree", "time"):
        table.add_column(title, justify="right")
    for row in rows:
        right = "dense" in row
        drop = (row["dense"] - row["pruned"]) / row["total"] if right else 0.0
        table.add_row(
            row["model"],
            row["rung"],
            f"{row['sparsity']:g}",
            f"{row['pruned'] / row['total']:.2%}" if right else "-",
            f"{100 * drop:+.2f}" if right else "-",
            f"{row['agreement']:.1%}" if "agreement" in row else "-",
            f"{row['seconds']:.0f} s" if "seconds" in row else "not here",
        )
    return table


def main() -> None:
    """Climb, and print the ladder after each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, help="a folder with models/ and data/")
    parser.add_argument("--folder", type=Path, default=Path(".bench/recovery"))
    parser.add_argument("--epochs", type=int, default=120, help="of the longest rungs")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=110, highlight=False)
    climbs = [digits()]
    if options.shared is not None:
        climbs = [resnet(options.shared, options.epochs), *smaller(options.shared)]
    for model, rungs in climbs:
        rows = []
        for rung in rungs:
            rows.append(climb(model, rung, options.folder, options.device))
            console.print(f"{rung.sparsity:g} {rung.name}", style="dim")
        console.print(table_of(rows))


if __name__ == "__main__":
    main()

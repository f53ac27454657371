"""Runs all GPU tests, then shows the GPU beside the processor: `python -m tests.gpu.report`."""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from onnxprune.outcomes import Place
from onnxprune.recipe import make_recipe
from onnxprune.studying import run_sweep
from onnxprune.trials.runner import Runner
from onnxprune.trials.trial import make_trial
from tests.benchmarks.models import pictures, resnet18
from tests.gpu.probe import DEVICE, DIGITS, ROOT, SAMPLES, why_not

BATCH = 16
METHODS = ("lamp", "global")
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
TESTS = (sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu", "tests/gpu")
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model and the samples it is run on; labels only where they mean something."""

    name: str
    model: Path
    data: Path
    images: Array
    labels: Array | None


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What one device made of a subject: outputs, and seconds per batch and per sweep."""

    place: Place
    outputs: Array
    latency: float
    sweep: float


@contextmanager
def subjects() -> Iterator[list[Subject]]:
    """Give the shipped model, and a large one of random weights."""
    with tempfile.TemporaryDirectory() as folder, np.load(SAMPLES) as shipped:
        model = resnet18(Path(folder) / "resnet18.onnx")
        data = pictures(Path(folder) / "pictures.npz", 3 * BATCH)
        with np.load(data) as drawn:
            yield [
                Subject("digits", DIGITS, SAMPLES, shipped["image"], shipped["labels"]),
                Subject("ResNet-18, 46.7 MB, 224 px", model, data, drawn["image"], None),
            ]


def measure(subject: Subject, device: str) -> Side:
    """Run a subject on a device: all samples once, one batch many times, a sweep."""
    batches = [
        {"image": subject.images[start : start + BATCH]}
        for start in range(0, len(subject.images), BATCH)
    ]
    with Runner(device) as runner:
        output = runner.open("dense", subject.model)["outputs"][0][0]
        outputs = [runner.run("dense", batch)[output] for batch in batches]
        latency = statistics.median(runner.time(["dense"], batches[0])["dense"])
        place = runner.place
    assert place is not None
    trial = make_trial(subject.data, device=device, batch=BATCH, latency=False)
    study = run_sweep(subject.model, trial, METHODS, SPARSITIES, make_recipe({}))
    return Side(place, np.concatenate(outputs), latency, study.seconds)


def table(subject: Subject, cpu: Side, gpu: Side) -> Table:
    """Lay out what two devices made of a subject."""
    grid = Table(title=subject.name, title_justify="left", box=None, pad_edge=False)
    grid.add_column("")
    for heading in (cpu.place.provider, gpu.place.provider):
        grid.add_column(heading, justify="right")
    if subject.labels is not None:
        right = [
            f"{(side.outputs.argmax(axis=1) == subject.labels).sum()} of {len(subject.labels)}"
            for side in (cpu, gpu)
        ]
        grid.add_row("right answers", *right)
    grid.add_row(
        f"median of a batch of {BATCH}", *(f"{1e3 * s.latency:.3f} ms" for s in (cpu, gpu))
    )
    points = len(METHODS) * len(SPARSITIES)
    grid.add_row(f"sweep of {points} points", *(f"{s.sweep:.2f} s" for s in (cpu, gpu)))
    return grid


def parity(cpu: Side, gpu: Side) -> str:
    """Say how far apart the outputs of two devices are."""
    one, two = (np.float64(side.outputs) for side in (cpu, gpu))
    same = int((one.argmax(axis=1) == two.argmax(axis=1)).sum())
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    cosine = ((one * two).sum(axis=1) / norms).min()
    return (
        f"parity: max abs {np.abs(one - two).max():.3g} (largest output"
        f" {np.abs(one).max():.3g}), lowest cosine {cosine:.8f}, {same} of {len(one)}"
        " decisions the same"
    )


def show(console: Console, devices: tuple[str, str] = ("cpu", DEVICE)) -> None:
    """Measure every subject on both devices and print the figures."""
    with subjects() as found:
        for subject in found:
            cpu, gpu = (measure(subject, device) for device in devices)
            console.print(table(subject, cpu, gpu))
            console.print(parity(cpu, gpu), highlight=False)
            console.print()
        console.print(
            f"ONNX Runtime {gpu.place.runtime}, {cpu.place.threads} threads on the processor",
            highlight=False,
        )


def main() -> int:
    """Run the tests and print the figures; without a GPU there is nothing to do."""
    if reason := why_not():
        print(f"no GPU that works: {reason}")
        return 0
    code = subprocess.run(TESTS, cwd=ROOT, check=False).returncode
    show(Console(soft_wrap=True))
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())

"""How long the re-import takes for a gradient, beside the torch model that a file came from."""

import gc
import logging
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.reimport.module import Reimported, reimport
from tests.benchmarks.figures import Figures
from tests.benchmarks.networks import FEEDFORWARD, RECURRENT, made
from tests.benchmarks.suites import Goal, Say

WARM = 3
NATIVE = "native"
EXPORTS: dict[str, dict[str, Any]] = {
    "dynamo 20": {"dynamo": True, "opset_version": 20, "external_data": False},
    "dynamo 18 raw": {
        "dynamo": True,
        "opset_version": 18,
        "optimize": False,
        "external_data": False,
    },
    "TorchScript 17": {"dynamo": False, "opset_version": 17},
}
LIMITS = {"convolutional nets and transformers": 1.25, "recurrent nets": 2.4}


@dataclass(slots=True)
class Timed:
    """Seconds of one net's gradient, run by run, natively and from each export."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, way: str) -> float:
        """Give the median over the rounds of an import's time over the native one."""
        pairs = zip(self.seconds[way], self.seconds[NATIVE], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


def exported(net: nn.Module, given: Tensor, settings: dict[str, Any]) -> Reimported:
    """Export a net and import the file, settled for the shape of its input."""
    # It says what else could be installed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "net.onnx")
        names = {"input_names": ["x"], "output_names": ["y"]}
        more = {"verbose": False} if settings["dynamo"] else {}
        torch.onnx.export(net, (given,), str(path), **names, **settings, **more)
        with load_onnx(path) as model:
            module = reimport(model)
    module.specialise({"x": given})
    return module


def differentiate(run: Callable[[], Tensor], parameters: Iterable[Tensor]) -> float:
    """Time one pass forward and backward."""
    wanted = list(parameters)
    began = time.perf_counter()
    torch.autograd.grad(run().square().sum(), wanted, allow_unused=True)
    return time.perf_counter() - began


def time_net(name: str, rounds: int) -> Timed:
    """Time one net and its imports in turn."""
    net, given = made(name)
    modules = {way: exported(net, given, settings) for way, settings in EXPORTS.items()}
    runs: dict[str, tuple[Callable[[], Tensor], list[Tensor]]] = {
        NATIVE: (lambda: net(given), list(net.parameters()))
    }
    for way, module in modules.items():
        runs[way] = (
            lambda module=module: module.compute({"x": given})["y"],
            list(module.tensors.values()),
        )
    timed = Timed({way: [] for way in runs})
    gc.collect()
    gc.disable()
    try:
        for number in range(WARM + rounds):
            for way, (run, parameters) in runs.items():
                took = differentiate(run, parameters)
                if number >= WARM:
                    timed.seconds[way].append(took)
    finally:
        gc.enable()
    return timed


def mean_ratio(found: Iterable[Timed]) -> float:
    """Give the geometric mean over nets and exports."""
    logarithms = [math.log(timed.ratio(way)) for timed in found for way in EXPORTS]
    return math.exp(statistics.fmean(logarithms))


def speed(runs: int, say: Say) -> Figures:
    """Compare gradients through the re-import with native ones."""
    found = {}
    for name in (*FEEDFORWARD, *RECURRENT):
        say(f"gradients of {name}")
        found[name] = time_net(name, runs)
    rows = []
    for name, timed in found.items():
        native = statistics.median(timed.seconds[NATIVE])
        ratios = [f"{timed.ratio(way):.2f}" for way in EXPORTS]
        rows.append((name, f"{1000 * native:.1f}", *ratios))
    parts = ([found[name] for name in kinds] for kinds in (FEEDFORWARD, RECURRENT))
    goals = tuple(
        Goal(f"{kind}, geometric mean", mean_ratio(part), limit, "x")
        for (kind, limit), part in zip(LIMITS.items(), parts, strict=True)
    )
    title = (
        "One pass forward and backward through the re-import, over the native torch model's"
    )
    return Figures(
        "reimport",
        title,
        ("net", "native ms", *EXPORTS),
        tuple(rows),
        goals,
        (f"medians of {runs} rounds in turn, {torch.get_num_threads()} threads of torch",),
    )

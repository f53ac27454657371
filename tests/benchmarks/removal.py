"""What taking channels out wins: bytes, and time on one thread of ONNX Runtime."""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import torch

import onnxprune
from onnxprune.errors import OnnxpruneError
from onnxprune.removals import Removal
from tests import models
from tests.benchmarks import networks
from tests.benchmarks.figures import Figures
from tests.benchmarks.suites import Goal, Say
from tests.shared import MODELS
from tests.structure.cutting import tensors_of, zero
from tests.structure.nets import Net

COLUMNS = (
    "model",
    "filters",
    "gone",
    "weights",
    "bytes",
    "ms before",
    "after",
    "ratio",
    "apart",
)
GOAL = 0.65
"""Of the dense time, for a ResNet half of whose inner channels are gone."""

INNER = "ResNet-18, inner channels"
SHARED = (
    "resnet20/ts_bn.onnx",
    "ultraface/slim_320.onnx",
    "ultraface/rfb_320.onnx",
    "mnist_cntk/mnist.onnx",
    "magika/standard_v3_3.onnx",
)
SHARES = (0.3, 0.5)
STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


def resnet18(folder: Path) -> onnx.ModelProto:
    """Make a net of the shape of ResNet-18 for 112 pixels, half its inner channels zero."""
    net = Net(3, 112)
    net.inputs = {"x": [1, 3, 112, 112]}
    x = net.conv("x", "stem", 3, 64, size=7, strides=[2, 2])
    x = net.add("Relu", net.norm(x, "stem.n", 64), out="stem.r")
    x = net.add("MaxPool", x, out="pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    width, inner = 64, []
    for stage, (count, stride) in enumerate(STAGES):
        for block in range(2):
            name = f"s{stage}.{block}"
            inner.append((f"{name}.one", f"{name}.one.n", count))
            x = _block(net, x, name, (width, count, stride if block == 0 else 1))
            width = count
    net.pooled(x, width, 1000)
    model = net.build()
    tensors = tensors_of(model)
    for conv, norm, count in inner:
        for name in (f"{conv}.w", f"{conv}.b", f"{norm}.scale", f"{norm}.shift"):
            zero(tensors[name], 0, list(range(0, count, 2)))
    del folder
    return model


def _block(net: Net, x: str, name: str, sizes: tuple[int, int, int]) -> str:
    width, count, stride = sizes
    one = net.conv(x, f"{name}.one", width, count, strides=[stride, stride])
    one = net.add("Relu", net.norm(one, f"{name}.one.n", count), out=f"{name}.one.r")
    two = net.norm(net.conv(one, f"{name}.two", count, count), f"{name}.two.n", count)
    side = x
    if stride > 1 or width != count:
        side = net.conv(x, f"{name}.side", width, count, size=1, strides=[stride, stride])
    return net.add("Relu", net.add("Add", two, side, out=f"{name}.sum"), out=f"{name}.out")


def of_torch(name: str) -> Callable[[Path], onnx.ModelProto]:
    """Return what exports a net of torch's."""

    def make(folder: Path) -> onnx.ModelProto:
        net, given = networks.made(name)
        path = folder / "exported.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = {"input_names": ["x"], "output_names": ["y"], "opset_version": 17}
            torch.onnx.export(net, (given,), str(path), dynamo=False, **names)
        return onnx.load(path)

    return make


def of_file(name: str) -> Callable[[Path], onnx.ModelProto]:
    """Return what reads one of the optional models."""
    return lambda folder: onnx.load(MODELS / name)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let ONNX Runtime have one thread, whatever there is."""
    before = os.environ.get("ONNXPRUNE_THREADS")
    os.environ["ONNXPRUNE_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["ONNXPRUNE_THREADS"]
        if before is not None:
            os.environ["ONNXPRUNE_THREADS"] = before


def remove(_: int, say: Say) -> Figures:
    """Take channels out of nets of all kinds: of one those that are zero, of others by size."""
    nets: dict[str, Callable[[Path], onnx.ModelProto]] = {INNER: resnet18}
    nets |= {name: of_torch(name) for name in networks.FEEDFORWARD}
    nets |= {name: of_file(name) for name in SHARED if (MODELS / name).exists()}
    rows, found, tried = [], {}, 0
    for name, make in nets.items():
        for share in SHARES if name != INNER else (0.5,):
            say(f"{name}, {share:.0%}")
            tried += 1
            with tempfile.TemporaryDirectory() as folder, one_thread():
                path = models.save(Path(folder, "m.onnx"), make(Path(folder)))
                try:
                    removal = _removal(path, None if name == INNER else share)
                except OnnxpruneError as error:
                    rest = ["-"] * (len(COLUMNS) - 3)
                    rows.append((name, f"{share:.0%}", error.message[:60], *rest))
                    continue
            found[name, share] = removal
            rows.append(shown(name, share, removal))
    inner = found.get((INNER, 0.5))
    ratio = None if inner is None or inner.latency is None else inner.latency.ratio
    return Figures(
        "removal",
        "Channels taken out by magnitude; time of one sample on one thread, before and after in turn",
        COLUMNS,
        tuple(rows),
        (Goal(f"{INNER}: time over dense", ratio, GOAL),),
        failed=len(found) < tried,
    )


def _removal(path: Path, share: float | None) -> Removal:
    """Take zero channels out of a model, or a share of its filters."""
    trial = onnxprune.trial("random:4", device="cpu", batch=1)
    if share is None:
        return onnxprune.shrink(path, data=trial)
    report = onnxprune.prune(
        path, share, "magnitude", allocation="uniform", remove=True, data=trial
    )
    assert report.removal is not None
    return report.removal


def shown(name: str, share: float, removal: Removal) -> tuple[str, ...]:
    """Return a row's cells."""
    latency, same = removal.latency, removal.same
    assert latency is not None
    assert same is not None
    assert removal.sizes.after is not None
    before, after = removal.parameters
    return (
        name,
        f"{share:.0%}",
        f"{removal.removed}/{removal.before}",
        f"{after / before:.3f}",
        f"{removal.sizes.after / removal.sizes.before:.3f}",
        f"{1000 * latency.dense:.2f}",
        f"{1000 * latency.pruned:.2f}",
        f"{latency.ratio:.3f}",
        f"{same.largest:.1e}",
    )

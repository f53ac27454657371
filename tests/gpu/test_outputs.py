"""Outputs on the GPU beside those of the processor, and of injected weights beside a file's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxprune
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.planning import make_plan
from onnxprune.pruning import edits_of
from onnxprune.recipe import make_recipe
from onnxprune.trials.runner import Runner
from onnxprune.trials.variants import Variants
from tests import models
from tests.benchmarks.models import resnet18
from tests.gpu.probe import DEVICE, DIGITS, PROVIDER, SAMPLES

pytestmark = pytest.mark.gpu

CLOSE = 1e-5
SPARSITIES = (0.5, 0.9)
Array = models.Array


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """A process with sessions on the GPU, in full single precision."""
    # Otherwise products may be rounded to 10 bits, by one algorithm and not by another.
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    with Runner(DEVICE) as runner:
        yield runner


def images() -> dict[str, Array]:
    with np.load(SAMPLES) as file:
        return {"image": file["image"]}


def cosines(first: Array, second: Array) -> Array:
    """Return the cosine of the angle between two outputs, for every sample."""
    one, two = (np.float64(array.reshape(len(array), -1)) for array in (first, second))
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return np.asarray((one * two).sum(axis=1) / norms)


def difference(first: Array, second: Array) -> float:
    """Return the largest difference as a share of the largest value."""
    return float(np.abs(first - second).max() / np.abs(second).max())


@pytest.mark.parametrize("full", [True, False], ids=["full precision", "as it is"])
def test_outputs_point_where_those_of_the_processor_do(
    full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if full:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    found = []
    for device in (DEVICE, "cpu"):
        with Runner(device) as runner:
            runner.open("digits", DIGITS)
            found.append(runner.run("digits", images())["logits"])
    assert cosines(*found).min() > 0.9999
    changed = found[0].argmax(axis=1) != found[1].argmax(axis=1)
    assert changed.sum() <= 1


@pytest.mark.parametrize("name", ["digits", "resnet18"])
def test_injected_weights_answer_as_the_file_does(
    gpu: Runner, name: str, tmp_path: Path
) -> None:
    path, feeds = DIGITS, {"image": images()["image"][:16]}
    if name == "resnet18":
        path = resnet18(tmp_path / "resnet18.onnx")
        generator = np.random.default_rng(3)
        feeds = {"image": generator.standard_normal((4, 3, 224, 224)).astype(np.float32)}
    (output,) = (value[0] for value in gpu.open("dense", path)["outputs"])
    expected = {0.0: gpu.run("dense", feeds)[output]}
    for sparsity in SPARSITIES:
        file = tmp_path / f"{sparsity}.onnx"
        onnxprune.prune(path, sparsity, output=file, verify=False)
        gpu.open("file", file)
        expected[sparsity] = gpu.run("file", feeds)[output]
    with load_onnx(path) as model, Variants(model) as variants:
        for sparsity in (*SPARSITIES, 0.0, SPARSITIES[0]):
            recipe = make_recipe({"sparsity": sparsity})
            plan = make_plan(recipe, model.weights, model.values)
            variants.open(gpu, "variant", edits_of(plan))
            assert gpu.place is not None
            assert gpu.place.provider == PROVIDER
            answer = gpu.run("variant", feeds)[output]
            assert difference(answer, expected[sparsity]) <= CLOSE, sparsity
    assert difference(expected[0.5], expected[0.9]) > 0.01


def test_sessions_on_the_gpu_live_beside_each_other(gpu: Runner, tmp_path: Path) -> None:
    for value in (2, 3):
        weights = [models.constant("w", [value, value])]
        proto = models.model([models.node("Mul x w -> y")], {"x": ["n", 2]}, "y", weights)
        gpu.open(str(value), models.save(tmp_path / f"{value}.onnx", proto))
    x = {"x": np.array([[1, 2]], np.float32)}
    assert gpu.run("2", x)["y"].tolist() == [[2, 4]]
    assert gpu.run("3", x)["y"].tolist() == [[3, 6]]
    gpu.close_session("3")
    assert gpu.run("2", x)["y"].tolist() == [[2, 4]]


def test_half_precision_runs_on_the_gpu(gpu: Runner, tmp_path: Path) -> None:
    weight = models.weight("w", 64, 32, dtype=np.float16)
    proto = models.model([models.node("MatMul x w -> y")], {}, "y", [weight])
    kind = onnx.TensorProto.FLOAT16
    proto.graph.input.append(models.port("x", [8, 64], kind))
    proto.graph.output[0].CopyFrom(models.port("y", [8, 32], kind))
    x = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float16)
    gpu.open("half", models.save(tmp_path / "m.onnx", proto))
    found = gpu.run("half", {"x": x})["y"]
    exact = x.astype(np.float64) @ onnx.numpy_helper.to_array(weight).astype(np.float64)
    assert found.dtype == np.float16
    assert difference(found.astype(np.float64), exact) < 0.01


def test_a_session_on_the_gpu_is_timed_beside_another(gpu: Runner) -> None:
    for key in ("one", "two"):
        gpu.open(key, DIGITS)
    times = gpu.time(["one", "two"], {"image": images()["image"][:16]})
    assert len(times["one"]) == len(times["two"]) >= 5

"""Masks on real models equal, entry by entry, what an independent reference computes."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxprune
from onnxprune import sizes
from onnxprune.types import Report
from tests import reference
from tests.reference import Layer
from tests.reference_weights import onnx_values, quantized_magnitudes
from tests.shared import needs_models

SPARSITIES = (0.0, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99)
FLOAT_MODELS = [
    "resnet20/ts_bn.onnx",
    "resnet20/ts_folded.onnx",
    "resnet20/dynamo.onnx",
    "resnet20/dynamo_ext/resnet20.onnx",
    "resnet20/fp16.onnx",
    "magika/standard_v3_3.onnx",
    "mnist_cntk/mnist.onnx",
    "samplenet/samplenet.onnx",
    "ultraface/rfb_320.onnx",
    "ultraface/slim_320.onnx",
    "hand_gesture/keypoint.onnx",
    "hand_gesture/point_history.onnx",
    "hand_gesture/point_history_lstm.onnx",
]
QUANTIZED_MODELS = ["resnet20/qdq_int8.onnx", "resnet20/qoperator_int8.onnx"]
SIGMA = 64
METHODS = {
    "global": (reference.global_magnitude, {}),
    "uniform": (reference.uniform, {}),
    "uniform_plus": (reference.uniform_plus, {}),
    "er": (reference.er, {}),
    "erk": (reference.erk, {}),
    "lamp": (reference.lamp, {}),
    "min_threshold": (lambda layers, z: reference.min_threshold(layers, z, SIGMA), {}),
    "min_threshold rescale": (
        lambda layers, z: reference.min_threshold(layers, z, SIGMA, mode="rescale"),
        {},
    ),
    "random": (lambda layers, z: reference.random_global(layers, z, 7), {}),
    "random uniform": (lambda layers, z: reference.random_uniform(layers, z, 7), {}),
}


@pytest.fixture(autouse=True)
def not_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks do not depend on what a compressor makes of the files, which takes long."""
    monkeypatch.setattr(sizes, "compressed_size", lambda *_: 0)


def prune(path: Path, output: Path, name: str, sparsity: float) -> Report:
    method, _, mode = name.partition(" ")
    options: dict[str, str] = {}
    allocation = None
    if method == "min_threshold":
        options = {"sigma": str(SIGMA), "mode": mode or "protect"}
    if method == "random":
        allocation = mode or None
    return onnxprune.prune(
        path,
        sparsity,
        method,
        allocation=allocation,
        options=options,
        seed=7,
        output=output,
        force=True,
        verify=False,
    )


def orientation(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return a weight's outputs and inputs from the operator that uses it."""
    nodes = {value: node for node in model.graph.node for value in node.input}
    node = nodes[name]
    while node.op_type in ("Reshape", "Cast", "DequantizeLinear"):
        node = nodes[node.output[0]]
    transposed = {a.name: a.i for a in node.attribute}.get("transB", 0)
    match node.op_type:
        case "Conv" | "QLinearConv":
            return shape[0], shape[1]
        case "Gemm" | "QGemm" if transposed:
            return shape[0], shape[1]
        case "Gemm" | "QGemm" | "MatMul":
            return shape[-1], int(np.prod(shape[:-1]))
        case "LSTM":
            return shape[0] * shape[1], shape[2]
    raise AssertionError(node.op_type)


def layers_of(path: Path, report: Report, values: dict[str, np.ndarray]) -> list[Layer]:
    graph = onnx.load(path, load_external_data=False)
    made = []
    for tensor in report.tensors:
        name = tensor.weight.path
        n_out, n_in = orientation(graph, name, tensor.weight.shape)
        made.append(Layer(name, np.abs(values[name]), n_out, n_in))
    return made


@lru_cache(maxsize=2)
def dense_of(path: Path) -> tuple[dict[str, np.ndarray], list[Layer]]:
    """Return the values of a file, and its weights as the reference takes them."""
    values = onnx_values(path)
    for each in values.values():
        each.flags.writeable = False
    report = onnxprune.prune(path, 0, dry_run=True, verify=False)
    return values, layers_of(path, report, values)


def place_of(model: onnx.ModelProto, name: str) -> int:
    """Return the number of the node that a weight reaches, behind what only moves it."""
    for number, node in enumerate(model.graph.node):
        if name in node.input:
            if node.op_type in ("Reshape", "Cast"):
                return place_of(model, node.output[0])
            return number
    raise AssertionError(name)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("model", FLOAT_MODELS)
def test_the_written_zeros_are_the_references_entry_by_entry(
    model: str, name: str, tmp_path: Path
) -> None:
    path = needs_models(*model.split("/"))
    dense, layers = dense_of(path)
    total = sum(layer.magnitude.size for layer in layers)
    for sparsity in SPARSITIES:
        output = tmp_path / f"{sparsity}" / path.name
        output.parent.mkdir()
        wanted: list[np.ndarray] | None
        zeros = round(sparsity * total)
        try:
            wanted = METHODS[name][0](layers, zeros)
        except reference.Infeasible:
            wanted = None
        if wanted is None:
            with pytest.raises(onnxprune.OnnxpruneError) as refused:
                prune(path, output, name, sparsity)
            assert refused.value.exit_code == 7
            assert not output.exists()
            continue
        report = prune(path, output, name, sparsity)
        pruned = onnx_values(output)
        assert report.mask_zeros == zeros
        for layer, mask, tensor in zip(layers, wanted, report.tensors, strict=True):
            assert tensor.mask_zeros == mask.size - mask.sum()
            np.testing.assert_array_equal(
                pruned[layer.name], np.where(mask, dense[layer.name], 0), layer.name
            )
            assert tensor.tally.zeros == np.count_nonzero(pruned[layer.name] == 0)


@pytest.mark.parametrize("name", ["global", "lamp", "uniform", "erk", "min_threshold"])
@pytest.mark.parametrize("model", QUANTIZED_MODELS)
def test_quantised_weights_are_ranked_by_what_they_stand_for(
    model: str, name: str, tmp_path: Path
) -> None:
    path = needs_models(*model.split("/"))
    magnitudes = quantized_magnitudes(path)
    for sparsity in SPARSITIES:
        output = tmp_path / f"{sparsity}.onnx"
        report = prune(path, output, name, sparsity)
        layers = layers_of(path, report, magnitudes)
        zeros = round(sparsity * sum(layer.magnitude.size for layer in layers))
        wanted = METHODS[name][0](layers, zeros)
        written = quantized_magnitudes(output)
        for layer, mask in zip(layers, wanted, strict=True):
            expected = np.where(mask, magnitudes[layer.name], 0)
            np.testing.assert_array_equal(written[layer.name], expected, layer.name)


@pytest.mark.parametrize("model", FLOAT_MODELS)
def test_weights_come_in_the_order_of_their_nodes(model: str) -> None:
    path = needs_models(*model.split("/"))
    report = onnxprune.inspect(path, verify=False)
    graph = onnx.load(path, load_external_data=False)
    places = [place_of(graph, tensor.weight.path) for tensor in report.tensors]
    assert places == sorted(places)


@pytest.mark.parametrize("model", FLOAT_MODELS)
def test_lamp_keeps_its_identities_on_real_models(model: str, tmp_path: Path) -> None:
    path = needs_models(*model.split("/"))
    dense, _ = dense_of(path)
    previous: dict[str, np.ndarray] = {}
    for sparsity in (0.3, 0.8, 0.99):
        output = tmp_path / str(sparsity) / path.name
        output.parent.mkdir()
        report = prune(path, output, "lamp", sparsity)
        assert all(tensor.mask_zeros < tensor.weight.size for tensor in report.tensors)
        pruned = onnx_values(output)
        for tensor in report.tensors:
            name = tensor.weight.path
            kept = pruned[name] != 0
            gone = np.abs(dense[name][~kept])
            assert gone.size == 0 or gone.max() <= np.abs(dense[name][kept]).min()
            assert not (kept & previous.get(name, np.zeros_like(kept))).any(), "not nested"
            previous[name] = ~kept

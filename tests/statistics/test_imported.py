"""Models of files: what is measured of them is what is measured of the same net in torch."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import Tensor
from torch.nn import functional

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.outcomes import Port
from onnxprune.reimport.module import reimport
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.statistics.collecting import Collector
from onnxprune.statistics.estimation import Estimation
from onnxprune.statistics.targets import find_target
from onnxprune.trials.ports import input_ports
from tests import models
from tests.models import constant, node, weight
from tests.statistics.nets import Array, Net, drawn, measured, samples_of

IMAGES = drawn(8, 6, 2, 6, 6).astype(np.float32)
LABELS = np.arange(6) % 3
STATISTICS = ["gradient", "curvature", "hessian_gradient", "flow"]
TENSORS = {
    "kernel": weight("kernel", 4, 2, 3, 3),
    "scale": weight("scale", 4),
    "shift": weight("shift", 4),
    "mean": weight("mean", 4),
    "variance": constant("variance", [1.0, 2.0, 0.5, 1.0]),
    "head": weight("head", 3, 4),
}
PRUNABLE = ["kernel", "head"]


def network(*last: str) -> onnx.ModelProto:
    nodes = [
        node("Conv x kernel -> maps", "conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization maps scale shift mean variance -> normal", "norm"),
        node("Softplus normal -> bent", "bend"),
        node("GlobalAveragePool bent -> pooled", "pool"),
        node("Flatten pooled -> flat", "flatten"),
        node("Gemm flat head -> scores", "dense", transB=1),
        *[node(text) for text in last or ("Identity scores -> y",)],
    ]
    return models.model(nodes, {"x": ["N", 2, 6, 6]}, "y", list(TENSORS.values()))


def twin() -> Net:
    """The same in torch."""
    arrays = {
        name: onnx.numpy_helper.to_array(each).astype(np.float64)
        for name, each in TENSORS.items()
    }
    rest = {name: torch.from_numpy(arrays[name]) for name in arrays if name not in PRUNABLE}
    net = Net(lambda feeds, w: {}, {name: arrays[name] for name in PRUNABLE})

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        maps = functional.conv2d(feeds["x"].to(w["kernel"].dtype), w["kernel"], padding=1)
        mean, variance = rest["mean"], rest["variance"]
        if net.batch_statistics:
            variance, mean = torch.var_mean(maps, (0, 2, 3), correction=0)
        scale = rest["scale"] / (variance + 1e-5).sqrt()
        normal = (maps - mean[:, None, None]) * scale[:, None, None]
        pooled = functional.softplus(normal + rest["shift"][:, None, None]).mean((2, 3))
        return {"y": pooled @ w["head"].T}

    net.forward = forward
    return net


def collect(
    proto: onnx.ModelProto,
    samples: Samples | None,
    names: Sequence[str],
    **choices: Any,
) -> tuple[dict[str, dict[str, Array]], Collector]:
    """Measure the prunable tensors of a model, as a command would."""
    estimation = Estimation(**{"precision": "float64", **choices})
    with tempfile.TemporaryDirectory() as folder:
        path = models.save(Path(folder, "model.onnx"), proto)
        with load_onnx(path) as model:
            target = find_target(model, estimation.output)
            outputs = ["y"]
            if target.value not in (None, "y"):
                outputs.append(str(target.value))
            paths = [each.path for each in model.weights]
            module = reimport(model, precision=estimation.dtype, outputs=outputs)
            ports = input_ports(model)
    collector = Collector(module, samples, paths, estimation, target, ports)
    return collector.collect(names, None, 1), collector


@pytest.fixture(scope="module")
def wanted() -> Iterator[dict[str, dict[str, Array]]]:
    yield {
        name: measured(twin(), samples_of(IMAGES.astype(np.float64), LABELS), name)
        for name in STATISTICS
    }


@pytest.mark.parametrize("batch", [6, 4])
def test_statistics_of_a_file_are_those_of_the_same_net(
    batch: int, wanted: dict[str, dict[str, Array]]
) -> None:
    samples = samples_of(IMAGES, LABELS)
    found, collector = collect(network(), samples, STATISTICS, batch=batch, batches_per_step=2)
    assert collector._by_sample
    for name in STATISTICS:
        assert sorted(found[name]) == sorted(PRUNABLE)
        for path in PRUNABLE:
            near = 1e-9 * abs(wanted[name][path]).max()
            np.testing.assert_allclose(found[name][path], wanted[name][path], atol=near)
    assert collector.notes == []


@pytest.mark.parametrize(
    "last",
    [
        ["Softmax scores -> y"],
        ["LogSoftmax scores -> y"],
        ["Softmax scores -> shares", "Identity shares -> y"],
        ["Softmax scores -> shares", "Dropout shares -> y"],
    ],
)
def test_what_comes_behind_the_scores_does_not_matter(
    last: list[str], wanted: dict[str, dict[str, Array]]
) -> None:
    found, _ = collect(network(*last), samples_of(IMAGES, LABELS), STATISTICS)
    for name in STATISTICS:
        for path in PRUNABLE:
            near = 1e-9 * abs(wanted[name][path]).max()
            np.testing.assert_allclose(found[name][path], wanted[name][path], atol=near)


def test_a_model_that_decides_is_measured_before_its_decision(
    wanted: dict[str, dict[str, Array]],
) -> None:
    proto = network("Identity scores -> y")
    del proto.graph.node[-1]
    proto.graph.node.append(node("ArgMax scores -> y", axis=1, keepdims=0))
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    found, collector = collect(proto, samples_of(IMAGES, LABELS), STATISTICS)
    for name in STATISTICS:
        for path in PRUNABLE:
            near = 1e-9 * abs(wanted[name][path]).max()
            np.testing.assert_allclose(found[name][path], wanted[name][path], atol=near)
    without, collector = collect(proto, samples_of(IMAGES), ["gradient"])
    assert len(collector.notes) == 1
    assert np.isfinite(without["gradient"]["head"]).all()


def test_the_flow_needs_no_samples(wanted: dict[str, dict[str, Array]]) -> None:
    found, _ = collect(network("Softmax scores -> y"), None, ["flow"])
    for path in PRUNABLE:
        np.testing.assert_allclose(found["flow"][path], wanted["flow"][path], rtol=1e-12)
    single, _ = collect(network(), None, ["flow"], precision="float32")
    np.testing.assert_allclose(single["flow"]["kernel"], found["flow"]["kernel"], rtol=1e-6)


def test_batch_statistics_are_taken_where_they_are_asked_for() -> None:
    samples = samples_of(IMAGES.astype(np.float64), LABELS)
    wanted = measured(twin(), samples, "gradient", bn="batch", batch=3, batches_per_step=2)
    found, collector = collect(
        network(),
        samples_of(IMAGES, LABELS),
        ["gradient"],
        bn="batch",
        batch=3,
        batches_per_step=2,
    )
    by_file, _ = collect(network(), samples_of(IMAGES, LABELS), ["gradient"])
    for path in PRUNABLE:
        np.testing.assert_allclose(found["gradient"][path], wanted[path], atol=1e-12)
        assert not np.allclose(by_file["gradient"][path], wanted[path])
    assert collector.module.batch_statistics is False  # type: ignore[attr-defined]


def test_a_batch_size_in_the_graph_is_gone_through_as_it_is() -> None:
    shape = constant("shape", [3, 4], np.int64)
    proto = network()
    proto.graph.node[4].CopyFrom(node("Reshape pooled shape -> flat", "flatten"))
    proto.graph.initializer.append(shape)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    samples = open_samples(
        {"x": IMAGES, "labels": LABELS}, Reading(), (Port("x", "float32", (3, 2, 6, 6)),)
    )
    found, collector = collect(proto, samples, ["curvature"], batches_per_step=2)
    assert not collector._by_sample
    wanted = measured(twin(), samples_of(IMAGES.astype(np.float64), LABELS), "curvature")
    for path in PRUNABLE:
        np.testing.assert_allclose(found["curvature"][path], wanted[path], rtol=1e-9)


def test_the_flow_after_other_statistics_is_the_same() -> None:
    both, _ = collect(network(), samples_of(IMAGES, LABELS), ["gradient", "flow"])
    alone, collector = collect(network(), None, ["flow"])
    assert np.array_equal(both["flow"]["kernel"], alone["flow"]["kernel"])
    assert np.isnan(collector.loss)
    assert collector.module.precision == torch.float64  # type: ignore[attr-defined]

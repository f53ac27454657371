"""Trains the digits example and writes it as an ONNX file, layer by layer, without an exporter.

Run from the repository root: `python examples/digits/train.py [--output DIR]`. It needs the
`dev` extra (scikit-learn ships the data) and takes about ten seconds on one core. The training
uses the train set of `calibration/make_digits.py` only. A second run on the same machine with
the same versions writes the same bytes; another build of torch or another processor may round
differently and write a slightly different model.
"""

from __future__ import annotations

import argparse
import runpy
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
SEED = 0
EPOCHS = 40
BATCH = 32
LEARNING_RATE = 0.05
WEIGHT_DECAY = 1e-3
# ONNX Runtime and torch sum in different orders, so the last bits of the logits differ.
LARGEST_DIFFERENCE = 1e-4
METADATA = {
    "dataset": "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, 1998, "
    "UCI Machine Learning Repository; its test part as shipped in scikit-learn",
    "dataset_licence": "CC BY 4.0",
    "dataset_source": "https://doi.org/10.24432/C50P49",
    "made_by": "examples/digits/train.py",
    "preprocessing": "image = pixel / 16, so that values lie in [0, 1]",
}


def build_network() -> nn.Sequential:
    """Return the untrained network; its layer names become the ONNX node names."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 16, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 32, 3, padding=1),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(32 * 4 * 4, 128),
            relu3=nn.ReLU(),
            fc2=nn.Linear(128, 10),
        )
    )


def train(image: torch.Tensor, labels: torch.Tensor) -> nn.Sequential:
    """Train by SGD with momentum, weight decay and a cosine step size; one thread, one seed."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    network = build_network()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=WEIGHT_DECAY
    )
    steps = EPOCHS * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            loss = nn.functional.cross_entropy(network(image[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def layer_node(name: str, layer: nn.Module, source: str, result: str) -> onnx.NodeProto:
    """Return the ONNX node that computes one layer of the network."""
    weighted = [source, f"{name}.weight", f"{name}.bias"]
    match layer:
        case nn.Conv2d():
            return helper.make_node(
                "Conv", weighted, [result], name=name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]
            )
        case nn.Linear():
            return helper.make_node("Gemm", weighted, [result], name=name, transB=1)
        case nn.MaxPool2d():
            return helper.make_node(
                "MaxPool", [source], [result], name=name, kernel_shape=[2, 2], strides=[2, 2]
            )
        case nn.ReLU():
            return helper.make_node("Relu", [source], [result], name=name)
        case nn.Flatten():
            return helper.make_node("Flatten", [source], [result], name=name)
    raise TypeError(f"no ONNX operator is written for layer '{name}', {type(layer).__name__}")


def layer_nodes(network: nn.Sequential) -> Iterator[onnx.NodeProto]:
    """Yield the nodes in order, each fed by the one before, from `image` to `logits`."""
    source = "image"
    layers = list(network.named_children())
    for position, (name, layer) in enumerate(layers, start=1):
        result = "logits" if position == len(layers) else f"{name}.output"
        yield layer_node(name, layer, source, result)
        source = result


def as_initializer(name: str, parameter: torch.Tensor) -> onnx.TensorProto:
    """Return a parameter as an initializer whose values lie in `raw_data`, little-endian."""
    values = parameter.detach().numpy().astype("<f4")
    return helper.make_tensor(
        name, TensorProto.FLOAT, list(values.shape), values.tobytes(), raw=True
    )


def to_onnx(network: nn.Sequential) -> onnx.ModelProto:
    """Return the network as an ONNX model with any batch size."""
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        list(layer_nodes(network)),
        "digits",
        [helper.make_tensor_value_info("image", float32, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", float32, ["N", 10])],
        [as_initializer(name, value) for name, value in network.state_dict().items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="onnxprune-examples",
        doc_string="Handwritten digits of 8x8 pixels to ten logits.",
    )
    helper.set_model_props(model, METADATA)
    return model


def verify(path: Path, network: nn.Sequential, image: torch.Tensor) -> npt.NDArray[np.float32]:
    """Check the file and return the logits of ONNX Runtime; refuse if torch's differ."""
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": image.numpy()})
    with torch.no_grad():
        difference = float(np.abs(network(image).numpy() - logits).max())
    if difference > LARGEST_DIFFERENCE:
        raise SystemExit(f"ONNX Runtime and torch differ by {difference:.1e}: {path}")
    print(f"largest difference between ONNX Runtime and torch: {difference:.1e}")
    found: npt.NDArray[np.float32] = logits
    return found


def main() -> None:
    """Train, write `digits.onnx`, check it and print its accuracy on the test set."""
    parser = argparse.ArgumentParser(description="Train the digits example.")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parent,
        metavar="DIR",
        help="folder to write digits.onnx to (default: the folder of this script)",
    )
    folder: Path = parser.parse_args().output
    recipe: dict[str, Any] = runpy.run_path(str(ROOT / "calibration" / "make_digits.py"))
    split = recipe["split_digits"]()
    network = train(torch.from_numpy(split.train.image), torch.from_numpy(split.train.labels))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "digits.onnx"
    path.write_bytes(to_onnx(network).SerializeToString(deterministic=True))
    logits = verify(path, network, torch.from_numpy(split.test.image))
    right = int((logits.argmax(axis=1) == split.test.labels).sum())
    count = len(split.test.labels)
    print(f"test accuracy: {right / count:.2%} ({right} of {count})")
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""The obvious torch version of global magnitude and LAMP on a model with inline data."""

import argparse
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper


def lamp_scores(weight: torch.Tensor) -> torch.Tensor:
    """Give each entry its square over the sum of the squares not below it."""
    squares, order = torch.sort(weight.flatten() ** 2)
    sums = squares.flip(0).cumsum(0).flip(0)
    return torch.empty_like(squares).scatter_(0, order, squares / sums)


def global_scores(weight: torch.Tensor) -> torch.Tensor:
    """Give each entry its magnitude."""
    return weight.flatten().abs()


def prune(source: Path, target: Path, method: str, sparsity: float) -> None:
    """Zero the lowest scores over all two-dimensional initializers."""
    model = onnx.load(source)
    tensors = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 2]
    weights = [torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in tensors]
    score = lamp_scores if method == "lamp" else global_scores
    scores = [score(weight) for weight in weights]
    pool = torch.cat(scores)
    cut = pool.kthvalue(round(sparsity * pool.numel())).values
    for tensor, weight, own in zip(tensors, weights, scores, strict=True):
        weight[(own <= cut).view_as(weight)] = 0
        tensor.raw_data = weight.numpy().tobytes()
    onnx.save(model, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--method", choices=["global", "lamp"], required=True)
    parser.add_argument("--sparsity", type=float, default=0.9)
    options = parser.parse_args()
    prune(options.source, options.target, options.method, options.sparsity)

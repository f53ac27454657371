"""Weights in memory for what plans and allocates: no file is needed for that."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.allocations.candidate import Candidate
from onnxprune.planning import Plan
from onnxprune.registry import find
from onnxprune.scoring import rank
from onnxprune.types import Layout, Weight

Array = NDArray[Any]


def weight(path: str, shape: Sequence[int], node: str = "", embedding: bool = False) -> Weight:
    """Make a weight: a convolution's where it has four dimensions, else a Gemm's."""
    kernel = (2, 3) if len(shape) == 4 else ()
    layout = Layout(tuple(shape), (0,), kernel, (1,))
    size = int(np.prod(shape))
    op = "Conv" if kernel else "Gemm"
    return Weight(path, op, node, tuple(shape), "float32", size, layout, None, embedding)


def normal(name: str, *shape: int) -> Array:
    """Draw values from a name."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return random.standard_normal(shape).astype("f4")


class Tensors:
    """Named arrays as the weights of a model, in their order."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = dict(arrays)
        self.weights = [weight(path, values.shape) for path, values in arrays.items()]

    def values(self, path: str, start: int, stop: int) -> Array:
        """Read a range of a weight."""
        return self.arrays[path].reshape(-1)[start:stop]

    def pruned(self, plan: Plan) -> dict[str, Array]:
        """Return which weights a plan removes, in the shape of each tensor."""
        return {
            path: plan.pruner(path)(0, self.arrays[path].reshape(-1)).reshape(
                self.arrays[path].shape
            )
            if path in plan.cuts
            else np.zeros(self.arrays[path].shape, bool)
            for path in plan.zeros
        }

    def candidates(self, limits: Sequence[int] | None = None) -> list[Candidate]:
        """Present the tensors to an allocation, ranked by magnitude."""
        made = []
        for index, one in enumerate(self.weights):
            ranking = rank(one, self.values, find("magnitude"), {}, 0)
            limit = one.size if limits is None else limits[index]
            made.append(Candidate(one, ranking, ranking, limit))
        return made


def ordinary() -> Tensors:
    """Four tensors as in a small network, the last one small."""
    return Tensors(
        {
            "conv1.weight": normal("a", 8, 1, 3, 3),
            "conv2.weight": normal("b", 16, 8, 3, 3) * 0.5,
            "fc1.weight": normal("c", 32, 64) * 0.1,
            "fc2.weight": normal("d", 10, 32),
        }
    )

"""What tests of recoveries are made of: pools, states and judges of small nets."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onnxprune.outcomes import Port
from onnxprune.recover.judging import Judge, Teacher
from onnxprune.recover.matching import Matched
from onnxprune.recover.pool import Pool, fill_pool
from onnxprune.recover.state import State
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.statistics.feeding import Fed
from onnxprune.statistics.targets import Target
from tests.statistics.nets import Array, Net, layout_of

CPU = torch.device("cpu")
SCORES = Target("y", "y", "scores", 1)


def parts_of(*parts: Mapping[str, Array]) -> Callable[[], list[Mapping[str, Array]]]:
    """Return a function that yields samples in parts, whose shapes may differ."""
    return lambda: list(parts)


def opened(source: Any, *ports: Port) -> Samples:
    return open_samples(source, Reading(), ports)


def free_port(x: Array, name: str = "x") -> Port:
    """An input that takes any number of such samples."""
    return Port(name, str(x.dtype), (None, *x.shape[1:]))


def pool_of(samples: Samples, batch: int = 4, held_out: float = 0.1) -> Pool:
    return fill_pool(samples, CPU, batch, held_out)


def state_of(net: Net, free: Sequence[str] | None = None) -> State:
    """Return the state of a net whose tensors may change, all of them unless told."""
    layouts = {path: layout_of(path, each) for path, each in net.tensors.items()}
    return State(net.tensors, set(net.tensors if free is None else free), layouts)


def judge_of(
    net: Net,
    state: State,
    pool: Pool,
    matched: Matched | None = None,
    label_weight: float = 0.0,
    batch: int = 4,
) -> Judge:
    matched = Matched([SCORES]) if matched is None else matched
    return Judge(net, Teacher(net, state.dense), pool, matched, batch, label_weight)


def fed_of(y: Array, count: int | None = None, answers: Array | None = None) -> Fed:
    """Some samples of which nothing matters but how many they are."""
    rows = len(y)
    given = None if answers is None else torch.from_numpy(answers)
    return Fed(0, rows if count is None else count, rows, False, {}, given)


def answer(**outputs: Any) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(each)) for name, each in outputs.items()}


def values_of(state: State) -> dict[str, Array]:
    """Return copies of all values as they are."""
    return {path: each.detach().numpy().copy() for path, each in state.values.items()}

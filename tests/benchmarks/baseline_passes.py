"""Plain inference: a model run over all samples so many times, and nothing else."""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from onnxprune.threads import worker_count
from onnxprune.trials.runner import Runner

Feeds = dict[str, np.ndarray[Any, Any]]


def read_batches(data: Path, size: int) -> list[Feeds]:
    """Read all samples into memory, cut into batches."""
    with np.load(data) as file:
        arrays = {name: file[name] for name in file.files if name != "labels"}
    count = len(next(iter(arrays.values())))
    return [
        {name: array[start : start + size] for name, array in arrays.items()}
        for start in range(0, count, size)
    ]


def seconds_of(passes: int, batches: list[Feeds], run: Callable[[Feeds], object]) -> float:
    """Run all batches so many times; only that counts."""
    began = time.perf_counter()
    for _ in range(passes):
        for batch in batches:
            run(batch)
    return time.perf_counter() - began


def plain_session(model: Path) -> Callable[[Feeds], object]:
    """Open a model in this process, with the settings that sweeps have."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = worker_count()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    return partial(onnxruntime.InferenceSession(model, options, providers=providers).run, None)


def in_child(model: Path, passes: int, batches: list[Feeds]) -> float:
    """Run in the process that sweeps run models in, fed as they feed it."""
    with Runner("cpu") as runner:
        runner.open("dense", model)
        return seconds_of(passes, batches, partial(runner.run, "dense"))


def plainly(model: Path, passes: int, batches: list[Feeds]) -> float:
    """Run in this process."""
    return seconds_of(passes, batches, plain_session(model))


WAYS = {"child": in_child, "plain": plainly}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("passes", type=int)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--way", choices=WAYS, required=True)
    given = parser.parse_args()
    print(WAYS[given.way](given.model, given.passes, read_batches(given.data, given.batch)))

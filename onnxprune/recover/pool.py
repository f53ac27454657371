"""Calibration samples in memory, in any order, a part of them held out to judge by."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from onnxprune.errors import InputError
from onnxprune.samples.batch import Batch, Samples
from onnxprune.statistics.feeding import Fed, feed_batch
from onnxprune.types import Array

MEMORY = 1 << 30
"""Bytes of samples that are held; of a larger set those that come first."""

LEAST = 2
"""Samples without which nothing can be held out."""


@dataclass(slots=True, eq=False)
class Pool:
    """Samples, as rows that can be put together or as batches that cannot.

    Args:
        source: where they are from.
        samples: the set, which says how a model wants to be fed.
        device: where models compute.
        rows: by input, all samples, where they can be put together.
        constants: inputs that are the same for all samples.
        labels: one per sample, if there are any.
        batches: where rows cannot be put together, batches of one sample each or as many as
            the model fixes.
        held: the numbers of the samples that nothing is fitted on.
        trained: those of the others.
    """

    source: str
    samples: Samples
    device: torch.device
    rows: dict[str, Array] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    labels: Array | None = None
    batches: list[Batch] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)

    def fed(self, numbers: Sequence[int], size: int) -> Iterator[Fed]:
        """Yield some samples as a module takes them, so many at once or as the model fixes."""
        for batch in self._batches(list(numbers), size):
            fed = feed_batch(batch, self.samples.fixed, self.samples.whole, self.device)
            answers = None if batch.labels is None else torch.from_numpy(batch.labels)
            yield fed.with_answers(answers)

    def count(self, numbers: Sequence[int]) -> int:
        """Return how many samples there are in what these numbers stand for."""
        if not self.batches:
            return len(numbers)
        return sum(self.batches[number].count for number in numbers)

    def some(self, numbers: Sequence[int], limit: int) -> list[int]:
        """Return so many samples at most, taken evenly: a set may be sorted."""
        total = self.count(numbers)
        wanted = len(numbers) if total <= limit else max(1, limit * len(numbers) // total)
        return [numbers[place * len(numbers) // wanted] for place in range(wanted)]

    def _batches(self, numbers: list[int], size: int) -> Iterator[Batch]:
        if self.batches:
            yield from (self.batches[number] for number in numbers)
            return
        size = self.samples.batch_size(size)
        for start in range(0, len(numbers), size):
            chosen = numbers[start : start + size]
            # A batch of fixed size is filled up with its last sample.
            filled = chosen + chosen[-1:] * ((self.samples.fixed or 0) - len(chosen))
            feeds = {name: rows[filled] for name, rows in self.rows.items()}
            labels = None if self.labels is None else self.labels[chosen]
            yield Batch(chosen[0], len(chosen), {**feeds, **self.constants}, labels, {})


def fill_pool(samples: Samples, device: torch.device, batch: int, held_out: float) -> Pool:
    """Read samples and hold a part of them out.

    Args:
        samples: the set.
        device: where models compute.
        batch: samples to read at once.
        held_out: the share that nothing is fitted on, taken evenly from the whole set.
    """
    pool = Pool(samples.source, samples, device)
    taken = 0
    found: list[Batch] = []
    for each in samples.batches(batch):
        found.append(each)
        taken += sum(np.asarray(feed).nbytes for feed in each.feeds.values())
        if taken > MEMORY:
            break
    total = sum(each.count for each in found)
    if total < LEAST:
        raise InputError(
            f"{samples.source}: {total} sample{'s' if total != 1 else ''} cannot be divided into"
            " some to fit and some to judge by",
            "a few hundred are a good start",
        )
    if not _put_together(pool, found):
        pool.batches = found
    count = len(pool.batches) or total
    share = Fraction(str(held_out))
    pool.held = [
        number
        for number in range(count)
        if math.floor((number + 1) * share) > math.floor(number * share)
    ]
    if not pool.held:
        pool.held = [count - 1]
    judged = set(pool.held)
    pool.trained = [number for number in range(count) if number not in judged]
    return pool


def _put_together(pool: Pool, found: list[Batch]) -> bool:
    """Make one array per input of all batches, if samples have the same shapes."""
    samples = pool.samples
    if samples.whole:
        return False
    for name, first in found[0].feeds.items():
        if name in samples.constants:
            pool.constants[name] = first
            continue
        parts = [np.asarray(each.feeds[name])[: each.count] for each in found]
        if len({part.shape[1:] for part in parts}) > 1:
            return False
        pool.rows[name] = np.concatenate(parts)
    labels: list[Any] = [each.labels for each in found]
    if all(each is not None for each in labels):
        pool.labels = np.concatenate(labels)
    return True

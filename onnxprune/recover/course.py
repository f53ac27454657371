"""How a training goes: its length, and what the rate and the sparsity are on the way."""

import math
import time
from dataclasses import dataclass

START, PEAK, END = 1 / 25, 0.3, 1e-4
"""The rate begins at a part of its peak, reaches that, and ends at nearly nothing."""

BETAS = (0.85, 0.95)
"""How long gradients are remembered: less where the rate is high."""

RAMP = 0.5
"""The part of a training in which weights fall; in the rest no more do."""


@dataclass(frozen=True, slots=True)
class Course:
    """What a training is given.

    Args:
        epochs: how often it goes through the samples; None where only time counts.
        budget: seconds it may take; None where only epochs count.
        rate: of the largest steps, as a share of how large a tensor's values are.
        optimizer: `adamw` or `sgd`.
        batch: samples in a step.
        seed: where random numbers start.
    """

    epochs: int | None
    budget: float | None
    rate: float
    optimizer: str
    batch: int
    seed: int


@dataclass(slots=True)
class Clock:
    """How far a training is, by what of epochs and time is used up first.

    Args:
        course: what it is given.
        steps: in one epoch.
        done: steps that are done.
        spent: seconds that earlier runs of it took.
    """

    course: Course
    steps: int
    done: int = 0
    spent: float = 0.0
    _began: float = 0.0

    def start(self) -> None:
        """Begin to count time."""
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Return the seconds it has taken."""
        return self.spent + time.monotonic() - self._began

    @property
    def epoch(self) -> float:
        """Return how often it has gone through the samples."""
        return self.done / self.steps

    @property
    def share(self) -> float:
        """Return which part of it is done."""
        parts = [0.0]
        if self.course.epochs is not None:
            parts.append(self.epoch / max(self.course.epochs, 1))
        if self.course.budget is not None:
            parts.append(self.elapsed / self.course.budget)
        return min(1.0, max(parts))


def rate_at(share: float) -> float:
    """Return the rate at a point of a training, as a part of its peak (one cycle)."""
    if share < PEAK:
        return _between(START, 1.0, share / PEAK)
    return _between(1.0, START * END, (share - PEAK) / (1 - PEAK))


def memory_at(share: float) -> float:
    """Return how much of the gradients before is remembered at a point of a training."""
    low, high = BETAS
    if share < PEAK:
        return _between(high, low, share / PEAK)
    return _between(low, high, (share - PEAK) / (1 - PEAK))


def due(share: float, events: int) -> int:
    """Return how many of the events that are spread over the ramp have come."""
    if events <= 1:
        return events
    return min(events, 1 + math.floor(share / RAMP * (events - 1) + 1e-9))


def _between(first: float, last: float, share: float) -> float:
    """Go from one value to another along half a wave."""
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, share))) / 2

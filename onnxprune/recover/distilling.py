"""Trains what pruning left so that it answers as the dense model does, without labels.

Weights may fall on the way: what is left learns to do without them as they go.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onnxprune.recover.augmenting import Augmenting
from onnxprune.recover.course import Clock, Course, due, memory_at, rate_at
from onnxprune.recover.judging import Judge, Teacher
from onnxprune.recover.pool import Pool
from onnxprune.recover.state import State, Tensors
from onnxprune.recoveries import Standing
from onnxprune.statistics.feeding import Fed
from onnxprune.statistics.measurement import Module, failures_named

SMALLEST = 1e-2
"""How large a tensor's values count as at least, so that zeros can be left."""

RETRIES = 3
"""How often a training that ran away goes on from its last good point, at half the rate."""

PATIENCE = 0.34
"""The part of a training without any progress after which it ends."""

Fall = Callable[[int], None]
"""Lets weights fall for the so manieth time, the first being 1, by the values as they are."""


@dataclass(slots=True, eq=False)
class Progress:
    """How far a training is, and all that it needs to go on from there.

    Args:
        clock: of the training.
        events: how many times weights have fallen.
        order: random numbers for the order and the changes of samples.
        slower: what the rate is divided by, after it ran away.
        best: the best values after the last of them fell, and how they stand.
        at: when these were found, as a part of the training.
        loss: the mean of the last epoch.
    """

    clock: Clock
    order: torch.Generator
    events: int = 0
    slower: float = 1.0
    best: Tensors | None = None
    standing: Standing | None = None
    at: float = 0.0
    loss: float = math.nan
    failures: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Distillation:
    """One training of a model.

    Args:
        module: the model; `teacher`: the dense one.
        teacher: see above.
        state: its values, changed in place.
        pool: samples.
        judge: knows the loss, and judges after each epoch.
        course: how it goes.
        augmenting: changes samples.
        events: how many times weights fall on the way; `fall` lets them.
        fall: see above.
        told: is told how far it is.
        keep: is given its progress after every epoch.
    """

    module: Module
    teacher: Teacher
    state: State
    pool: Pool
    judge: Judge
    course: Course
    augmenting: Callable[[torch.Generator], Augmenting]
    events: int = 0
    fall: Fall = lambda step: None
    told: Callable[[Progress], None] = lambda progress: None
    keep: Callable[[Progress, dict[str, Any]], None] = lambda progress, optimizer: None

    def run(self, begun: tuple[Progress, dict[str, Any]] | None = None) -> Progress:
        """Train from the beginning, or from where an earlier run stopped."""
        optimizer = self._optimizer()
        if begun is not None:
            progress, saved = begun
            optimizer.load_state_dict(saved)
        else:
            progress = self.begin()
        progress.clock.start()
        while not self._over(progress):
            optimizer = self._epoch(progress, optimizer)
        if progress.events < self.events:
            # It ran away before all had fallen that has to.
            progress.events = self.events
            self.fall(self.events)
            self._judge(progress)
        if progress.best is not None:
            self.state.restore(progress.best)
        return progress

    def _over(self, progress: Progress) -> bool:
        """Whether nothing more is to be done, or nothing more will come of it."""
        if progress.failures > RETRIES or self._idle(progress):
            return True
        return progress.clock.share >= 1 and progress.events >= self.events

    def begin(self) -> Progress:
        """Return the progress of a training that has not begun."""
        size = self.pool.samples.batch_size(self.course.batch)
        per_step = max(self.course.batch, size) if not self.pool.batches else 1
        steps = max(1, math.ceil(len(self.pool.trained) / per_step))
        order = torch.Generator().manual_seed(self.course.seed)
        return Progress(Clock(self.course, steps), order)

    def _epoch(
        self, progress: Progress, optimizer: torch.optim.Optimizer
    ) -> torch.optim.Optimizer:
        """Go through the samples once, then judge."""
        before = self.state.snapshot()
        augmenting = self.augmenting(progress.order)
        total = count = 0.0
        for numbers in self._batches(progress):
            self._fall(progress)
            if progress.clock.share >= 1:
                break
            loss = self._step(numbers, augmenting, optimizer, progress)
            if not math.isfinite(loss):
                return self._go_back(progress, before)
            total, count = total + loss, count + 1
            progress.clock.done += 1
            self.told(progress)
        if not all(bool(torch.isfinite(each).all()) for each in self.state.values.values()):
            return self._go_back(progress, before)
        progress.loss = total / count if count else progress.loss
        self._judge(progress)
        self.keep(progress, optimizer.state_dict())
        return optimizer

    def _step(
        self,
        numbers: list[int],
        augmenting: Augmenting,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
    ) -> float:
        """Take one step; return its loss."""
        share = progress.clock.share
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_at(share) / progress.slower
            if "betas" in group:
                group["betas"] = (memory_at(share), 0.999)
        optimizer.zero_grad()
        loss = 0.0
        with torch.enable_grad():
            for fed in self.pool.fed(numbers, self.course.batch):
                part = fed.count / len(numbers) if not self.pool.batches else 1.0
                own = self._loss(fed, augmenting) * part
                own.backward()  # type: ignore[no-untyped-call]
                loss += float(own.detach())
        if math.isfinite(loss):
            optimizer.step()
            self.state.enforce()
        return loss

    def _loss(self, fed: Fed, augmenting: Augmenting) -> Tensor:
        feeds = augmenting(fed.feeds)
        with failures_named(fed.label), self._mixed():
            wanted = self.teacher.answer(feeds)
            found = self.module.compute(feeds)
            return self.judge.loss(found, wanted, fed)

    def _mixed(self) -> torch.autocast:
        """Compute in half precision where a GPU has that."""
        cuda = self.pool.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(self.pool.device.type, torch.bfloat16, enabled=cuda)

    def _fall(self, progress: Progress) -> None:
        """Let weights fall whose time has come."""
        wanted = due(progress.clock.share, self.events)
        while progress.events < wanted:
            progress.events += 1
            if progress.events in (wanted, self.events):
                self.fall(progress.events)

    def _judge(self, progress: Progress) -> None:
        """Keep the values if they are the best since the last weights fell."""
        if progress.events < self.events:
            return
        standing = self.judge.stand(self.state.current())
        first = progress.standing is None and math.isfinite(standing.loss)
        if first or (progress.standing and standing.better_than(progress.standing)):
            progress.best, progress.standing = self.state.snapshot(), standing
            progress.at = progress.clock.share

    def _idle(self, progress: Progress) -> bool:
        """Whether it has not come any further for long, and only slower steps are to come."""
        share = progress.clock.share
        return progress.standing is not None and share - progress.at > PATIENCE

    def _go_back(self, progress: Progress, before: Tensors) -> torch.optim.Optimizer:
        """Return to the values before an epoch that ran away, and go on at half the rate."""
        self.state.restore(before)
        self.state.enforce()
        progress.failures += 1
        progress.slower *= 2
        words = "went on at half the rate" if progress.failures <= RETRIES else "ended"
        progress.notes.append(
            f"the loss was no number in epoch {progress.clock.epoch:.0f}: training {words}"
        )
        return self._optimizer()

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return a new optimizer; each tensor's rate goes with the size of its values."""
        groups = []
        for path, value in self.state.values.items():
            value.requires_grad_(path in self.state.free)
            if path in self.state.free:
                size = float(self.state.dense[path].double().square().mean().sqrt())
                peak = self.course.rate * max(size, SMALLEST)
                groups.append({"params": [value], "lr": peak, "peak": peak})
        if self.course.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=0.9, nesterov=True)
        return torch.optim.AdamW(groups, weight_decay=0.0, fused=True)

    def _batches(self, progress: Progress) -> Iterator[list[int]]:
        """Yield the numbers of samples in a new order, so many for each step."""
        order = torch.randperm(len(self.pool.trained), generator=progress.order)
        numbers = np.array(self.pool.trained)[order.numpy()].tolist()
        size = math.ceil(len(numbers) / progress.clock.steps)
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]

"""Collects the statistics that methods ask for, of one model at one mask after another."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from onnxprune.errors import UnsupportedError, UsageError
from onnxprune.outcomes import Port
from onnxprune.reimport.module import Reimported
from onnxprune.samples.batch import Batch, Samples
from onnxprune.statistics.classes import CrossEntropy
from onnxprune.statistics.curvature import curvature
from onnxprune.statistics.determinism import reproducible
from onnxprune.statistics.estimation import CROSS_ENTROPY, MSE, Estimation, find_device
from onnxprune.statistics.feeding import feed_batch
from onnxprune.statistics.flow import flow
from onnxprune.statistics.gradients import gradient, hessian_gradient, reached
from onnxprune.statistics.losses import Loss
from onnxprune.statistics.measurement import (
    Measurement,
    Module,
    batch_statistics,
    failures_named,
)
from onnxprune.statistics.moments import Grams, input_norm
from onnxprune.statistics.own_loss import OwnLoss
from onnxprune.statistics.ranks import Ranks, join_ranks, settle_threads
from onnxprune.statistics.squares import SquaredError
from onnxprune.statistics.targets import Target
from onnxprune.statistics.window import Window
from onnxprune.types import Array, Layout

Statistic = Callable[[Measurement], Mapping[str, Any]]

STATISTICS: dict[str, Statistic] = {
    "gradient": gradient,
    "curvature": curvature,
    "hessian_gradient": hessian_gradient,
    "flow": flow,
    "input_norm": input_norm,
    "gram": Grams,
}
"""What can be measured: by name, a function of one measurement."""

WITHOUT_SAMPLES = {"flow"}
NOT_REACHED = "no gradient reaches"
NOT_MULTIPLIED = "no input is multiplied with"
OF_INPUTS = {"input_norm", "gram"}
"""What is measured of what weights are multiplied with: no loss takes part."""


class Collector:
    """Statistics of one model on one set of samples, at whatever mask it is given.

    Whoever sets `watch` is told, while a step is measured, which share of it is done.

    Args:
        module: the model.
        samples: the set; None where no statistic needs one.
        paths: the tensors to measure.
        estimation: how.
        target: the value that losses look at.
        ports: the inputs, for statistics without samples.
        layouts: how the tensors are read as matrices, for statistics of their inputs.
        ranks: the processes that share the batches; those that torchrun started if not given.
    """

    def __init__(  # noqa: PLR0913 - a model, its samples, and how and by whom it is measured
        self,
        module: Module,
        samples: Samples | None,
        paths: Sequence[str],
        estimation: Estimation,
        target: Target | None = None,
        ports: Sequence[Port] = (),
        layouts: Mapping[str, Layout] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.module = module
        self.loss = float("nan")
        self.count = 0
        self.watch: Callable[[float], None] = lambda share: None
        self.notes: list[str] = []
        self.threads = settle_threads()
        self.ranks = ranks or join_ranks(find_device(estimation.device))
        self._samples = samples
        self._estimation = estimation
        self._target = target or Target(estimation.output, estimation.output)
        self._ports = ports
        self._layouts = layouts or {}
        self._loss = _make_loss(estimation, self._target)
        self._window: Window | None = None
        if samples is not None:
            self._window = Window(samples, estimation.batch, estimation.batches_per_step)
        self._paths = [path for path in paths if path in module.tensors]
        self._leave_out([path for path in paths if path not in module.tensors])
        self._settled = False
        self._by_sample = True

    def collect(
        self, names: Collection[str], masks: Mapping[str, Array] | None, step: int
    ) -> dict[str, Mapping[str, Any]]:
        """Return statistics by name and tensor, in double precision and the file's shapes.

        Args:
            names: the statistics.
            masks: which weights of a tensor are kept; all of those not named.
            step: the first is 1; each measures the next batches of the set.
        """
        unknown = sorted(set(names) - set(STATISTICS))
        if unknown:
            raise UsageError(f"no statistic '{unknown[0]}'; known are {', '.join(STATISTICS)}")
        by_batch = self._estimation.bn == "batch"
        with (
            torch.enable_grad(),
            reproducible(),
            batch_statistics(self.module, by_batch),
        ):
            if not WITHOUT_SAMPLES.issuperset(names):
                self._settle(names)
            measurement = self._measurement(masks or {}, step)
            found: dict[str, Mapping[str, Any]] = {}
            for number, name in enumerate(names):
                measurement.watch = self._part(number, len(names))
                found[name] = STATISTICS[name](measurement)
        self._by_sample = measurement.by_sample
        self.loss, self.count = measurement.mean_loss, measurement.count
        for name, tensors in found.items():
            why = NOT_MULTIPLIED if name in OF_INPUTS else NOT_REACHED
            self._leave_out([path for path in self._paths if path not in tensors], why)
        return {
            name: tensors
            if isinstance(tensors, Grams)
            else {path: tensors[path].cpu().numpy() for path in self._paths}
            for name, tensors in found.items()
        }

    def _part(self, number: int, parts: int) -> Callable[[float], None]:
        """Return what is told how far one of several statistics is."""
        return lambda share: self.watch((number + share) / parts)

    def _measurement(self, masks: Mapping[str, Array], step: int) -> Measurement:
        window = self._window
        return Measurement(
            self.module,
            self._samples,
            self._loss,
            self._estimation,
            self.ranks,
            step,
            {path: self._masked(path, masks.get(path)) for path in self._paths},
            lambda: window.batches(step) if window is not None else (),
            self._ones,
            self._target.value if self._target.inside else None,
            {path: self._layouts[path] for path in self._paths if path in self._layouts},
            self._by_sample,
        )

    def _masked(self, path: str, mask: Array | None) -> torch.Tensor:
        dense = self.module.tensors[path].detach()
        if mask is None:
            return dense
        kept = torch.from_numpy(np.array(mask, bool)).reshape(dense.shape).to(dense.device)
        return torch.where(kept, dense, 0)

    def _settle(self, names: Collection[str]) -> None:
        """Learn from the first batch what outputs look like and what gradients arrive at."""
        if self._window is None or self._samples is None:
            raise UsageError(
                f"{', '.join(sorted(set(names) - WITHOUT_SAMPLES))}: measured on samples, and"
                " there are none",
                "--data gives them",
            )
        if self._settled:
            return
        batch = self._window.first()
        measurement = self._measurement({}, 1)
        bare = feed_batch(batch, self._samples.fixed, self._samples.whole, measurement.device)
        if isinstance(self.module, Reimported):
            self.module.specialise(bare.feeds)
        if OF_INPUTS.issuperset(names):
            return
        with torch.no_grad(), failures_named(bare.label):
            outputs = measurement.outputs(bare.feeds, {})
        self._loss.settle(outputs, batch, bare)
        fed = measurement.fed(batch)
        with failures_named(fed.label):
            arrived = set(reached(measurement, fed))
        self._leave_out([path for path in self._paths if path not in arrived])
        self._note(names, batch)
        self._settled = True

    def _note(self, names: Collection[str], batch: Batch) -> None:
        """Say what stands for answers, where they matter."""
        estimation = self._estimation
        known = estimation.curvature not in self._loss.looks_at_answers
        if known and not {"gradient", "hessian_gradient"} & set(names):
            return
        note = self._loss.note(batch)
        if note is not None:
            self.notes.append(note)

    def _leave_out(self, paths: Sequence[str], why: str = NOT_REACHED) -> None:
        """Go on without some tensors, and say so."""
        self.notes += [f"{why} '{path}': it is left alone" for path in paths]
        self._paths = [path for path in self._paths if path not in paths]
        if not self._paths:
            raise UnsupportedError(
                f"{why} any tensor that could be pruned",
                "a method that needs no samples, such as --method lamp, prunes it",
            )

    def _ones(self) -> dict[str, Any]:
        """Return ones for all inputs, of one sample where the model does not fix it."""
        if self._window is not None and self._samples is not None:
            batch = self._window.first()
            fed = feed_batch(
                batch, self._samples.fixed, self._samples.whole, torch.device("cpu")
            )
            if self._samples.fixed is None:
                return {name: _ones_like(each) for name, each in fed.one(0).feeds.items()}
            return {name: _ones_like(each) for name, each in fed.feeds.items()}
        return {port.name: torch.from_numpy(_ones_for(port)) for port in self._ports}


def _make_loss(estimation: Estimation, target: Target) -> Loss:
    if estimation.loss == CROSS_ENTROPY:
        return CrossEntropy(target)
    if estimation.loss == MSE:
        return SquaredError(target)
    return OwnLoss(estimation.loss, target)


def _ones_like(feed: Any) -> Any:
    if not isinstance(feed, torch.Tensor):
        raise UnsupportedError("the flow is of numbers; the model takes text")
    return torch.ones_like(feed)


def _ones_for(port: Port) -> Array:
    """Return ones for an input that the graph describes."""
    if port.dtype in (None, "str") or port.shape is None:
        raise UnsupportedError(
            f"the flow begins with ones; of what shape for input '{port.name}' is not known",
            "--data gives samples of the right shape",
        )
    shape = [size or (1 if axis == 0 else None) for axis, size in enumerate(port.shape)]
    if None in shape:
        raise UsageError(
            f"the flow begins with ones, and input '{port.name}' leaves sizes free",
            "--data gives samples of the right shape",
        )
    return np.ones([size or 1 for size in shape], port.dtype)

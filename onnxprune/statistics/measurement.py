"""One measurement of a model: its weights at a mask, the samples of a step, sums over them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from onnxprune.errors import InputError, LimitError, OnnxpruneError, UnsupportedError
from onnxprune.samples.batch import Batch, Samples
from onnxprune.statistics.estimation import Estimation
from onnxprune.statistics.feeding import Fed, feed_batch
from onnxprune.statistics.losses import Loss, Outputs
from onnxprune.statistics.ranks import Part, Ranks
from onnxprune.types import Layout

Tensors = dict[str, Tensor]


class Module(Protocol):
    """What is asked of a module: its tensors by path, and outputs with others in their place."""

    tensors: dict[str, nn.Parameter]

    def compute(
        self, feeds: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> dict[str, Any]:
        """Return the outputs."""


@dataclass(slots=True, eq=False)
class Measurement:
    """A model as it is in one step, and the samples it is measured on.

    Args:
        module: the model.
        samples: the set; None where none is needed.
        loss: what gradients are of.
        estimation: how statistics are estimated.
        ranks: the processes that share the batches.
        step: its number, the first of which is 1.
        tensors: the values of the tensors that are measured, pruned as they are by now.
        batches: those of the step, the same ones in all processes.
        ones: for each input, ones in the shape of one sample.
        hidden: the value that the module returns though it is no output.
        layouts: how the tensors are read as matrices.
        by_sample: whether samples can be told apart inside of one run, as far as is known.
        watch: is told which share of a mean is done.
        mean_loss: of the samples that were measured, and how many they were.
        count: see above.
    """

    module: Module
    samples: Samples | None
    loss: Loss
    estimation: Estimation
    ranks: Ranks
    step: int
    tensors: Tensors
    batches: Callable[[], Iterable[Batch]]
    ones: Callable[[], dict[str, Any]]
    hidden: str | None = None
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    by_sample: bool = True
    watch: Callable[[float], None] = lambda share: None
    mean_loss: float = field(default=float("nan"))
    count: int = 0
    _batches: int = 0

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return next(iter(self.module.tensors.values())).device

    def leaves(self) -> Tensors:
        """Return the tensors as what gradients are taken by."""
        return {path: each.detach().requires_grad_() for path, each in self.tensors.items()}

    def outputs(self, feeds: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Outputs:
        """Compute the outputs with some tensors in place of the dense ones."""
        return self.module.compute(feeds, {**self.fixed(), **tensors})

    def fixed(self) -> Tensors:
        """Return the dense values of all tensors, by which nothing is differentiated."""
        return {path: each.detach() for path, each in self.module.tensors.items()}

    def bare(self, batch: Batch) -> Fed:
        """Prepare a batch, without answers."""
        assert self.samples is not None
        return feed_batch(batch, self.samples.fixed, self.samples.whole, self.device)

    def fed(self, batch: Batch) -> Fed:
        """Prepare a batch, its answers included."""
        fed = self.bare(batch)
        return fed.with_answers(self.loss.answers(batch, fed, lambda: self._decide(fed)))

    def mean(self, work: Callable[[Fed], Part]) -> Tensors:
        """Return the mean over the step's samples of what some work on each batch adds up."""
        total = self._added_up(work, self.fed)
        self.mean_loss = total.loss / total.count
        return {path: tensor / total.count for path, tensor in total.tensors.items()}

    def total(self, work: Callable[[Fed], Part]) -> Tensors:
        """Return the sum over the step's samples of some work that looks at no answers."""
        return self._added_up(work, self.bare).tensors

    def _added_up(self, work: Callable[[Fed], Part], prepare: Callable[[Batch], Fed]) -> Part:
        self._batches = 0

        def checked(batch: Batch) -> Part:
            fed = prepare(batch)
            with failures_named(fed.label):
                part = work(fed)
            _check(part, fed.label)
            self._batches += 1
            self.within(0.0)
            return part

        total = self.ranks.total(self.batches(), checked, self.tensors)
        self.count = total.count
        return total

    def within(self, share: float) -> None:
        """Tell how far the work on the next batch is."""
        done = (self._batches + share) * self.ranks.world
        self.watch(min(1.0, done / self.estimation.batches_per_step))

    def _decide(self, fed: Fed) -> Outputs:
        """Compute the outputs of the dense model, as it is used: by the file's statistics."""
        with torch.no_grad(), batch_statistics(self.module, False), failures_named(fed.label):
            return self.module.compute(fed.feeds, self.fixed())


@contextmanager
def batch_statistics(module: Module, wanted: bool) -> Iterator[None]:
    """Let a module normalise by the statistics of each batch, or by its own, for a while."""
    before = getattr(module, "batch_statistics", False)
    module.batch_statistics = wanted  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.batch_statistics = before  # type: ignore[attr-defined]


@contextmanager
def failures_named(where: str) -> Iterator[None]:
    """Turn what torch raises into errors that say where it happened."""
    try:
        yield
    except OnnxpruneError:
        raise
    except (RuntimeError, MemoryError, NotImplementedError, ValueError, IndexError) as error:
        words = " ".join(str(error).split())
        memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if memory or "allocate memory" in words:
            hint = "--batch 1 needs the least"
            raise LimitError(f"{where}: out of memory", hint) from error
        raise UnsupportedError(f"{where}: torch has no gradient here: {words}") from error


def _check(part: Part, where: str) -> None:
    """Refuse what is no number."""
    if part.loss != part.loss or abs(part.loss) == float("inf"):
        raise InputError(
            f"the loss of {where} is {part.loss}", "are they what the model takes?"
        )
    for path, tensor in part.tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(
                f"what is measured of '{path}' on {where} is not finite",
                "--precision float64 has a wider range",
            )

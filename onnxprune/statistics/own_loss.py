"""A loss of the user's own: calling it, and judging what it returns."""

from collections.abc import Callable

import torch
from torch import Tensor

from onnxprune.errors import OnnxpruneError, UsageError
from onnxprune.foreign import load_function, said
from onnxprune.samples.batch import Batch
from onnxprune.statistics.feeding import Fed, cut_rows, row_of
from onnxprune.statistics.losses import Aim, Outputs, Uniform, spell
from onnxprune.statistics.targets import Target
from onnxprune.trials.own_metric import LABELS


class OwnLoss:
    """A function of the outputs and the samples, each by name, that returns their mean loss.

    Args:
        spec: where it is, as `module:function` or `file.py:function`.
        target: the value that is no output, if the module returns one beside its outputs.
    """

    looks_at_answers: tuple[str, ...] = ()

    def __init__(self, spec: str, target: Target) -> None:
        self._function, name = load_function(spec, "loss", "--loss")
        self._shown = f"loss {name}"
        self._hidden = target.value if target.inside else None

    def settle(self, outputs: Outputs, batch: Batch, fed: Fed) -> None:
        """Learn nothing: the function knows its outputs."""

    def answers(self, batch: Batch, fed: Fed, dense: Callable[[], Outputs]) -> Tensor | None:
        """Return the labels, if there are any."""
        return None if batch.labels is None else torch.from_numpy(batch.labels)

    def note(self, batch: Batch) -> str | None:
        """Say nothing: what to do without labels is the function's to know."""

    def mean(self, outputs: Outputs, fed: Fed, temperature: float = 1.0) -> Tensor:
        """Return what the function says; it has no scores that a temperature is for."""
        del temperature
        shown = {name: each for name, each in outputs.items() if name != self._hidden}
        samples = cut_rows(fed.feeds, fed)
        if fed.answers is not None:
            samples[LABELS] = fed.answers.to(_device(shown))
        try:
            answer = self._function(cut_rows(shown, fed), samples)
        except (OnnxpruneError, MemoryError, torch.OutOfMemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(f"{self._shown} failed: {said(error)}") from error
        if not isinstance(answer, Tensor) or answer.numel() != 1:
            found = type(answer).__name__
            if isinstance(answer, Tensor):
                found = f"a tensor of shape {spell(answer.shape)}"
            raise UsageError(
                f"{self._shown} returned {found}; it must return one number as a tensor"
            )
        return answer.reshape(())

    def quantities(self, outputs: Outputs, fed: Fed) -> Tensor:
        """Return the loss of each sample by itself."""
        losses = [
            self.mean(row_of(outputs, fed, row), fed.one(row)) for row in range(fed.count)
        ]
        return torch.stack(losses).reshape(fed.count, 1)

    def aim(self, quantities: Tensor, fed: Fed, curvature: str, uniform: Uniform) -> Aim:
        """Take the gradient of the loss itself, which is all that is known of it."""
        if curvature != "empirical":
            raise UsageError(
                f"--curvature {curvature} goes with cross-entropy and mse: what a loss of"
                " your own is curved like is not known",
                "--curvature empirical squares its gradients",
            )
        return Aim(direction=quantities.new_ones(fed.count, 1))


def _device(outputs: Outputs) -> torch.device:
    found = [each.device for each in outputs.values() if isinstance(each, Tensor)]
    return found[0] if found else torch.device("cpu")

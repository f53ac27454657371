"""The nouns of a recovery: how a model stands, and what each step won back."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """How a model does on the samples that were held out.

    Args:
        loss: how far it is from the dense model, 0 being the same and 1 no better than the mean;
            with labels, what they add comes on top.
        agreement: the share of decisions that are the dense model's; None without decisions.
        accuracy: the share of right ones; None without labels.
    """

    loss: float
    agreement: float | None = None
    accuracy: float | None = None

    def better_than(self, other: "Standing") -> bool:
        """Whether it is closer to what is wanted; what is no number is never better."""
        return math.isfinite(self.loss) and not self.loss >= other.loss


@dataclass(frozen=True, slots=True)
class RecoveryStep:
    """One thing that was tried.

    Args:
        name: what.
        standing: how the model stood after it.
        kept: whether it stayed, which it does only if the model is better for it.
        seconds: the time it took.
        note: what else there is to say.
    """

    name: str
    standing: Standing
    kept: bool
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was done to win accuracy back, judged by samples that were held out.

    Args:
        source: where the samples are from.
        fitted: samples that were fitted on; `held`: those that were held out.
        matched: the values of the model that were compared.
        dense: how the dense model stands.
        pruned: how it stands with nothing but its weights taken.
        steps: what was tried, in order.
        final: how the model stands that is written.
        changed: tensors that hold other values now, apart from those that fell.
        created: biases that were added, by the name of their tensor.
        device: where it was computed.
    """

    source: str
    fitted: int
    held: int
    matched: tuple[str, ...]
    dense: Standing
    pruned: Standing
    steps: tuple[RecoveryStep, ...]
    final: Standing
    changed: int = 0
    created: tuple[str, ...] = ()
    device: str = "cpu"

"""Tries one thing after the other, and keeps what makes the model better."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from onnxprune.errors import LimitError, OnnxpruneError, UnsupportedError
from onnxprune.recover.judging import Judge
from onnxprune.recover.state import State, Tensors
from onnxprune.recoveries import RecoveryStep, Standing


@dataclass(slots=True, eq=False)
class Attempts:
    """What was tried so far, and the best of it.

    Args:
        state: the model's values, changed in place.
        judge: says how the model stands.
        standing: how it does now.
        steps: what was tried.
    """

    state: State
    judge: Judge
    standing: Standing
    steps: list[RecoveryStep] = field(default_factory=list)

    def attempt(self, name: str, work: Callable[[], str]) -> None:
        """Do something with the model; take it back if the model is not better for it.

        Args:
            name: what it is called.
            work: does it, and returns what there is to say of it.
        """
        began = time.perf_counter()
        values, masks = self.state.snapshot(), dict(self.state.masks)
        try:
            note = work()
            found = self.judge.stand(self.state.current())
        except (UnsupportedError, LimitError) as error:
            # One thing that cannot be done is no reason not to do the others.
            note, found = _said(error), Standing(float("nan"))
        kept = found.better_than(self.standing)
        self.steps.append(RecoveryStep(name, found, kept, time.perf_counter() - began, note))
        if kept:
            self.standing = found
        else:
            self.go_back(values, masks)

    def go_back(self, values: Tensors, masks: Tensors) -> None:
        """Return to other values and masks."""
        self.state.masks.clear()
        self.state.masks.update(masks)
        self.state.restore(values)


def _said(error: OnnxpruneError) -> str:
    return f"not done: {error.message}"

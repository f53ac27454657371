"""Tells how far a pruning in steps is, and keeps what its losses were."""

import math
from dataclasses import dataclass, field

from onnxprune.pruning import Progress

SHARES = 1000
"""In how many parts a step's progress is told."""


@dataclass(slots=True, eq=False)
class Watched:
    """One pruning's steps, as they go on.

    Args:
        progress: is told how far they are.
        steps: how many there are.
        losses: of what was measured in each step, by its number.
    """

    progress: Progress | None
    steps: int
    losses: dict[int, float] = field(default_factory=dict)
    _step: int = 0
    _state: str = ""

    def tell(self, step: int, steps: int, loss: float, kept: int) -> None:
        """Note a step that is done."""
        self.losses[step], self._step = loss, step
        shown = f", loss {loss:.4g}" if math.isfinite(loss) else ""
        self._state = f": step {step} of {steps}, {kept:,} kept{shown}" if steps > 1 else ""
        self.within(0.0)

    def within(self, share: float) -> None:
        """Pass on how much of the next step is done."""
        if self.progress is not None:
            done = round((self._step + share) * SHARES)
            self.progress(f"measuring{self._state}", done, self.steps * SHARES)

    def loss(self, step: int) -> float | None:
        """Return the loss in a step, if there was one."""
        found = self.losses.get(step, math.nan)
        return found if math.isfinite(found) else None

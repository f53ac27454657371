"""Says which claims hold, of numbers that `claims.py` measured; it knows of no net."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LOSS_MODELS = ("linear", "quadratic", "obd")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one net, with losses as they are printed.

    Args:
        net: which one; `method`, `steps`, `sparsity`: how it was pruned.
        alive: tensors with at least one weight; 0 where the method gave up.
        smallest: the fewest weights that a tensor keeps.
        loss: the training loss of the masked net.
        retrained: the same after the masked net was trained.
    """

    net: str
    method: str
    steps: int
    sparsity: float
    alive: int = 0
    smallest: int = 0
    loss: float = math.inf
    retrained: float = math.inf


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, and pairs of numbers whose first is the smaller one where it is true."""

    sentence: str
    pairs: Sequence[tuple[float, float]]

    @property
    def verdict(self) -> str:
        """Whether it held, and in how many of the comparisons."""
        held = sum(first < second for first, second in self.pairs)
        equal = sum(first == second for first, second in self.pairs)
        count = f"{held} of {len(self.pairs)}" + (f", {equal} equal" if equal else "")
        if held == len(self.pairs):
            words = "held"
        elif held:
            words = "held in part"
        else:
            words = "no difference" if equal == len(self.pairs) else "did not hold"
        return f"{words} ({count})"


def judge_untrained(outcomes: Iterable[Outcome]) -> list[Claim]:
    """Compare FORCE in several steps with SNIP, for each net."""
    found = {(each.net, each.method, each.steps): each for each in outcomes}
    pairs = [
        (each, found[each.net, "snip", 1])
        for each in found.values()
        if each.method == "force" and each.steps > 1
    ]
    alive = [(-force.alive, -snip.alive) for force, snip in pairs]
    at_once = [(force.loss, snip.loss) for force, snip in pairs]
    retrained = [(force.retrained, snip.retrained) for force, snip in pairs]
    return [
        Claim("FORCE in several steps keeps more layers alive than SNIP", alive),
        Claim("FORCE in several steps has a lower loss than SNIP at once", at_once),
        Claim("FORCE in several steps has a lower loss than SNIP once trained", retrained),
    ]


def judge_steps(outcomes: Iterable[Outcome]) -> list[Claim]:
    """Compare each number of steps with the next smaller one, for each loss model."""
    found = {(each.method, each.sparsity, each.steps): each.loss for each in outcomes}
    claims = []
    for method in LOSS_MODELS:
        curves: dict[float, list[float]] = {}
        for name, sparsity, steps in sorted(found):
            if name == method:
                curves.setdefault(sparsity, []).append(found[name, sparsity, steps])
        pairs = [(b, a) for losses in curves.values() for a, b in itertools.pairwise(losses)]
        claims.append(Claim(f"More steps of {method} preserve the loss better", pairs))
    return claims


def judge_gradient(outcomes: Iterable[Outcome], when: str) -> Claim:
    """Compare the quadratic model, which has a gradient term, with OBD, which has none."""
    found = {(each.method, each.steps, each.sparsity): each.loss for each in outcomes}
    pairs = [
        (loss, found["obd", steps, sparsity])
        for (method, steps, sparsity), loss in found.items()
        if method == "quadratic"
    ]
    return Claim(f"quadratic preserves the loss better than obd {when}", pairs)

"""What a model's graph says of whole outputs: which have to stay, and which are one unit."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from onnxprune.removals import Follower
from onnxprune.types import Array, Skipped, Weight


def structured(
    weights: Sequence[Weight],
    left_out: Mapping[str, str],
    units: Mapping[str, Array] | None = None,
    followers: Sequence[Follower] = (),
) -> list[Weight]:
    """Return weights that know what holds for their outputs as wholes.

    Args:
        weights: the weights.
        left_out: those none of whose outputs may vanish, by path, and why.
        units: by path the number of each output's unit, -1 where it is one of its own; outputs
            of the same number are scored together, and stay or fall together.
        followers: constants that go with units.
    """
    known = units or {}
    fresh = 1 + max((int(numbers.max(initial=-1)) for numbers in known.values()), default=-1)
    made = []
    for weight in weights:
        numbers = known.get(weight.path, np.zeros(0, np.int64)).copy()
        alone = numbers < 0
        numbers[alone] = np.arange(fresh, fresh + int(alone.sum()))
        fresh += int(alone.sum())
        own = tuple(numbers.tolist())
        made.append(
            replace(
                weight,
                held=left_out.get(weight.path, weight.held),
                units=own,
                followers=tuple(each for each in followers if set(each.units) & set(own)),
            )
        )
    return made


def leave_incomplete(
    chosen: Sequence[Weight], weights: Sequence[Weight]
) -> tuple[list[Weight], list[Skipped]]:
    """Leave out what shares a unit with a weight that was not chosen.

    Args:
        chosen: the weights that were chosen; `weights`: all there are.
        weights: see above.
    """
    left = list(chosen)
    skipped: list[Skipped] = []
    known = {weight.path for weight in chosen}
    waiting = [weight for weight in weights if weight.path not in known]
    while waiting:
        other = waiting.pop()
        joined = [weight for weight in left if set(weight.units) & set(other.units)]
        why = f"its outputs are one with those of '{other.path}', which is left alone"
        skipped += [Skipped(weight.path, why, weight.size) for weight in joined]
        waiting += joined
        left = [weight for weight in left if weight not in joined]
    return left, skipped

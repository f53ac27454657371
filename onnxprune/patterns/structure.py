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
    going: dict[int, list[int]] = {}
    for at, follower in enumerate(followers):
        for unit in set(follower.units):
            going.setdefault(unit, []).append(at)
    made = []
    for weight in weights:
        numbers = known.get(weight.path, np.zeros(0, np.int64)).copy()
        alone = numbers < 0
        numbers[alone] = np.arange(fresh, fresh + int(alone.sum()))
        fresh += int(alone.sum())
        own = tuple(numbers.tolist())
        places = sorted({at for unit in own for at in going.get(unit, ())})
        made.append(
            replace(
                weight,
                held=left_out.get(weight.path, weight.held),
                units=own,
                followers=tuple(followers[at] for at in places),
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
    owners: dict[int, set[str]] = {}
    for weight in chosen:
        for unit in weight.units:
            owners.setdefault(unit, set()).add(weight.path)
    left = {weight.path: weight for weight in chosen}
    skipped: list[Skipped] = []
    waiting = [weight for weight in weights if weight.path not in left]
    while waiting:
        other = waiting.pop()
        joined = {path for unit in set(other.units) for path in owners.get(unit, ())}
        why = f"its outputs are one with those of '{other.path}', which is left alone"
        for path in [path for path in left if path in joined]:
            weight = left.pop(path)
            skipped.append(Skipped(path, why, weight.size))
            waiting.append(weight)
    return list(left.values()), skipped

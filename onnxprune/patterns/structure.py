"""What a model's graph says of whole outputs: which have to stay, and which are one unit."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnxprune.types import Skipped, Weight


def structured(
    weights: Sequence[Weight],
    left_out: Mapping[str, str],
    couplings: Sequence[tuple[str, ...]] = (),
) -> list[Weight]:
    """Return weights that know what holds for their outputs as wholes.

    Args:
        weights: the weights.
        left_out: those none of whose outputs may vanish, by path, and why.
        couplings: paths of weights whose outputs of the same number are one unit: they are
            scored by all their weights together, and stay or fall together.
    """
    together = {path: coupling for coupling in couplings for path in coupling}
    return [
        replace(
            weight,
            held=left_out.get(weight.path, weight.held),
            coupling=together.get(weight.path, weight.coupling),
        )
        for weight in weights
    ]


def leave_incomplete(weights: Sequence[Weight]) -> tuple[list[Weight], list[Skipped]]:
    """Leave out the weights that are coupled with one that is not there."""
    known = {weight.path for weight in weights}
    chosen, skipped = [], []
    for weight in weights:
        other = next((path for path in weight.coupling if path not in known), None)
        if other is None:
            chosen.append(weight)
        else:
            why = f"its outputs are one with those of '{other}', which is left alone"
            skipped.append(Skipped(weight.path, why, weight.size))
    return chosen, skipped


def couplings_of(weights: Sequence[Weight]) -> list[tuple[str, ...]]:
    """Return the weights by path, those together that are coupled, in their order."""
    return list(dict.fromkeys(weight.coupling or (weight.path,) for weight in weights))

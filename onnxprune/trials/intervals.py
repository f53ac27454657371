"""Confidence intervals of shares and of their differences; nothing of models."""

import math
from statistics import NormalDist

from onnxprune.outcomes import Accuracy

CONFIDENCE = 0.95


def drop_interval(accuracy: Accuracy, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of the accuracy that is lost: both models answered the same.

    It is the adjusted Wald interval for matched pairs (Agresti and Min, 2005), which adds
    half an observation to each of the four ways in which two answers can be right or wrong.
    """
    lost, won, total = accuracy.lost + 0.5, accuracy.won + 0.5, accuracy.total + 2
    drop = (lost - won) / total
    spread = _quantile(confidence) * math.sqrt(((lost + won) / total - drop**2) / total)
    return max(-1.0, drop - spread), min(1.0, drop + spread)


def share_interval(
    successes: int, total: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return Wilson's score interval of a share."""
    if not total:
        return 0.0, 1.0
    share, square = successes / total, _quantile(confidence) ** 2 / total
    middle = (share + square / 2) / (1 + square)
    spread = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    # The ends are exact where nothing or everything succeeded; rounding would miss them.
    low = 0.0 if successes == 0 else max(0.0, middle - spread)
    high = 1.0 if successes == total else min(1.0, middle + spread)
    return low, high


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)

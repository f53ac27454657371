"""How the figures of checks are spelt: the same in every form of a report."""

import math
from fractions import Fraction

NONE = "-"
"""Where there is no figure."""

SHARES = ("accuracy", "agreement")
"""Measures that are shares of samples; own metrics may have any scale."""


def share(value: float | Fraction | None) -> str:
    """Spell a share so that it is neither 0 nor 100 % unless it is exactly that."""
    if value is None or math.isnan(value):
        return NONE
    text = f"{float(100 * value):.2f}"
    if text == "100.00" and value < 1:
        text = ">99.99"
    if text == "0.00" and value > 0:
        text = "<0.01"
    return text + " %"


def points(drop: float | Fraction | None) -> str:
    """Spell a loss of accuracy in points of a hundred, a gain as less than none."""
    if drop is None or math.isnan(drop):
        return NONE
    text = f"{float(100 * drop):.2f}"
    if text in ("0.00", "-0.00") and drop:
        return "<0.01" if drop > 0 else ">-0.01"
    return "0.00" if text == "-0.00" else text


def change(drop: float | Fraction) -> str:
    """Say by how many points accuracy fell or rose."""
    if not drop:
        return "no change"
    return f"{points(drop if drop > 0 else -drop)} points {'less' if drop > 0 else 'more'}"


def cosine(value: float | None) -> str:
    """Spell a cosine so that it is 1 only where nothing but rounding is missing."""
    if value is None or math.isnan(value):
        return NONE
    text = f"{value:.4f}"
    return ">0.9999" if text == "1.0000" and value < 1 - 1e-12 else text


def number(value: float | None, digits: int = 3) -> str:
    """Spell any other number."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}g}"


def decibels(value: float | None) -> str:
    """Spell a ratio of signal to noise."""
    return NONE if value is None or math.isnan(value) else f"{value:.1f} dB"


def duration(seconds: float) -> str:
    """Spell a short time."""
    if not math.isfinite(seconds):
        return NONE
    if seconds < 0.9995:
        milliseconds = 1000 * seconds
        digits = 3 if milliseconds < 1 else 2 if milliseconds < 100 else 0
        return f"{milliseconds:.{digits}f} ms"
    return f"{seconds:.2f} s"


def sparsity(value: float) -> str:
    """Spell a sparsity as it was asked for."""
    return f"{100 * value:.10g} %"

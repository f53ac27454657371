"""Heat: a number from 0 to 1 as a colour, a shade or a digit."""

import math
from itertools import pairwise

COLOURS = (
    (0.00, (226, 243, 235)),
    (0.25, (250, 226, 140)),
    (0.50, (240, 160, 72)),
    (0.75, (205, 80, 40)),
    (1.00, (122, 16, 28)),
)
"""From pale green to dark red, always darker: in grey or without red it is still an order."""

SHADES = " ░▒▓█"
DARK = 0.75
"""From here on letters are white."""


def find_heat(value: float | None, largest: float) -> float | None:
    """Return where a loss lies between none and the largest; a gain is no loss."""
    if value is None or math.isnan(value):
        return None
    if value <= 0 or largest <= 0:
        return 0.0
    return 1.0 if math.isinf(value) or value >= largest else value / largest


def colour(heat: float) -> str:
    """Return the colour of a heat as a web colour."""
    for (low, first), (high, second) in pairwise(COLOURS):
        if heat <= high:
            part = (heat - low) / (high - low)
            mixed = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
            return "#" + "".join(f"{channel:02x}" for channel in mixed)
    raise ValueError(f"no heat: {heat}")


def ink(heat: float) -> str:
    """Return the colour of letters on a heat."""
    return "#ffffff" if heat >= DARK else "#000000"


def shade(heat: float, blocks: bool) -> str:
    """Return one character for a heat: a block, or a digit where there are no blocks."""
    if blocks:
        return SHADES[round(heat * (len(SHADES) - 1))]
    return str(min(9, int(heat * 10)))

"""Reads and checks those fields of a recipe that are about winning accuracy back."""

import math
import re
from difflib import get_close_matches
from typing import Any

from onnxprune.errors import UsageError

RECOVERIES = ("refit", "sparsegpt", "statistics", "bias", "distill")
"""What wins accuracy back, in the order in which it is done."""

AUGMENTS = ("flip", "shift", "mix")
NONE = "none"
FIELDS = ("recover", "augment", "time_budget", "lr", "label_weight", "held_out", "rewind")
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
MOST_HELD_OUT = 0.9


def recovery_field(name: str, value: Any) -> Any:
    """Check one field and give it its type."""
    if value is None:
        return () if name == "recover" else None
    if name == "recover":
        given = _words(value, "--recover")
        chosen = {_known(word, RECOVERIES, "--recover") for word in given}
        return tuple(each for each in RECOVERIES if each in chosen)
    if name == "augment":
        given = _words(value, "--augment")
        if given in ((), (NONE,)):
            return ()
        return tuple(dict.fromkeys(_known(word, AUGMENTS, "--augment") for word in given))
    if name == "time_budget":
        return _seconds(value)
    if name == "rewind":
        if not isinstance(value, str):
            raise UsageError(f"--rewind names a model file, not {value!r}")
        return value
    return _size(name, value)


def _words(value: Any, option: str) -> tuple[str, ...]:
    """Read words with commas between them, or a list of words."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or any(not isinstance(one, str) for one in parts):
        raise UsageError(f"{option} takes words with commas between them, not {value!r}")
    return tuple(part.strip() for part in parts if part.strip())


def _known(word: str, known: tuple[str, ...], option: str) -> str:
    if word in known:
        return word
    near = get_close_matches(word, known, 1)
    hint = f"did you mean {near[0]}?" if near else None
    raise UsageError(f"{option} is of {', '.join(known)}; not '{word}'", hint)


def _seconds(value: Any) -> float:
    """Read a time such as 90, 90s, 10m or 1.5h."""
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([smhd]?)\s*", str(value))
    if found is None or isinstance(value, bool) or not 0 < float(found[1]) < math.inf:
        raise UsageError(f"--time-budget is a time such as 90s, 10m or 1.5h, not '{value}'")
    return float(found[1]) * UNITS[found[2]]


def _size(name: str, value: Any) -> float:
    """Read a number that has a least and a largest value."""
    option = "--" + name.replace("_", "-")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or number < 0:
        raise UsageError(f"{option} is a number that is not negative, not '{value}'")
    if name == "lr" and not 0 < number <= 1:
        raise UsageError(
            f"--lr lies in (0, 1], got {number:g}",
            "it is the largest step as a share of how large a tensor's values are",
        )
    if name == "held_out" and not 0 < number <= MOST_HELD_OUT:
        raise UsageError(f"--held-out lies in (0, {MOST_HELD_OUT}], got {number:g}")
    return number

"""Reads and checks recipes: sparsities, options by name, and recipe files."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from fractions import Fraction
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from onnxprune.errors import UsageError
from onnxprune.patterns.demands import fit_pattern
from onnxprune.patterns.pattern import Filters, Groups, parse_pattern
from onnxprune.recovery_fields import FIELDS, recovery_field
from onnxprune.registry import Entry
from onnxprune.types import Recipe

DEFAULT = Recipe()
LISTS = ("include", "exclude", "match")
TRUTHS = ("include_embeddings", "remove")
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
NUMBERS = {
    "max_layer_sparsity": float,
    "min_kept": int,
    "min_size": int,
    "seed": int,
    "steps": int,
    "batches_per_step": int,
    "epochs": int,
    "channel_multiple": int,
}
OPTIONAL = (
    *("precision", "loss", "bn", "curvature", "optimizer", "held_out"),
    *("pattern", "channel_multiple"),
)
"""Fields for which None stands for the default."""

OF_DISTILLATION = ("epochs", "time_budget", "lr", "optimizer", "augment", "label_weight")
CHOICES = {
    "schedule": ("exponential", "linear", "cubic"),
    "precision": ("float32", "float64"),
    "bn": ("eval", "batch"),
    "curvature": ("exact", "mc", "empirical"),
    "group": ("tensor", "row"),
    "optimizer": ("adamw", "sgd"),
}


def parse_sparsity(text: str | float, what: str = "--sparsity") -> float:
    """Read a sparsity such as 0.9 or 90%."""
    spelled = str(text).strip()
    percent = spelled.endswith("%")
    try:
        value = float(spelled.removesuffix("%"))
        if percent and math.isfinite(value):
            # 99.9% is what 0.999 is, which dividing floats would miss.
            value = float(Fraction(spelled.removesuffix("%")) / 100)
    except ValueError:
        raise UsageError(f"{what} is a number such as 0.9 or 90%, not '{text}'") from None
    if value == 1 or (value == 100 and not percent):
        raise UsageError(f"{what} must be below 1: nothing would be left", "try 0.99")
    if 1 < value < 100 and not percent:
        raise UsageError(
            f"{what} lies in [0, 1), got {spelled}", f"did you mean {value / 100:g}?"
        )
    if not 0 <= value < 1:
        raise UsageError(f"{what} lies in [0, 1), got {spelled}")
    return value


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a TOML file that holds fields of a recipe."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"recipe {path}: {(error.strerror or 'unreadable').lower()}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path}: {error}") from error
    known = {field.name for field in fields(Recipe)}
    for key in content:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = (
                f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            )
            raise UsageError(f"recipe {path}: unknown key '{key}'", hint)
    return content


def make_recipe(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe, checking every field."""
    made = {name: _field(name, value) for name, value in values.items()}
    optional = {name for name in OPTIONAL if made.get(name) is None}
    made = {name: value for name, value in made.items() if name not in optional}
    if made.get("remove"):
        made.setdefault("pattern", str(Filters()))
    pattern = parse_pattern(made.get("pattern", DEFAULT.pattern))
    if made.get("method") is None:
        # An allocation without a method divides what magnitude ranks; lamp is one itself.
        ranked = made.get("allocation") or isinstance(pattern, Groups)
        made["method"] = "magnitude" if ranked else DEFAULT.method
    recipe = fit_pattern(replace(DEFAULT, **made), pattern)
    for name in ("min_kept", "min_size", "seed"):
        if getattr(recipe, name) < 0:
            raise UsageError(f"{_option(name)} must not be negative")
    for name in ("steps", "batches_per_step", "epochs", "channel_multiple"):
        if (getattr(recipe, name) or 1) < 1 or getattr(recipe, name) == 0:
            raise UsageError(f"{_option(name)} is at least 1")
    unused = [
        name for name in OF_DISTILLATION if getattr(recipe, name) != getattr(DEFAULT, name)
    ]
    if unused and "distill" not in recipe.recover:
        raise UsageError(f"{_option(unused[0])} is of distillation", "--recover distill")
    return recipe


def _field(name: str, value: Any) -> Any:
    """Check one field and give it its type."""
    if name == "sparsity":
        return parse_sparsity(value) if value is not None else None
    if name == "pattern":
        return str(parse_pattern(value)) if value is not None else None
    if name in LISTS:
        return _texts(value, f"{_option(name)} takes globs")
    if name == "layer":
        return _layers(value)
    if name in FIELDS:
        return recovery_field(name, value)
    if name in NUMBERS:
        return _number(name, value, NUMBERS[name]) if value is not None else None
    if name in CHOICES and value is not None and value not in CHOICES[name]:
        known = " or ".join(CHOICES[name])
        raise UsageError(f"{_option(name)} is {known}, not '{value}'")
    if name == "options":
        return _options(value)
    return _plain_field(name, value)


def _plain_field(name: str, value: Any) -> Any:
    """Check a field that is a name, or true or false."""
    named = name in ("method", "allocation", "loss")
    if named and value is not None and not isinstance(value, str):
        raise UsageError(f"{name} is a name, not {value!r}")
    if name == "allocation" and value == "from:":
        raise UsageError("--allocation from:FILE names the file that has the ratios")
    if name in TRUTHS and not isinstance(value, bool):
        raise UsageError(f"{name} is true or false, not {value!r}")
    return value


def own_options(entry: Entry, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are an entry's own, each of the type of its default."""
    return {
        name: _typed(name, options[name], default)
        for name, default in entry.options.items()
        if name in options
    }


def _typed(name: str, value: Any, default: Any) -> Any:
    text = str(value)
    if isinstance(default, bool):
        if text.lower() not in YES + NO:
            raise UsageError(f"--set {name} is true or false, not '{text}'")
        return text.lower() in YES
    try:
        return type(default)(text) if isinstance(default, int | float) else text
    except ValueError:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise UsageError(f"--set {name} is {kind}, not '{text}'") from None


def refuse_unknown_options(options: Mapping[str, Any], *entries: Entry) -> None:
    """Refuse options that neither the method nor the allocation has."""
    known = {name for entry in entries for name in entry.options}
    for name in options:
        if name not in known:
            names = " and ".join(dict.fromkeys(entry.name for entry in entries))
            listed = ", ".join(sorted(known)) or "none"
            raise UsageError(f"unknown option '{name}'; those of {names}: {listed}")


def _layers(given: Any) -> dict[str, float]:
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        pairs = []
        for text in _texts(given, "--layer takes GLOB=SPARSITY"):
            glob, equals, value = text.rpartition("=")
            if not equals or not glob:
                raise UsageError(f"--layer takes GLOB=SPARSITY, not '{text}'")
            pairs.append((glob, value))
    return {str(glob): parse_layer(value, f"--layer {glob}") for glob, value in pairs}


def parse_layer(value: Any, what: str) -> float:
    """Read one tensor's sparsity, which may be 1."""
    return 1.0 if str(value).strip() in ("1", "1.0", "100%") else parse_sparsity(value, what)


def _number(name: str, value: Any, kind: type) -> Any:
    if kind is float:
        return parse_layer(value, _option(name))
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    whole = not isinstance(value, float) or value == number
    if number is None or isinstance(value, bool) or not whole:
        raise UsageError(f"{_option(name)} is a whole number, not '{value}'")
    return number


def _texts(given: Any, what: str) -> tuple[str, ...]:
    """Read one string or several."""
    found = (given,) if isinstance(given, str) else given
    if not isinstance(found, list | tuple) or any(not isinstance(one, str) for one in found):
        raise UsageError(f"{what}, not {given!r}")
    return tuple(found)


def _options(given: Any) -> dict[str, Any]:
    """Read a method's own options: numbers, truths and strings."""
    if not isinstance(given, Mapping):
        raise UsageError("options is a table of NAME = VALUE")
    return {str(name): _plain(str(name), value) for name, value in given.items()}


def _plain(name: str, value: Any) -> str | bool | int | float:
    """Give an option's value a type that JSON has, too."""
    if isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else str(float(value))
    raise UsageError(f"option '{name}' is a number or a string, not {value!r}")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")

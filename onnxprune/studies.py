"""Studies as plain values, and read back; a file of anything else is refused."""

import contextlib
import math
from typing import Any

from onnxprune.encoding import decode, encode, parse_object
from onnxprune.errors import InputError
from onnxprune.outcomes import Accuracy, Measured
from onnxprune.points import Point, Study
from onnxprune.version import __version__

SCHEMA = 1
KINDS = ("sweep", "search", "sensitivity")


def study_to_dict(study: Study) -> dict[str, Any]:
    """Return a study as plain values."""
    return {"schema": SCHEMA, "version": __version__, **encode(study)}


def is_study(data: bytes) -> bool:
    """Whether JSON text is meant to be a study."""
    with contextlib.suppress(InputError):
        return parse_object(data).get("kind") in KINDS
    return False


def read_study(data: bytes) -> Study:
    """Read a study back.

    What is not known is passed over: later versions may tell more.
    """
    try:
        return _read(parse_object(data))
    except InputError as error:
        raise InputError(
            f"not a study of onnxprune: {error.message}",
            "onnxprune sweep, search and sensitivity write one with --json",
        ) from error


def _read(value: dict[str, Any]) -> Study:
    kind, schema = value.get("kind"), value.get("schema")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"its kind is none of {', '.join(KINDS)}")
    if schema != SCHEMA or isinstance(schema, bool):
        raise InputError(f"its schema is not {SCHEMA}")
    study = decode(Study, value, "study")
    for at, point in enumerate(study.points):
        _check_point(point, f"study.points[{at}]")
    return study


def _check_point(point: Point, name: str) -> None:
    if not 0 <= point.sparsity <= 1:
        raise InputError(f"{name}.sparsity is not between 0 and 1")
    if not 0 <= point.zeros <= point.size:
        raise InputError(f"{name}.zeros is not between 0 and size")
    if not math.isfinite(point.seconds):
        raise InputError(f"{name}.seconds is not a number")
    if point.measured is not None:
        _check_measured(point.measured, f"{name}.measured")


def _check_measured(measured: Measured, name: str) -> None:
    for at, output in enumerate(measured.outputs):
        if not 0 <= output.agreed <= output.answers:
            raise InputError(f"{name}.outputs[{at}].agreed is not between 0 and answers")
        for field, accuracy in (("top1", output.top1), ("top5", output.top5)):
            if accuracy is not None and not _is_possible(accuracy):
                raise InputError(f"{name}.outputs[{at}].{field} cannot be")


def _is_possible(accuracy: Accuracy) -> bool:
    """Whether the counts of right answers go together."""
    kept = accuracy.dense - accuracy.lost
    return (
        accuracy.total > 0
        and min(accuracy.lost, accuracy.won, kept) >= 0
        and kept + accuracy.won == accuracy.pruned
        and kept + accuracy.lost + accuracy.won <= accuracy.total
    )

"""What there is to choose from: methods and allocations, with what they are and need."""

from dataclasses import dataclass
from typing import Any

from onnxprune.registry import Entry, entries


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """A method or an allocation, as `onnxprune methods` lists it.

    Args:
        name: what `--method` or `--allocation` takes.
        kind: `method` or `allocation`.
        summary: what it does; `paper`: where it comes from.
        needs: what has to be measured or given.
        options: its own options, with their defaults.
        aliases: other names.
        steps: in how many steps a method prunes unless told otherwise.
        samples: how many samples each step measures at least.
        regrow: whether what fell may return.
        group: among what a method's scores are compared, `tensor` or `row`.
    """

    name: str
    kind: str
    summary: str
    paper: str
    needs: tuple[str, ...]
    options: dict[str, Any]
    aliases: tuple[str, ...]
    steps: int = 1
    samples: int = 0
    regrow: bool = False
    group: str = "tensor"


def methods() -> list[MethodInfo]:
    """List what `--method` and `--allocation` take."""
    return [_info(entry) for entry in entries()]


def _info(entry: Entry) -> MethodInfo:
    return MethodInfo(
        entry.name,
        entry.kind,
        entry.summary,
        entry.paper,
        entry.needs,
        dict(entry.options),
        entry.aliases,
        entry.steps,
        entry.samples if entry.measured else 0,
        entry.regrow,
        entry.group,
    )

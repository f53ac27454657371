"""Benchmarks that measure in this process: rows of figures, and what they should reach."""

from dataclasses import dataclass

from tests.benchmarks.suites import Goal


@dataclass(frozen=True, slots=True)
class Figures:
    """One table as measured.

    Args:
        name: what `--only` takes.
        title: what is compared.
        columns: of names first, then of figures.
        rows: as they are shown.
        goals: what was aimed at.
        notes: what is printed below.
        failed: whether something came out that must not.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()
    failed: bool = False

"""Patterns by name, and which tensors they fit."""

import re
from dataclasses import dataclass
from fractions import Fraction

from onnxprune.errors import UsageError
from onnxprune.types import Weight

RECURRENT = ("LSTM", "GRU", "RNN")
KNOWN = "unstructured, N:M such as 2:4, block:RxC such as block:4x4, filters"
LARGEST = 1 << 16
"""The most that a pattern may name: no group or block is larger."""


@dataclass(frozen=True, slots=True)
class Unstructured:
    """Every weight falls or stays on its own."""

    def __str__(self) -> str:
        return "unstructured"


@dataclass(frozen=True, slots=True)
class Groups:
    """Of `m` input channels in a row at most `n` are kept, at the same output and kernel place."""

    n: int
    m: int

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def sparsity(self) -> Fraction:
        """The share that falls of every tensor."""
        return Fraction(self.m - self.n, self.m)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of `rows` outputs and `columns` input channels, at the same place of the kernel."""

    rows: int
    columns: int

    def __str__(self) -> str:
        return f"block:{self.rows}x{self.columns}"


@dataclass(frozen=True, slots=True)
class Filters:
    """All that leads to one output."""

    def __str__(self) -> str:
        return "filters"


Pattern = Unstructured | Groups | Blocks | Filters
UNSTRUCTURED = Unstructured()


def parse_pattern(text: str) -> Pattern:
    """Read a pattern as the command line spells it."""
    if not isinstance(text, str):
        raise UsageError(f"--pattern is one of {KNOWN}; not {text!r}")
    spelled = text.strip().lower()
    if spelled == "unstructured":
        return UNSTRUCTURED
    if spelled == "filters":
        return Filters()
    if found := re.fullmatch(r"(\d{1,9}):(\d{1,9})", spelled):
        n, m = int(found[1]), int(found[2])
        if not 1 <= n < m <= LARGEST:
            raise UsageError(
                f"--pattern {text}: of M input channels N are kept, and N lies in 1 to M - 1",
                "2:4 keeps two of four",
            )
        return Groups(n, m)
    if found := re.fullmatch(r"block:(\d{1,9})x(\d{1,9})", spelled):
        rows, columns = int(found[1]), int(found[2])
        if not (1 <= rows <= LARGEST and 1 <= columns <= LARGEST):
            raise UsageError(
                f"--pattern {text}: a block has at least one output and one input channel",
                "block:4x4 has four of each",
            )
        return Blocks(rows, columns)
    raise UsageError(f"--pattern is one of {KNOWN}; not '{text}'")


def misfit(pattern: Pattern, weight: Weight) -> str | None:
    """Return why a tensor cannot have a pattern, or None if it can."""
    match pattern:
        case Groups():
            return _no_groups(pattern, weight)
        case Blocks():
            return _no_blocks(pattern, weight)
        case Filters():
            return _no_filters(weight)
        case Unstructured():
            return None


def _no_groups(pattern: Groups, weight: Weight) -> str | None:
    if weight.embedding:
        return f"embedding table, which has no input channels (--pattern {pattern})"
    inputs = weight.layout.input_count
    if inputs == 1:
        return f"one input channel for each output (--pattern {pattern})"
    if inputs % pattern.m:
        return f"input channels are no multiple of {pattern.m} (--pattern {pattern})"
    return None


def _no_blocks(pattern: Blocks, weight: Weight) -> str | None:
    layout = weight.layout
    if layout.output_count % pattern.rows:
        return f"outputs are no multiple of {pattern.rows} (--pattern {pattern})"
    if layout.input_count % pattern.columns:
        return f"input channels are no multiple of {pattern.columns} (--pattern {pattern})"
    return None


def _no_filters(weight: Weight) -> str | None:
    if weight.embedding:
        return "embedding table, which has no filters"
    if weight.op.upper().startswith(RECURRENT):
        return "recurrent weight, whose outputs are gates"
    return weight.held or None

"""How much time and memory files may take; these bounds hold for all files of a command."""

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from onnxprune.errors import LimitError, UsageError

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
LEAST = 256 << 20
"""With less memory no child process could load the libraries it is there for."""

MOST = 1 << 62
FREE = 1 << 26
"""So many bytes may be claimed by however small a file."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the user asked for; None leaves every place its own default.

    Args:
        timeout: seconds that a library may take for one answer.
        memory: bytes of address space that a child process may take.
        amplification: how many times as large as a file may be what it says it holds.
    """

    timeout: float | None = None
    memory: int | None = None
    amplification: float | None = None

    def seconds(self, default: float) -> float:
        """Return how long a library may take where it is usually given so much."""
        return default if self.timeout is None else self.timeout

    def bytes(self, default: int) -> int:
        """Return what a child process may take where it is usually given so much."""
        return default if self.memory is None else self.memory

    def times(self, default: float) -> float:
        """Return how many times its bytes a file may claim where that is usually so many."""
        return default if self.amplification is None else self.amplification


_bounds: ContextVar[Bounds | None] = ContextVar("bounds", default=None)


def bounds() -> Bounds:
    """Return the bounds that hold here."""
    return _bounds.get() or Bounds()


@contextmanager
def limiting(
    *,
    timeout: float | None = None,
    memory_limit: str | int | None = None,
    max_amplification: float | None = None,
) -> Iterator[None]:
    """Let bounds hold for a while; what is None stays as it is.

    Args:
        timeout: seconds that a library may take for one answer.
        memory_limit: what a child process may take, in bytes or such as `16G`.
        max_amplification: how many times as large as a file may be what it says it holds.
    """
    token = _bounds.set(bounds())
    try:
        limit(timeout, memory_limit, max_amplification)
        yield
    finally:
        _bounds.reset(token)


def limit(
    timeout: float | None = None,
    memory_limit: str | int | None = None,
    max_amplification: float | None = None,
) -> None:
    """Let bounds hold from now on; what is None stays as it is."""
    now = bounds()
    if timeout is not None:
        if not timeout > 0:
            raise UsageError(f"--timeout is more than 0 seconds, got {timeout:g}")
        now = replace(now, timeout=timeout)
    if memory_limit is not None:
        now = replace(now, memory=parse_size(memory_limit))
    if max_amplification is not None:
        if not 1 <= max_amplification < math.inf:
            raise UsageError(
                f"--max-amplification is a number of at least 1, got {max_amplification:g}"
            )
        now = replace(now, amplification=max_amplification)
    _bounds.set(now)


def refuse_amplified(
    what: str, claimed: int, present: int, default: float, free: int = FREE
) -> None:
    """Refuse what claims to be many times as large as the bytes that there are.

    Args:
        what: claims it, for the message.
        claimed: bytes.
        present: bytes.
        default: how many times as large it may be unless the user says otherwise.
        free: so many bytes may be claimed by however few.
    """
    times = bounds().times(default)
    if claimed > free and claimed > times * present:
        raise LimitError(
            f"{what} {claimed:,} bytes from {present:,} (at most {times:,g} times as many)",
            "--max-amplification allows more",
        )


def parse_size(spelled: str | int) -> int:
    """Read a size of memory such as 16G."""
    found = SIZE.fullmatch(str(spelled).strip())
    if found is None:
        raise UsageError(f"--memory-limit is a size such as 16G, not '{spelled}'")
    size = float(found[1]) * UNITS[found[2].upper()]
    if not LEAST <= size <= MOST:
        raise UsageError(
            f"--memory-limit is at least {size_words(LEAST)}, got {spelled}",
            "the libraries alone need some hundred MiB; 16G is a good start",
        )
    return int(size)


def size_words(size: int) -> str:
    """Spell a size of memory."""
    for unit, width in (("TiB", 40), ("GiB", 30), ("MiB", 20)):
        if size >= 1 << width:
            return f"{size / (1 << width):.4g} {unit}"
    return f"{size:,} bytes"


def machine_memory() -> int:
    """Return how much memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

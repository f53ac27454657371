"""Whether the user trusts the files of this run: those that run code when they are loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from onnxprune.errors import UnsafeError

_trusted: ContextVar[bool] = ContextVar("trusted", default=False)


@contextmanager
def trusting(wanted: bool) -> Iterator[None]:
    """Trust files, or do not, for a while; what is trusted already stays so."""
    token = _trusted.set(wanted or _trusted.get())
    try:
        yield
    finally:
        _trusted.reset(token)


def trust() -> None:
    """Trust files from now on."""
    _trusted.set(True)


def require_trust(what: str) -> None:
    """Refuse to load what could do anything, unless the user trusts it."""
    if not _trusted.get():
        raise UnsafeError(
            f"{what} is a program, and to load it is to run it: it could do anything",
            "--trust-model takes a file whose maker you trust",
        )

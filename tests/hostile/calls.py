"""The calls that write files: counted, and let fail, fall short or end everything at one of them."""

import fcntl
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

Call = Callable[..., Any]
Event = Callable[[str, Call, tuple[Any, ...]], Any]
"""(name of a call, the call, its arguments) -> what the call returns instead."""

MADE = os.O_CREAT | os.O_DIRECTORY
NAMES = ("open", "pwrite", "copy_file_range", "fsync", "replace", "unlink", "close")


class Calls:
    """Stands between what writes and the system, as long as it is entered.

    Args:
        event: what happens instead of a call.
        at: the number of that call; 0 is none.
        onwards: whether it happens to all calls from there on.
    """

    def __init__(self, event: Event | None = None, at: int = 0, onwards: bool = False) -> None:
        self.event = event
        self.at = at
        self.onwards = onwards
        self.names: list[str] = []
        self.replaced: list[str] = []
        self._opened: set[int] = set()
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> "Calls":
        # Nothing here can tell whether bytes are on the disk: waiting for them takes long.
        self._patch.setattr(os, "fsync", fsync)
        for name in NAMES:
            self._patch.setattr(os, name, self._wrapped(getattr(os, name)))
        self._patch.setattr(fcntl, "flock", self._wrapped(fcntl.flock))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    @property
    def count(self) -> int:
        """How many calls there were."""
        return len(self.names)

    @property
    def hit(self) -> str:
        """The name of the call that something happened to."""
        return self.names[self.at - 1]

    def _wrapped(self, call: Call) -> Call:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if not self._writes(call.__name__, arguments):
                return call(*arguments, **options)
            self.names.append(call.__name__)
            met = self.at and (
                self.count >= self.at if self.onwards else self.count == self.at
            )
            assert not options
            if met and self.event is not None:
                result = self.event(call.__name__, call, arguments)
            else:
                result = call(*arguments)
            if call.__name__ == "open":
                self._opened.add(result)
            elif call.__name__ == "replace":
                self.replaced.append(os.path.basename(arguments[1]))
            return result

        return wrapped

    def _writes(self, name: str, arguments: tuple[Any, ...]) -> bool:
        if name == "open":
            return bool(arguments[1] & MADE) or str(arguments[0]).endswith("-tmp")
        if name == "close":
            return arguments[0] in self._opened and not self._opened.discard(arguments[0])
        return True


def fsync(descriptor: int) -> None:
    """Take the place of a call that waits for the disk."""
    os.fstat(descriptor)


def fault(code: int) -> Event:
    """Let a call fail."""

    def event(*_: object) -> Any:
        raise OSError(code, os.strerror(code))

    return event


def short(name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
    """Let a call write only a part of what it was given."""
    return call(*_part(name, arguments, 0.4))


def killed(share: float) -> Event:
    """End the process in the middle of a call, which has written a share of its bytes."""

    def event(name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        if name in ("pwrite", "copy_file_range"):
            call(*_part(name, arguments, share))
        os.kill(os.getpid(), signal.SIGKILL)

    return event


def told(number: int) -> Event:
    """Let a signal come during a call."""

    def event(name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        try:
            return call(*arguments)
        finally:
            os.kill(os.getpid(), number)

    return event


def _part(name: str, arguments: tuple[Any, ...], share: float) -> tuple[Any, ...]:
    if name == "pwrite":
        descriptor, data, offset = arguments
        return descriptor, data[: max(1, int(len(data) * share))], offset
    if name == "copy_file_range":
        source, sink, count, *places = arguments
        return source, sink, max(1, int(count * share)), *places
    return arguments

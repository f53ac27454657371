"""What the end of a child process says: that a library died, or that memory ran out."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

from onnxprune.errors import LibraryError, LimitError

PROC, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
WANT = re.compile(r"bad_alloc|\ballocat|MemoryError|out of memory", re.IGNORECASE)


class Watch:
    """Sees how a child ends that is started now."""

    def __init__(self) -> None:
        self._kills = oom_kills()

    def death(
        self, who: str, code: int, said: str = "", hint: str | None = None
    ) -> LibraryError | LimitError:
        """Return the error for a child that ended without an answer.

        Args:
            who: the library that ran in it.
            code: how it ended, as subprocess has it.
            said: the last it printed.
            hint: what to do where the library died.
        """
        killed = code == -signal.SIGKILL and oom_kills() > self._kills
        if killed or lacks_memory(said):
            return LimitError(f"{who} needs more memory than there is for this model", hint)
        how = f"died of {signal_name(-code)}" if code < 0 else f"ended with code {code}"
        return LibraryError(f"{who} {how} on this model", hint)


def lacks_memory(text: str) -> bool:
    """Whether a library complains that it gets no memory."""
    return WANT.search(text) is not None


def signal_name(number: int) -> str:
    """Return what a signal is called; not all of them have a name."""
    names = {each.value: each.name for each in signal.Signals}
    return names.get(number, f"signal {number}")


def oom_kills() -> int:
    """Return how many processes of our control group were killed for want of memory so far."""
    for file in _counters():
        try:
            found = re.search(r"^oom_kill (\d+)$", file.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found is not None:
            return int(found[1])
    return 0


def _counters() -> Iterator[Path]:
    """Name the files that could have the number, of both versions of control groups."""
    try:
        lines = PROC.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # In a container the path may be the host's: what is there is the container's own then.
        places = (path.lstrip("/"), "")
        if not controllers:
            yield from (CGROUPS / place / "memory.events" for place in places)
        elif "memory" in controllers.split(","):
            yield from (CGROUPS / "memory" / place / "memory.oom_control" for place in places)

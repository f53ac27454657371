"""Tells why a child process ended: of the memory it may have, or of something else."""

import re
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

from onnxprune.bounds import size_words
from onnxprune.errors import LimitError

NO_MEMORY = re.compile(
    r"memoryerror|bad[_ ]alloc|allocate memory|memory allocation|out of memory"
    r"|smaller than requested bytes|failed to map segment",
    re.IGNORECASE,
)
"""What libraries say, in whatever type of error, when they get no memory."""

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)
"""What ends a process that goes on without the memory it was refused, too."""

PROC, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


class Watch:
    """What was known before a child ran, to compare with what is known once it is dead.

    Args:
        memory: what it may take.
    """

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._kills = oom_kills()
        # A child starts with the peak of its parent, and we see that of the largest child only.
        self._peak = max(_peak(resource.RUSAGE_SELF), _peak(resource.RUSAGE_CHILDREN))

    def lacked_memory(self, code: int, said: str = "") -> bool:
        """Whether a child ended for want of memory, as far as that can be told.

        Args:
            code: how it ended; a signal is negative.
            said: what it wrote to its standard error.
        """
        if NO_MEMORY.search(said):
            return True
        if -code == signal.SIGKILL:
            return oom_kills() > self._kills
        peak = _peak(resource.RUSAGE_CHILDREN)
        return -code in CRASHES and peak > self._peak and 2 * peak > self.memory


def no_memory(who: str, memory: int, said: str = "", hint: str | None = None) -> LimitError:
    """Say that a library needs more memory than it may have."""
    message = f"{who} needs more than {size_words(memory)}, the --memory-limit"
    return LimitError(f"{message}: {said}" if said else message, hint)


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


def _peak(who: int) -> int:
    """Return the most memory that this process had, or any child that has ended, in bytes."""
    return resource.getrusage(who).ru_maxrss << 10

"""Starts programs in processes forked from one that has loaded torch, which takes seconds.

What a program does, prints and ends with is what it is in a process of its own, but for the
interpreter, which is not a new one. Tests of how programs are started have no use for this.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

from tests import forking
from tests.forking import NUMBER


class Source:
    """The process that others are forked from; there is none before it is needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    def ask(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        """Ask for a process that has these descriptors."""
        if self._link is None:
            self._link = self._start()
        text = json.dumps(request).encode()
        socket.send_fds(self._link, [NUMBER.pack(len(text))], descriptors)
        self._link.sendall(text)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        paths = [str(Path(__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(":")]
        with theirs:
            # One thread: a process with several cannot be forked with all of them.
            self._process = subprocess.Popen(
                [sys.executable, "-P", forking.__file__, str(theirs.fileno())],
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": "1",
                    "PYTHONPATH": os.pathsep.join(paths),
                },
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        return ours

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._link is not None and self._process is not None:
            self._link.close()
            self._process.wait()

    def as_subprocess(self) -> SimpleNamespace:
        """Return what a module can have in the place of `subprocess`."""

        def start(*words: Any, **settings: Any) -> Forked:
            return Forked(self, *words, **settings)

        names = ("DEVNULL", "PIPE", "TimeoutExpired")
        return SimpleNamespace(
            Popen=start, **{name: getattr(subprocess, name) for name in names}
        )


class Forked:
    """A program that runs, used as a `subprocess.Popen` is.

    Args:
        source: what it is forked from.
        words: Python, its options `-P` and `-W ignore`, and `-m MODULE` or a script, with words.
        stdin, stdout, stderr: as `subprocess.Popen` has them; a pipe is read at once.
        pass_fds: descriptors that have the same numbers there.
        env: its environment.
        cwd: where it runs.
        text: whether what it prints is text.
    """

    def __init__(
        self,
        source: Source,
        words: Sequence[str],
        *,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        text: bool = False,
    ) -> None:
        assert words[0] == sys.executable
        self.args = words
        self.returncode: int | None = None
        self._text = text
        self._status, theirs = os.pipe()
        self._printed: dict[int, Reading] = {}
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, theirs)
            streams = []
            for number, given in enumerate((stdin, stdout, stderr)):
                if given == subprocess.PIPE:
                    self._printed[number] = Reading()
                    streams.append(self._printed[number].theirs)
                    stack.callback(os.close, streams[-1])
                elif given == subprocess.DEVNULL:
                    streams.append(stack.enter_context(open(os.devnull, "r+b")).fileno())
                else:
                    streams.append(number if given is None else given.fileno())
            request = {
                "words": list(words[1:]),
                "env": dict(os.environ if env is None else env),
                "cwd": str(cwd or Path.cwd()),
                "numbers": [0, 1, 2, *pass_fds],
            }
            source.ask(request, [theirs, *streams, *pass_fds])
        self.pid = self._read()

    def poll(self) -> int | None:
        """Return how it ended, if it did."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        """Wait for its end, and return what it printed."""
        self.wait(timeout)
        found = {number: each.content() for number, each in self._printed.items()}
        texts: list[Any] = [found.get(1), found.get(2)]
        if self._text:
            texts = [None if each is None else each.decode() for each in texts]
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _end(self) -> None:
        self.returncode = self._read()
        os.close(self._status)

    def _read(self) -> int:
        found = os.read(self._status, NUMBER.size)
        assert found, "the process that others are forked from has ended"
        return int(NUMBER.unpack(found)[0])


class Reading(threading.Thread):
    """Reads what is written to the other end of a pipe."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ours, self.theirs = os.pipe()
        self._content = b""
        self.start()

    def run(self) -> None:
        with open(self._ours, "rb") as file:
            self._content = file.read()

    def content(self) -> bytes:
        """Wait for the end, and return all of it."""
        self.join()
        return self._content

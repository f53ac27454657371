"""Starts programs in processes forked from one that has loaded torch, which takes seconds.

What a program does, prints and ends with is what it is in a process of its own, but for the
interpreter, which is not a new one. Tests of how programs are started have no use for this.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

LOADED = (
    *("numpy", "onnx", "torch", "torch.distributed", "torch.onnx", "torch.export.pt2_archive"),
    *("torch._dynamo", "torch.onnx._internal.exporter._core"),
    "onnxscript.function_libs.torch_lib.ops",
)
"""What programs find loaded; nothing that starts a thread, or of the package."""

NUMBER = struct.Struct("<q")
ABOVE = 100
"""Above all numbers that descriptors have at first."""


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
                [sys.executable, "-P", __file__, str(theirs.fileno())],
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


def serve(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a process for each request, in which this returns what it is to be."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(link, NUMBER.size, ABOVE)
        if not head:
            break
        request = json.loads(link.recv(NUMBER.unpack(head)[0], socket.MSG_WAITALL))
        if os.fork() == 0:
            link.close()
            keep(descriptors[0])
            return request, descriptors[1:]
        for each in descriptors:
            os.close(each)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    sys.exit()


def keep(status: int) -> None:
    """Return in a new process, and tell in this one what its number is and how it ends."""
    child = os.fork()
    if child == 0:
        os.close(status)
        return
    try:
        os.closerange(0, status)
        os.closerange(status + 1, ABOVE)
        os.write(status, NUMBER.pack(child))
        ended = os.waitpid(child, 0)[1]
        os.write(status, NUMBER.pack(os.waitstatus_to_exitcode(ended)))
    finally:
        os._exit(0)


def become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Run a program, as Python does."""
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD, ABOVE) for each in descriptors]
    os.closerange(3, ABOVE)
    for number, descriptor in zip(request["numbers"], moved, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    encoding = request["env"].get("PYTHONIOENCODING")
    # What the old streams know of their files, such as how to seek, is not so any more.
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = sys.__stdout__ = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
        2, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.dont_write_bytecode = bool(request["env"].get("PYTHONDONTWRITEBYTECODE"))
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    words = list(request["words"])
    safe = words[0] == "-P"
    words = words[safe:]
    if words[:2] == ["-W", "ignore"]:
        warnings.simplefilter("ignore")
        del words[:2]
    if not safe:
        sys.path.insert(0, "" if words[0] == "-m" else str(Path(words[0]).parent))
    code: object = None
    try:
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
        if not isinstance(code, int | None):
            print(code, file=sys.stderr)
            code = 1
    except BaseException as error:  # noqa: BLE001 - told as the interpreter does
        traceback.print_exc()
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    leave(code or 0)


def leave(code: Any) -> None:
    """End as Python does, but take nothing apart: that is much of what has been loaded."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in LOADED:
        with contextlib.suppress(ImportError):  # what torch keeps to itself has other names
            importlib.import_module(name)
    gc.freeze()  # or collections would copy all of it
    with socket.socket(fileno=int(sys.argv[1])) as place:
        asked = serve(place)
    become(*asked)

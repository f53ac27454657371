"""The process that others are forked from: it loads what takes seconds, and waits for requests.

Started as a script with the descriptor of a socket; see `forked.py`, which asks.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOADED = (
    *("numpy", "onnx", "torch", "torch.distributed", "torch.onnx", "torch.export.pt2_archive"),
    *("torch._dynamo", "torch.onnx._internal.exporter._core"),
    "onnxscript.function_libs.torch_lib.ops",
)
"""What programs find loaded; nothing that starts a thread, or of the package."""

NUMBER = struct.Struct("<q")
ABOVE = 500
"""Above all numbers that descriptors have at first."""


def serve(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork a process for each request, in which this returns what it is to be."""
    while True:
        head, descriptors, _, _ = socket.recv_fds(link, NUMBER.size, 16)
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

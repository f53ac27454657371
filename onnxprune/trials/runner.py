"""The parent's side of the process that holds ONNX Runtime: it may crash or hang, we may not."""

import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxprune.bounds import bounds, machine_memory
from onnxprune.errors import (
    InputError,
    LibraryError,
    LimitError,
    OnnxpruneError,
    UnsupportedError,
    UsageError,
)
from onnxprune.formats.deaths import NO_MEMORY, Watch, no_memory
from onnxprune.formats.scratch import scratch_file
from onnxprune.formats.verify import NO_KERNEL, first_words, signal_name
from onnxprune.outcomes import Place
from onnxprune.threads import worker_count
from onnxprune.types import Array

CHILD = Path(__file__).with_name("child.py")
TIMEOUT = 300.0
LEAST_MEMORY = 16 << 30
"""A process may take the machine's memory, and on small machines this much of addresses."""

DEVICES = ("auto", "cpu", "cuda")
CPU = "CPUExecutionProvider"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ROUNDS = (5, 1001)
ONNX_RUNTIME, TORCH = "ONNX Runtime", "torch"
SECONDS = 1.0
RUNNING = "cannot run the model on these data"
LESS = "--memory-limit gives it more, --batch 1 needs the least"


@dataclass(frozen=True, slots=True)
class InMemory:
    """A weight in the memory that both processes see.

    Args:
        name: of the initializer.
        dtype: numpy's, of the values as they are stored.
        kind: the number of the element type where numpy has no type for it, else 0.
        shape: of the tensor.
        offset: of its first byte in the memory.
    """

    name: str
    dtype: str
    kind: int
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class TorchFile:
    """A file that torch itself runs.

    Args:
        path: the file.
        program: whether it is an exported program, not a script.
        inputs: what it takes, in order.
    """

    path: Path
    program: bool
    inputs: tuple[str, ...]


class Runner:
    """A child process with sessions of ONNX Runtime.

    Args:
        device: `auto`, `cpu` or `cuda`.
        timeout: seconds that one answer may take; None is what `--timeout` says.
    """

    def __init__(self, device: str = "auto", timeout: float | None = None) -> None:
        if device not in DEVICES:
            raise UsageError(f"--device is one of {', '.join(DEVICES)}, not '{device}'")
        self.device = device
        self.timeout = bounds().seconds(TIMEOUT) if timeout is None else timeout
        self.place: Place | None = None
        self.idle_gpu = False
        self.engine = ONNX_RUNTIME
        self._said = scratch_file()
        ours, theirs = socket.socketpair()
        self._link = ours
        self._watch = Watch(bounds().bytes(max(LEAST_MEMORY, machine_memory())))
        memory = str(self._watch.memory)
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-P", str(CHILD), str(theirs.fileno()), memory],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=[theirs.fileno()],
            )

    def open(
        self,
        key: str,
        model: Path | bytes | TorchFile,
        weights: Sequence[InMemory] = (),
        memory: int | None = None,
    ) -> dict[str, Any]:
        """Make a session from a file, or from a skeleton whose weights lie in memory.

        Args:
            key: what the session is called from now on.
            model: the file, or the bytes of the skeleton, or a file that torch runs.
            weights: where the skeleton's weights lie.
            memory: the descriptor of the memory they lie in.
        """
        command = {
            "command": "open",
            "key": key,
            "device": self.device,
            "threads": worker_count(),
            "weights": [[w.name, w.dtype, w.kind, w.shape, w.offset] for w in weights],
        }
        arrays = {}
        if isinstance(model, bytes):
            arrays["model"] = np.frombuffer(model, np.uint8)
        elif isinstance(model, TorchFile):
            self.engine = TORCH
            command |= {"command": "open_torch", "path": str(model.path)}
            command |= {"program": model.program, "names": list(model.inputs)}
        else:
            command["path"] = str(model)
        answer, _ = self._ask(command, arrays, memory if weights else None)
        if "error" in answer:
            raise self._failure(answer, "refuses the model")
        provider = answer["provider"]
        if isinstance(model, TorchFile):
            if self.device == "cuda" and provider == "cpu":
                raise UnsupportedError("--device cuda: torch finds no GPU", "--device cpu")
            self.place = Place(provider, worker_count(), answer["runtime"], TORCH)
            return answer
        if self.device == "cuda" and provider == CPU:
            raise UnsupportedError(
                "--device cuda: ONNX Runtime has no working GPU here, only the processor",
                self._reason() or "--device auto takes what there is",
            )
        self.idle_gpu = bool(answer["gpu"]) and provider == CPU
        self.place = Place(provider, worker_count(), answer["runtime"])
        return answer

    def run(self, key: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch; outputs that are no tensors are left out."""
        answer, outputs = self._ask({"command": "run", "key": key}, feeds)
        if "error" in answer:
            raise self._failure(answer, RUNNING)
        return outputs

    def time(self, keys: Sequence[str], feeds: Mapping[str, Array]) -> dict[str, list[float]]:
        """Run a batch in several sessions in turn; return the seconds that each took."""
        command = {
            "command": "time",
            "keys": list(keys),
            "seconds": SECONDS,
            "least": ROUNDS[0],
            "most": ROUNDS[1],
        }
        answer, _ = self._ask(command, feeds)
        if "error" in answer:
            raise self._failure(answer, RUNNING)
        times: dict[str, list[float]] = answer["times"]
        return times

    def close_session(self, key: str) -> None:
        """Forget a session, and the memory it took."""
        self._ask({"command": "close", "key": key}, {})

    def close(self) -> None:
        """End the process."""
        self._link.close()
        self._child.kill()
        self._child.wait()
        self._said.close()

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(
        self,
        command: dict[str, Any],
        arrays: Mapping[str, Array],
        memory: int | None = None,
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        end = time.monotonic() + self.timeout
        try:
            self._send(command, arrays, end)
            if memory is not None:
                socket.send_fds(self._link, [b"#"], [memory])
            (length,) = struct.unpack("<Q", self._receive(8, end))
            answer = json.loads(self._receive(length, end))
            outputs = {}
            for name, dtype, shape, size in answer.pop("arrays"):
                data = self._receive(size, end)
                outputs[name] = np.frombuffer(data, np.dtype(dtype)).reshape(shape)
        except TimeoutError as error:
            self._child.kill()
            raise LimitError(
                f"{self.engine} gave no answer in {self.timeout:g} s on this model",
                "--timeout gives it more",
            ) from error
        except (OSError, EOFError) as error:
            raise self._death() from error
        return answer, outputs

    def _send(self, command: dict[str, Any], arrays: Mapping[str, Array], end: float) -> None:
        sent = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        # The shapes of the originals: contiguous copies of scalars have a dimension.
        command["arrays"] = [
            [name, array.dtype.str, arrays[name].shape, array.nbytes]
            for name, array in sent.items()
        ]
        text = json.dumps(command).encode()
        self._link.settimeout(max(end - time.monotonic(), 0.001))
        self._link.sendall(struct.pack("<Q", len(text)) + text)
        for array in sent.values():
            if array.nbytes:
                self._link.sendall(array.reshape(-1).view(np.uint8).data)

    def _receive(self, count: int, end: float) -> bytearray:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            self._link.settimeout(max(end - time.monotonic(), 0.001))
            got = self._link.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return data

    def _death(self) -> LibraryError | LimitError:
        code = self._child.wait()
        how = f"of {signal_name(-code)}" if code < 0 else f"with code {code}"
        reason = self._reason()
        if self._watch.lacked_memory(code, reason):
            return no_memory(self.engine, self._watch.memory, hint=LESS)
        return LibraryError(
            f"{self.engine} died {how} on this model", f"it said: {reason}" if reason else None
        )

    def _failure(self, answer: dict[str, Any], what: str) -> OnnxpruneError:
        """Return the error that an answer is, which says what could not be done."""
        text, engine = answer["error"], self.engine
        words = _words(text)
        if NO_MEMORY.search(f"{answer['kind']} {text}"):
            return no_memory(engine, self._watch.memory, words, LESS)
        if NO_KERNEL in text or answer["kind"] == "NotImplemented":
            return UnsupportedError(f"{engine} cannot run the model here: {words}")
        return InputError(f"{engine} {what}: {words}")

    def _reason(self) -> str:
        """Return the last thing that the libraries printed, without what leads up to it."""
        self._said.seek(0)
        said = COLOURS.sub("", self._said.read()[-4000:].decode(errors="replace"))
        lines = [line for line in said.splitlines() if line.strip()]
        return first_words(lines[-1].rpartition("error: ")[2]) if lines else ""


def make_memory(size: int) -> int:
    """Make memory that a child can be given, without a name on any disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("onnxprune", os.MFD_CLOEXEC)
    else:
        with scratch_file() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def _words(text: str) -> str:
    """Return what ONNX Runtime says, without the codes in front of it."""
    return first_words(re.sub(r"\[ONNXRuntimeError\] : \d+ : ", "", text))

"""Runs as a process of its own: ONNX Runtime sessions that its parent opens, feeds and times.

Started as a script with the descriptor of a socket and the bytes of memory that it may take. It
imports nothing of the package, unless torch has to run a file, so that whatever happens here is the
runtime's doing. Each message is a length, a JSON header and the bytes of the arrays that the header
lists; weights come as the descriptor of their memory.
"""

import contextlib
import ctypes
import gc
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
from typing import Any

import numpy as np
import onnxruntime

Array = np.ndarray[Any, Any]
PR_SET_PDEATHSIG = 1
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")
ERROR, FATAL = 3, 4


class Sessions:
    """The open sessions by key, and the commands that the parent may send."""

    def __init__(self, link: socket.socket, memory: int) -> None:
        self.link = link
        self.memory = memory
        self.sessions: dict[str, Any] = {}

    def open(self, header: dict[str, Any], arrays: dict[str, Array]) -> dict[str, Any]:
        """Make a session from a file, or from a skeleton and the weights in memory."""
        cuda = _wants_cuda(header["device"])
        if cuda:
            onnxruntime.preload_dlls()
        if header["device"] == "cuda":
            # What keeps it from the GPU is only logged; the parent reads it there.
            onnxruntime.set_default_logger_severity(ERROR)
        self._bound(cuda)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = header["threads"]
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        values = {}
        if header["weights"]:
            region = _receive_memory(self.link)
            # The options keep no reference: the values must outlive the constructor.
            values = {name: _value(region, *place) for name, *place in header["weights"]}
            options.add_external_initializers(list(values), list(values.values()))
        source = arrays["model"].tobytes() if "model" in arrays else header["path"]
        session = onnxruntime.InferenceSession(
            source, options, providers=[CUDA, CPU] if cuda else [CPU]
        )
        del values
        self.sessions[header["key"]] = session
        return {
            "provider": session.get_providers()[0],
            "runtime": onnxruntime.__version__,
            "gpu": _sees_gpu(),
            "inputs": [_port(port) for port in session.get_inputs()],
            "outputs": [_port(port) for port in session.get_outputs()],
        }

    def open_torch(self, header: dict[str, Any], _: dict[str, Array]) -> dict[str, Any]:
        """Load a file that torch runs: for this alone something of the package is imported."""
        import torch

        from onnxprune.trials.torch_session import TorchSession

        self._bound(header["device"] != "cpu" and _sees_gpu())
        session = TorchSession(
            header["path"],
            header["program"],
            header["names"],
            header["device"],
            header["threads"],
        )
        self.sessions[header["key"]] = session
        return {"provider": str(session.device), "runtime": torch.__version__}

    def run(self, header: dict[str, Any], arrays: dict[str, Array]) -> dict[str, Any]:
        """Run one batch; outputs that are no tensors are left out."""
        session = self.sessions[header["key"]]
        if not isinstance(session, onnxruntime.InferenceSession):
            return {"arrays": session.compute(arrays)}
        names = [port.name for port in session.get_outputs()]
        results = session.run(names, _feeds(arrays))
        return {"arrays": {n: _plain(r) for n, r in zip(names, results, strict=True)}}

    def time(self, header: dict[str, Any], arrays: dict[str, Array]) -> dict[str, Any]:
        """Run a batch in several sessions, in turn, and return the seconds each took."""
        feeds = _feeds(arrays)
        keys = header["keys"]
        times: dict[str, list[float]] = {key: [] for key in keys}
        for key in keys:
            self.sessions[key].run(None, feeds)
        end = time.perf_counter() + header["seconds"]
        for turn in range(header["most"]):
            # Whoever goes second finds warmer caches: take turns in that, too.
            for key in keys if turn % 2 else reversed(keys):
                began = time.perf_counter()
                self.sessions[key].run(None, feeds)
                times[key].append(time.perf_counter() - began)
            if time.perf_counter() > end and turn + 1 >= header["least"]:
                break
        return {"times": times}

    def close(self, header: dict[str, Any], _: dict[str, Array]) -> dict[str, Any]:
        """Forget a session."""
        self.sessions.pop(header["key"], None)
        gc.collect()
        return {}

    def _bound(self, gpu: bool) -> None:
        """Take no endless memory; a GPU's driver reserves more addresses than that, unused."""
        if not gpu:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_AS, (self.memory, self.memory))


def _wants_cuda(device: str) -> bool:
    if device == "auto":
        # The list says what was compiled in, not what there is.
        return CUDA in onnxruntime.get_available_providers() and _sees_gpu()
    return device == "cuda"


def _sees_gpu() -> bool:
    return any(os.path.exists(path) for path in GPU_FILES)


def _value(
    region: mmap.mmap, dtype: str, kind: int, shape: list[int], offset: int
) -> onnxruntime.OrtValue:
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(region, np.dtype(dtype), count, offset).reshape(shape)
    if kind:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, kind)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _port(port: Any) -> list[Any]:
    return [port.name, port.type, port.shape]


def _feeds(arrays: dict[str, Array]) -> dict[str, Array]:
    return {
        name: array.astype(object) if array.dtype.kind == "U" else array
        for name, array in arrays.items()
    }


def _plain(result: Any) -> Array | None:
    if not isinstance(result, np.ndarray):
        return None
    if result.dtype == object:
        return result.astype("U")
    return np.ascontiguousarray(result).reshape(result.shape)


def _receive(link: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = link.recv_into(view)
        if not got:
            sys.exit(0)  # the parent is gone or has no more to ask
        view = view[got:]
    return data


def _receive_memory(link: socket.socket) -> mmap.mmap:
    _, (descriptor, *_), _, _ = socket.recv_fds(link, 1, 1)
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def _read(link: socket.socket) -> tuple[dict[str, Any], dict[str, Array]]:
    (length,) = struct.unpack("<Q", _receive(link, 8))
    header = json.loads(_receive(link, length))
    arrays = {}
    for name, dtype, shape, size in header.pop("arrays"):
        data = _receive(link, size)
        arrays[name] = np.frombuffer(data, np.dtype(dtype)).reshape(shape)
    return header, arrays


def _write(link: socket.socket, header: dict[str, Any], arrays: dict[str, Array]) -> None:
    header["arrays"] = [
        [name, array.dtype.str, array.shape, array.nbytes] for name, array in arrays.items()
    ]
    text = json.dumps(header).encode()
    link.sendall(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        if array.nbytes:
            link.sendall(array.reshape(-1).view(np.uint8).data)


def main() -> None:
    """Answer the parent's commands until it closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this ends
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    link = socket.socket(fileno=int(sys.argv[1]))
    sessions = Sessions(link, int(sys.argv[2]))
    onnxruntime.set_default_logger_severity(FATAL)
    while True:
        header, arrays = _read(link)
        answer: dict[str, Any]
        try:
            answer = getattr(sessions, header.pop("command"))(header, arrays)
        except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
            answer = {"error": str(error), "kind": type(error).__name__}
        found = {
            name: one for name, one in answer.pop("arrays", {}).items() if one is not None
        }
        _write(link, answer, found)


if __name__ == "__main__":
    main()

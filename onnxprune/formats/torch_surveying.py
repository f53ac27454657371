"""Asks a child process what a file of torch's is: loading it may crash, hang, or do anything."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxprune.bounds import bounds
from onnxprune.errors import InputError, LibraryError, LimitError
from onnxprune.formats.deaths import NO_MEMORY, Watch, no_memory
from onnxprune.formats.verify import first_words, signal_name
from onnxprune.types import Layout

TIMEOUT = 300.0
MEMORY = 64 << 30
CHILD = "onnxprune.formats.torch_child"
WHERE = re.compile(r"^The above operation failed.*|^Traceback.*|^\w*Error: ", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Used:
    """What an operator does with a tensor; see `torch_uses.Use`, whose fields these are."""

    path: str
    op: str
    reason: str
    table: bool
    shape: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...]
    inputs: tuple[int, ...]

    @property
    def layout(self) -> Layout:
        """How the operator reads the values."""
        return Layout(self.shape, self.outputs, self.kernel, self.inputs)


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of a file once it was loaded.

    Args:
        uses: of its tensors, in the order of its operators.
        inputs: the names of what it takes.
        parameters: the paths of the tensors that are trained.
        frozen: whether a script's parameters have become constants, all or some of them.
    """

    uses: tuple[Used, ...]
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    frozen: bool = False


def survey(path: Path, program: bool) -> Survey:
    """Load a file in a child process, and say what its tensors are used for."""
    answer = ask("survey", path, program)
    uses = []
    for each in answer["uses"]:
        lists = {name: tuple(each[name]) for name in ("shape", "outputs", "kernel", "inputs")}
        uses.append(Used(**(each | lists)))
    names, parameters = tuple(answer["inputs"]), tuple(answer["parameters"])
    return Survey(tuple(uses), names, parameters, bool(answer["frozen"]))


def ask(command: str, path: Path, program: bool, *more: str) -> dict[str, Any]:
    """Let the child do something with a file, and return its answer."""
    words = [command, str(path), "program" if program else "script", *more]
    timeout, watch = bounds().seconds(TIMEOUT), Watch(bounds().bytes(MEMORY))
    child = subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", "-m", CHILD, str(watch.memory), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise LimitError(
            f"torch took more than {timeout:g} s on this model", "--timeout gives it more"
        ) from error
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    if watch.lacked_memory(child.returncode):
        raise no_memory("torch", watch.memory)
    if child.returncode < 0:
        raise LibraryError(f"torch died of {signal_name(-child.returncode)} on this model")
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError as error:
        raise LibraryError(
            f"torch ended with code {child.returncode} on this model"
        ) from error
    if "objection" in answer:
        if NO_MEMORY.search(answer["objection"]):
            raise no_memory("torch", watch.memory)
        raise InputError(f"torch refuses it: {_said(answer['objection'])}")
    return answer


def _said(objection: str) -> str:
    """Return what torch says of a file, without where in its own text that was."""
    if "Traceback of TorchScript" in objection:  # its own code failed; why is said at the end
        objection = objection.strip().rpartition("\n")[2].removeprefix("builtins.")
    return first_words(WHERE.sub("", objection.strip()) or objection)

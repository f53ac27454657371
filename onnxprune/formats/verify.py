"""Asks onnx.checker and ONNX Runtime for their verdict, in child processes."""

import json
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxprune.errors import InputError, LibraryError, LimitError

CHILD = Path(__file__).with_name("check_child.py")
TIMEOUT = 60.0
NO_KERNEL = "NOT_IMPLEMENTED"
"""What ONNX Runtime says of a valid model that this machine has no code for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the libraries said: a sentence, warnings, and the shapes that were inferred."""

    sentence: str
    warnings: tuple[str, ...] = ()
    shapes: dict[str, list[int | None]] = field(default_factory=dict)


class Verification:
    """A check that runs beside the work; `result` waits for it."""

    def __init__(self, skeleton: bytes, model: Path) -> None:
        self.model = model
        self._answer: dict[str, Any] = {}
        self._failure: Exception | None = None
        self._child = _start("checker")
        self._thread = threading.Thread(target=self._ask, args=(skeleton,), daemon=True)
        self._thread.start()

    def result(self) -> Verdict:
        """Return the verdict; a model that both libraries refuse is an error."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        shapes = self._answer["shapes"]
        objection = self._answer["objection"]
        if objection is None:
            return Verdict("onnx.checker accepts it", (), shapes)
        words = first_words(objection)
        runtime = _communicate(_start("runtime", str(self.model)), b"", "ONNX Runtime")
        refusal = runtime["objection"]
        if refusal is not None and NO_KERNEL in refusal:
            warning = f"onnx.checker objects, ONNX Runtime cannot run it here: {words}"
            return Verdict("onnx.checker objects", (warning,), shapes)
        if refusal is not None:
            raise InputError(
                f"the model is not valid: {words}",
                f"ONNX Runtime refuses it, too: {first_words(refusal)}",
            )
        warning = f"onnx.checker objects, ONNX Runtime accepts the model: {words}"
        return Verdict("ONNX Runtime accepts it, onnx.checker objects", (warning,), shapes)

    def stop(self) -> None:
        """End the child if it still runs."""
        self._child.kill()
        self._thread.join()

    def _ask(self, skeleton: bytes) -> None:
        try:
            self._answer = _communicate(self._child, skeleton, "onnx.checker")
        except (LibraryError, LimitError) as error:
            self._failure = error


def infer_shapes(skeleton: bytes) -> dict[str, list[int | None]]:
    """Return the shapes of a model's values, those that it computes itself followed, too."""
    answer = _communicate(_start("shapes"), skeleton, "shape inference")
    shapes: dict[str, list[int | None]] = answer["shapes"]
    return shapes


def signal_name(number: int) -> str:
    """Return what a signal is called; not all of them have a name."""
    names = {each.value: each.name for each in signal.Signals}
    return names.get(number, f"signal {number}")


def first_words(text: str) -> str:
    """Cut a library's message to its first sentence, without escape codes or paths."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    plain = re.sub(r"\S*/\S+/\S+", "", plain)
    return " ".join(plain.split())[:160] or "no reason given"


def _start(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", str(CHILD), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _communicate(child: "subprocess.Popen[bytes]", data: bytes, who: str) -> dict[str, Any]:
    try:
        output, _ = child.communicate(data, TIMEOUT)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.communicate()
        raise LimitError(
            f"{who} took more than {TIMEOUT:.0f} s on this model", "--no-verify skips it"
        ) from error
    if child.returncode < 0:
        name = signal_name(-child.returncode)
        raise LibraryError(f"{who} died of {name} on this model", "--no-verify skips it")
    try:
        answer: dict[str, Any] = json.loads(output)
    except json.JSONDecodeError as error:
        raise LibraryError(
            f"{who} ended with code {child.returncode} on this model", "--no-verify skips it"
        ) from error
    return answer

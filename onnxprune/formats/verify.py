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

from onnxprune.bounds import bounds
from onnxprune.errors import InputError, LibraryError, LimitError, UnsupportedError
from onnxprune.formats.deaths import NO_MEMORY, Watch, no_memory

CHILD = Path(__file__).with_name("check_child.py")
CHECKER, RUNTIME = "onnx.checker", "ONNX Runtime"
TIMEOUT = 60.0
MEMORY = 16 << 30
SKIP = "--no-verify skips it"
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
        self._child = Child(CHECKER, "checker")
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
        try:
            refusal = Child(RUNTIME, "runtime", str(self.model)).ask(b"")["objection"]
        except LibraryError as death:
            raise InputError(f"the model is not valid: {words}", death.message) from death
        if refusal is not None and NO_KERNEL in refusal:
            warning = f"onnx.checker objects, {RUNTIME} cannot run it here: {words}"
            return Verdict("onnx.checker objects", (warning,), shapes)
        if refusal is not None:
            raise self._refused(words, f"{RUNTIME} refuses it, too: {first_words(refusal)}")
        warning = f"onnx.checker objects, {RUNTIME} accepts the model: {words}"
        return Verdict(f"{RUNTIME} accepts it, onnx.checker objects", (warning,), shapes)

    def stop(self) -> None:
        """End the child if it still runs."""
        self._child.stop()
        self._thread.join()

    def _ask(self, skeleton: bytes) -> None:
        try:
            self._answer = self._child.ask(skeleton)
        except (LibraryError, LimitError) as error:
            self._failure = error

    def _refused(self, words: str, hint: str) -> InputError | UnsupportedError:
        if self._answer["unknown"]:
            operator, version = self._answer["unknown"]
            return UnsupportedError(f"operator '{operator}' is not in opset {version}", hint)
        return InputError(f"the model is not valid: {words}", hint)


class Child:
    """A process in which a library looks at a model.

    Args:
        who: the library, for messages.
        words: what the process is to do.
    """

    def __init__(self, who: str, *words: str) -> None:
        self.who = who
        self.timeout = bounds().seconds(TIMEOUT)
        self._watch = Watch(bounds().bytes(MEMORY))
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(CHILD), str(self._watch.memory), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def stop(self) -> None:
        """End the process if it still runs."""
        self._process.kill()

    def ask(self, data: bytes) -> dict[str, Any]:
        """Give the process what it reads, and return what it answers."""
        try:
            output, said = self._process.communicate(data, self.timeout)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.communicate()
            raise LimitError(
                f"{self.who} took more than {self.timeout:g} s on this model",
                f"--timeout gives it more, {SKIP}",
            ) from error
        code = self._process.returncode
        try:
            answer: dict[str, Any] = json.loads(output) if code >= 0 else {}
        except json.JSONDecodeError:
            answer = {}
        if not answer and self._watch.lacked_memory(code, said.decode(errors="replace")):
            raise no_memory(self.who, self._watch.memory, hint=SKIP)
        if not answer:
            how = f"died of {signal_name(-code)}" if code < 0 else f"ended with code {code}"
            raise LibraryError(f"{self.who} {how} on this model", SKIP)
        objection = answer.get("objection") or ""
        if NO_MEMORY.search(objection):
            raise no_memory(self.who, self._watch.memory, first_words(objection), SKIP)
        return answer


def infer_shapes(skeleton: bytes) -> dict[str, list[int | None]]:
    """Return the shapes of a model's values, those that it computes itself followed, too."""
    answer = Child("shape inference", "shapes").ask(skeleton)
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

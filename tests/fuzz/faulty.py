"""A target that does what no reader may do, to see that it is found."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random

from onnxprune.errors import GateFailed, InputError
from tests.fuzz.__main__ import main
from tests.fuzz.models_made import Files
from tests.fuzz.targets import TARGETS


def _loop() -> None:
    while True:
        pass


def _leak() -> None:
    os.open(os.devnull, os.O_RDONLY)
    raise InputError("refused, but not closed")


def _take_memory() -> None:
    bytearray(1 << 30)


def _wrong_code() -> None:
    raise GateFailed("this is not said of a file")


def _refuse() -> None:
    raise InputError("as it should be")


FAULTS: dict[str, Callable[[], None]] = {
    "raises": lambda: {}["nothing"],
    "dies": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "hangs": _loop,
    "leaks": _leak,
    "grows": _take_memory,
    "warns": lambda: warnings.warn("a user would see this", stacklevel=2),
    "leaves": lambda: sys.exit(0),
    "wrong code": _wrong_code,
    "refuses": _refuse,
    "reads": lambda: None,
}


class Faulty:
    """Fails at one of five inputs."""

    name = "faulty"

    def __init__(self, fault: Callable[[], None]) -> None:
        self._fault = fault

    def make(self, chance: Random) -> Files:
        """Make a number of one byte."""
        return {"model.onnx": bytes([chance.randrange(5)])}

    def attempt(self, entry: Path) -> None:
        """Fail where the number is 0."""
        if entry.read_bytes() == b"\0":
            self._fault()


if __name__ == "__main__":
    fault = FAULTS[sys.argv[1]]
    TARGETS["faulty"] = lambda _: Faulty(fault)
    sys.exit(main(["--target", "faulty", *sys.argv[2:]]))

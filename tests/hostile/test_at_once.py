"""Runs that meet: two writers of one output, and an interrupt at any line of the writer."""

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from onnxprune.formats import output, saving
from tests.hostile.calls import Call, Calls, fault
from tests.hostile.layouts import external, inline
from tests.hostile.writes import NEW, OLD, files, pruning, restore

LAYOUTS = pytest.mark.parametrize("layout", [inline, external])
OUTSIDE = {"run", "_write", "_put_in_place", "_target"}
"""Functions of the writer that make files and put them in place."""


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    """Let what interrupts left open be closed here, not in a test that knows nothing of it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@LAYOUTS
@pytest.mark.parametrize("other", [OLD, NEW], ids=["another", "the same"])
def test_a_run_that_begins_and_ends_during_another_does_it_no_harm(
    layout: Callable[[Path], Path], other: str, tmp_path: Path
) -> None:
    write = pruning(tmp_path, layout)
    inputs = files(tmp_path)
    made = {}
    for sparsity in (OLD, NEW):
        restore(tmp_path, inputs)
        assert write.run(sparsity) == 0
        made[sparsity] = files(tmp_path)
    with Calls() as whole:
        assert write.run(NEW) == 0

    placed = max(at for at, name in enumerate(whole.names, 1) if name == "replace")

    def meanwhile(_: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        calls.at = 0
        assert write.run(other) == 0
        found = files(tmp_path)
        assert {name: found[name] for name in made[other]} == made[other]
        return call(*arguments)

    for at in range(1, whole.count + 1):
        restore(tmp_path, inputs)
        with Calls(meanwhile, at) as calls:
            assert write.run(NEW) == 0
        # Whoever gives the file its name last has it, with all that belongs to it.
        first, last = (made[NEW], made[other]) if at > placed else (made[other], made[NEW])
        assert files(tmp_path) == first | last


@LAYOUTS
def test_a_run_that_fails_takes_nothing_from_another(
    layout: Callable[[Path], Path], tmp_path: Path
) -> None:
    write = pruning(tmp_path, layout)
    inputs = files(tmp_path)
    assert write.run(NEW) == 0
    made = files(tmp_path)
    restore(tmp_path, inputs)
    with Calls() as whole:
        assert write.run(NEW) == 0
    last = max(at for at, name in enumerate(whole.names, 1) if name == "replace")

    def other_first(_: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        calls.at = 0
        assert write.run(NEW) == 0
        return fault(5)("replace", call, arguments)

    restore(tmp_path, inputs)
    with Calls(other_first, last) as calls:
        assert write.run(NEW) == 8
    # The other's data files have the same names, but they are not those of this run.
    assert files(tmp_path) == made


@LAYOUTS
def test_a_run_that_fails_leaves_what_an_earlier_one_made_alike(
    layout: Callable[[Path], Path], tmp_path: Path
) -> None:
    write = pruning(tmp_path, layout)
    with Calls() as whole:
        assert write.run(NEW) == 0
    made = files(tmp_path)
    last = max(at for at, name in enumerate(whole.names, 1) if name == "replace")
    with Calls(fault(5), last) as calls:
        assert write.run(NEW) == 8
    assert calls.hit == "replace"
    assert files(tmp_path) == made


class Interrupting:
    """Interrupts at the line with a given number of what puts files in place."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.lines = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if code.co_filename == output.__file__ and code.co_name != "copy_range":
            return self._line
        if code.co_filename == saving.__file__ and code.co_name in OUTSIDE:
            return self._line
        return None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                raise KeyboardInterrupt
        return self._line


@contextmanager
def traced(tracer: Interrupting) -> Iterator[None]:
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize(("layout", "step"), [(inline, 1), (external, 4)])
def test_an_interrupt_at_any_line_leaves_whole_files_and_no_temporary(
    layout: Callable[[Path], Path], step: int, tmp_path: Path
) -> None:
    write = pruning(tmp_path, layout)
    inputs = files(tmp_path)
    assert write.run(NEW) == 0
    new = files(tmp_path)
    restore(tmp_path, inputs)
    assert write.run(OLD) == 0
    old = files(tmp_path)
    with Calls(), traced(whole := Interrupting()):
        assert write.run(NEW) == 0
    assert whole.lines > 100
    outcomes = []
    for at in range(1, whole.lines + 1, step):
        restore(tmp_path, old)
        with Calls(), traced(Interrupting(at)):
            assert write.run(NEW) == 130
        found = files(tmp_path)
        assert found in (old, old | new), at
        outcomes.append(found == old)
    assert outcomes == sorted(outcomes, reverse=True)
    assert set(outcomes) == {True, False}


@LAYOUTS
def test_an_interrupt_while_a_failed_run_is_cleared_away_leaves_no_temporary(
    layout: Callable[[Path], Path], tmp_path: Path
) -> None:
    write = pruning(tmp_path, layout)
    assert write.run(OLD) == 0
    old = files(tmp_path)

    def refused(name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        if name == "replace" and arguments[1].name == "out.onnx":
            raise OSError(5, "Input/output error")
        return call(*arguments)

    with Calls(refused, 1, onwards=True), traced(lines := Interrupting()):
        assert write.run(NEW) == 8
    assert files(tmp_path) == old
    for at in range(lines.lines - 30, lines.lines + 1):
        with Calls(refused, 1, onwards=True), traced(Interrupting(at)):
            assert write.run(NEW) in (8, 130)
        assert not [name for name in files(tmp_path) if name.endswith(output.SUFFIX)], at
        assert files(tmp_path)["out.onnx"] == old["out.onnx"]

"""A fault at each call of the writer, for every form of file: exit 8 or success, nothing torn."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onnxprune.formats.output import SUFFIX
from tests.hostile.calls import Call, Calls, fault, short
from tests.hostile.writes import (
    NEW,
    OLD,
    WRITES,
    Files,
    Write,
    files,
    lasting,
    restore,
    survey_once,
)

ABANDONED = f".gone.1-1{SUFFIX}"


class Place:
    """A folder with an old output, to which commands are run that write a new one."""

    def __init__(self, folder: Path, write: Write) -> None:
        self.folder = folder
        self.write = write
        inputs = files(folder)
        assert write.run(NEW) == 0
        new = files(folder)
        restore(folder, inputs)
        assert write.run(OLD) == 0
        self.before = files(folder)
        self.old = lasting(self.before)
        self.new = self.old | lasting(new)
        assert self.old[write.output] != self.new[write.output]

    def run(self, calls: Calls) -> int:
        """Write the new output over the old, in a folder where a run was killed before."""
        restore(self.folder, self.before | {ABANDONED: b"left behind"})
        with calls:
            return self.write.run(NEW)

    def expected(self, calls: Calls) -> Files:
        """Return what must be there: data files without their model are taken away."""
        if self.write.output not in calls.replaced:
            return self.old
        return self.old | {name: self.new[name] for name in calls.replaced}

    def found(self) -> Files:
        """Return what is there, but for what was left behind before."""
        found = files(self.folder)
        found.pop(ABANDONED, None)
        return lasting(found)


@pytest.fixture(scope="module", params=WRITES)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        survey_once(patch)
        yield Place(folder, WRITES[request.param](folder))


def test_a_fault_at_any_call_leaves_whole_files_and_no_temporary(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Calls()
    assert place.run(whole) == 0
    capsys.readouterr()
    # Bytes are on the disk before a name leads to them, and the name is after that.
    for at, name in enumerate(whole.names):
        if name == "replace":
            assert whole.names[at - 1 : at + 3] == ["fsync", "replace", "open", "fsync"]
    codes = []
    for at in range(1, whole.count + 1):
        calls = Calls(fault(errno.EIO), at)
        code = place.run(calls)
        assert calls.names[:at] == whole.names[:at]
        assert code in (0, 8)
        codes.append(code)
        assert place.found() == (place.new if code == 0 else place.expected(calls)), calls.hit
        said = capsys.readouterr().err
        assert said.count("\n") == (1 if code else 0)
        assert ("input/output error" in said) == (code == 8)
    outcome = list(zip(whole.names, codes, strict=True))
    # Bytes are copied in another way, and an abandoned file may stay.
    handled = {name for name, code in outcome if code == 0}
    assert handled <= {"open", "flock", "unlink", "close", "copy_file_range"}
    assert {name for name, code in outcome if code == 8} >= {
        "open",
        "flock",
        "fsync",
        "replace",
    }
    # Both the temporary and its folder must be opened.
    assert outcome.count(("open", 8)) >= 2 * whole.names.count("replace")


def is_full(name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
    """Have no space for what is written, and let all else be done."""
    if name in ("pwrite", "copy_file_range", "fsync"):
        raise OSError(errno.ENOSPC, "No space left on device")
    return call(*arguments)


def test_a_disk_that_is_full_from_any_call_on_leaves_whole_files_and_no_temporary(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Calls()
    assert place.run(whole) == 0
    for at in range(1, whole.count + 1):
        capsys.readouterr()
        calls = Calls(is_full, at, onwards=True)
        code = place.run(calls)
        assert place.found() == (place.new if code == 0 else place.expected(calls))
        if code:
            assert "no space left" in capsys.readouterr().err
        wrote = {"pwrite", "copy_file_range", "fsync"} & set(whole.names[at - 1 :])
        assert code == (8 if wrote else 0)


def test_a_disk_that_dies_at_any_call_leaves_whole_files(place: Place) -> None:
    whole = Calls()
    assert place.run(whole) == 0

    def dead(name: str, call: Call, arguments: tuple[Any, ...]) -> Any:
        if name == "close":
            return call(*arguments)
        raise OSError(errno.EIO, "Input/output error")

    for at in range(1, whole.count + 1):
        calls = Calls(dead, at, onwards=True)
        code = place.run(calls)
        assert code == (8 if set(calls.names[at - 1 :]) - {"close"} else 0)
        found = place.found()
        # Nothing could be removed either: the next run does that.
        left = {name for name in found if name.endswith(SUFFIX)}
        assert len(left) <= whole.names.count("replace")
        whole_files = place.old | {name: place.new[name] for name in calls.replaced}
        assert {name: found[name] for name in found.keys() - left} == whole_files
        if left:
            assert place.write.run(NEW) == 0
            assert place.found() == place.new


def test_calls_that_write_only_a_part_are_repeated(place: Place) -> None:
    calls = Calls(short, 1, onwards=True)
    assert place.run(calls) == 0
    assert place.found() == place.new
    assert {"pwrite", "copy_file_range"} & set(calls.names) or place.write.output == "m.npz"

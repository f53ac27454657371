"""Every file of the hostile corpus has its exit code, harms nothing, and is told of in one line."""

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import Ran
from tests.hostile.corpus import (
    ALONE,
    CANARY,
    DIFFERENT,
    LETTERS,
    TOOL,
    Case,
    cases,
    load_tool,
    make,
)

Run = Callable[..., Ran]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    found = load_tool()
    if found is None:
        pytest.skip(f"the optional corpus of bad models ({TOOL.name}) is not here")
    return found


def state(root: Path) -> dict[str, str]:
    """Describe everything below a folder: what it is, and what is in it."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        told = stat.filemode(mode)
        if stat.S_ISLNK(mode):
            told += os.readlink(path)
        elif stat.S_ISREG(mode) and path.stat().st_size < 1 << 30:
            told += hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(root))] = told
    return found


def faults(ran: Ran, case: Case) -> list[str]:
    """Say what is wrong with how a command ended and with what it printed."""
    wrong = []
    if ran.code != case.code if case.code is not None else ran.code not in range(11):
        wrong.append(f"exit code {ran.code}, wanted {case.code}")
    if ran.code == 1 or "Traceback" in ran.err:
        wrong.append("a bug")
    begins, lines = ran.err.startswith("onnxprune: error: "), ran.err.count("\n")
    if (begins, lines) != ((False, 0) if ran.code == 0 else (True, 1)):
        wrong.append(f"{lines} lines of errors")
    printed = ran.out + ran.err
    if not all(letter.isprintable() or letter == "\n" for letter in printed):
        wrong.append("something that a terminal would obey")
    if any(line.startswith("::") for line in printed.splitlines()):
        wrong.append("something that a runner would obey")
    return wrong


def left_behind(case: Case, code: int, output: Path, report: Path) -> list[str]:
    """Name the files that a command wrote and that are neither output nor report of it."""
    allowed = set()
    if code == 0:
        told = report.read_bytes()
        assert told.isascii()
        allowed = {report, *map(Path, json.loads(told)["files"])}
        assert output / f"{case.name}.onnx" in allowed or case.kind == "torch"
    return [f"left {path.name}" for path in output.iterdir() if path not in allowed]


@pytest.mark.parametrize("letter", LETTERS)
def test_every_file_has_its_exit_code_and_harms_nothing(
    letter: str,
    tool: ModuleType,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = [case for case in cases(tool, letter) if case.name not in ALONE]
    root, elsewhere = tmp_path / "cases", tmp_path / "elsewhere"
    elsewhere.mkdir()
    make(tool, wanted, root)
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    before = state(root)
    wrong = {}
    for case in wanted:
        output = tmp_path / case.name
        output.mkdir()
        report = output / "report.json"
        monkeypatch.chdir(output)
        ran = run("prune", "--report", report, *case.words(root, output)[1:])
        found = [*faults(ran, case), *left_behind(case, ran.code, output, report)]
        if found:
            wrong[case.name] = (found, case.note, ran.err)
    assert wrong == {}
    assert state(root) == before
    assert not (root / CANARY).exists()
    assert list(elsewhere.iterdir()) == []


def test_no_case_is_forgotten(tool: ModuleType) -> None:
    names = {case.name for case in cases(tool)}
    assert {case.name for letter in LETTERS for case in cases(tool, letter)} == names
    assert len(names) == 255
    assert ALONE.keys() | DIFFERENT.keys() <= names


def test_differences_are_explained_to_readers(tool: ModuleType) -> None:
    asked = {each["id"]: each["code"] for each in tool.CASES}
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in (HERE / "README.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    assert [row[:3] for row in rows] == [
        [f"`{name}`", str(asked[name]), str(code)] for name, (code, _) in DIFFERENT.items()
    ]
    assert all(len(row) == 4 and row[3] for row in rows)
    assert all(code != asked[name] for name, (code, _) in DIFFERENT.items())

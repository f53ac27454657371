"""What the README says is what the commands do."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import onnxprune
from onnxprune.cli.words import COMMANDS
from tests.forked import Forked, Source

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.S)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)
SECONDS = re.compile(r"\b((?:in|took|within|over) +)\d+\.\d(?= s|$)", re.M)
VARYING = re.compile(r"^(latency|outputs) .*?(?=^\S)", re.M | re.S)
"""Times differ from run to run, rounding from machine to machine, and lines are folded."""

LESS = {"-m obd": "--batches-per-step 1", "-m synflow": "--steps 5"}
"""What makes commands short of which nothing but the file is left to see."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("readme")
    shutil.copy(ROOT / "examples" / "digits" / "digits.onnx", place)
    for name in ("digits_test.npz", "digits_calibration.npz"):
        shutil.copy(ROOT / "calibration" / name, place)
    return place


@pytest.fixture
def run(source: Source, folder: Path) -> Callable[[str], str]:
    """Run a command as a reader would type it, and return what it prints."""

    def typed(line: str) -> str:
        words = shlex.split(line)
        assert words[0] == "onnxprune"
        child = Forked(
            source,
            [sys.executable, "-m", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"COLUMNS": "80", "PATH": "", "PYTHONIOENCODING": "utf-8"},
        )
        out, err = child.communicate(timeout=240)
        assert child.wait() == 0, err
        return str(out)

    return typed


def without_times(text: str) -> str:
    return VARYING.sub("\\1\n", SECONDS.sub(r"\g<1>0.3", text))


def test_the_commands_print_what_the_readme_shows(run: Callable[[str], str]) -> None:
    assert len(BLOCKS) >= 3
    # One after another, as a reader would type them: later ones use earlier files.
    for block in BLOCKS:
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            line, _, shown = part.partition("\n")
            for words, less in LESS.items():
                if words in line:
                    line += f" {less}"
            assert without_times(run(line)) == without_times(shown), line


def test_the_python_examples_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for block in PYTHON[:-1]:
        exec(compile(block, "README.md", "exec"), {})


def test_the_method_of_the_readme_prunes(folder: Path, run: Callable[[str], str]) -> None:
    file = folder / "own_method.py"
    file.write_text(PYTHON[-1])
    run("onnxprune digits.onnx -s 0.5 -m ./own_method.py -o own.onnx --force -q")


def test_the_table_of_methods_is_the_registry() -> None:
    table = README.split("<!-- methods -->")[1].split("<!-- /methods -->")[0]
    rows = [
        f"| `{info.name}` | {info.kind} | {info.summary} | {info.paper} |"
        for info in onnxprune.methods()
    ]
    assert table.strip().split("\n")[2:] == rows


def test_every_command_is_in_the_readme() -> None:
    for name in COMMANDS:
        assert f"onnxprune {name}" in README


def test_every_exit_code_is_in_the_readme() -> None:
    def subclasses(kind: type) -> list[type]:
        return [kind, *(below for sub in kind.__subclasses__() for below in subclasses(sub))]

    for kind in subclasses(onnxprune.OnnxpruneError):
        assert f"| {kind.exit_code} |" in README


def test_the_example_in_the_repository_is_the_one_in_the_readme() -> None:
    own = (ROOT / "examples" / "own_method.py").read_text()
    assert "onnxprune" in own
    assert len(own.splitlines()) <= 25

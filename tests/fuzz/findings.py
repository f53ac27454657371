"""One input tried, and kept if it does what no input may do."""

import os
import re
import shutil
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from random import Random

import onnxprune
from onnxprune.cli import _one_line
from onnxprune.errors import OnnxpruneError
from tests.fuzz.models_made import Files
from tests.fuzz.targets import Target

CODES = (2, 3, 4, 5, 6, 7)
"""What a file may be refused with."""

FRAME = re.compile(r'File "([^"]*)", line (\d+),? in (\w+)')
PACKAGE = str(Path(onnxprune.__file__).parent)
ENTRIES = ("model.onnx", "model.pt", "set.npy", "set.npz", "test_data_set_0/input_0.pb")


@dataclass(frozen=True)
class Origin:
    """What decides an input: a target, a seed, and the number of the input."""

    target: Target
    seed: int
    index: int

    def files(self) -> Files:
        """Make the input, the same one each time."""
        return self.target.make(Random(f"{self.target.name} {self.seed} {self.index}"))


class Place:
    """A folder that holds the files of one input at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._there: Files = {}

    def put(self, files: Files) -> Path:
        """Write the files; return the one that is to be opened."""
        for name in self._there.keys() - files.keys():
            (self._folder / name).unlink()
        for name, data in files.items():
            if self._there.get(name) != data:
                path = self._folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        self._there = dict(files)
        return self._folder / next(iter(files))


def attempt(target: Target, entry: Path) -> OnnxpruneError | str | None:
    """Let a target read a file; return its refusal, or as a text what it must not do."""
    free = _free_descriptor()
    try:
        target.attempt(entry)
    except OnnxpruneError as error:
        hint = f"; {error.hint}" if error.hint else ""
        line = _one_line(error.message + hint)
        if not error.message or "\n" in line or error.exit_code not in CODES:
            return f"code {error.exit_code}: {error.message!r}\n{traceback.format_exc()}"
        result: OnnxpruneError | None = error
    except BaseException:  # noqa: BLE001 - that is what is looked for
        return traceback.format_exc()
    else:
        result = None
    if _free_descriptor() != free:
        return f"a file stays open; the error was {result!r}"
    return result


def _free_descriptor() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def mind_warnings() -> None:
    """Let a warning that a user would see be an error."""
    warnings.simplefilter("error")
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):
        warnings.simplefilter("ignore", kind)


def save(findings: Path, origin: Origin, what: str) -> None:
    """Keep an input and what came of it; of several with one cause only the first."""
    name = origin.target.name
    folder = findings / f"{name}-{_cause(what)}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    for file, data in origin.files().items():
        path = folder / "files" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    again = f"python -m tests.fuzz --target {name} --replay {folder}"
    (folder / "finding.txt").write_text(
        f"{name}, seed {origin.seed}, input {origin.index}\n{again}\n\n{what}\n"
    )


def _cause(what: str) -> str:
    """Name a finding after its kind and the place in the package where it happened."""
    frames = [found for found in FRAME.findall(what) if found[0].startswith(PACKAGE)]
    lines = [line for line in what.splitlines() if line and not line.startswith(" ")]
    traced = what.startswith("Traceback")
    kind = re.sub(r"\W+", "-", (lines[-1] if traced else lines[0])[:30]).strip("-")
    if not frames:
        return kind
    # A traceback ends where it happened; what a fault leaves begins there.
    path, line, _ = frames[-1] if traced else frames[0]
    return f"{Path(path).stem}-{line}-{kind}"


def replay(target: Target, saved: Path) -> str:
    """Try a saved finding again, here; return what came of it."""
    mind_warnings()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(saved / "files", folder, dirs_exist_ok=True)
        entry = next(name for name in ENTRIES if Path(folder, name).exists())
        found = attempt(target, Path(folder, entry))
    if isinstance(found, str):
        return found
    return "it is read" if found is None else f"refused: {_one_line(found.message)}"

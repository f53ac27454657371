"""Keeps the finished points of a long run, so that an interrupted one can go on."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onnxprune.encoding import decode, encode
from onnxprune.errors import InputError, OnnxpruneError, UsageError, about
from onnxprune.formats.onnx_file import file_hash
from onnxprune.formats.output import check_output, write_whole
from onnxprune.points import Point
from onnxprune.trials.trying import Workbench
from onnxprune.types import Recipe
from onnxprune.version import __version__

SCHEMA = 1
BEGINNING = b'{\n "journal":'


class Journal:
    """A file of finished points; it goes away when the run is over.

    Args:
        path: the file.
        resume: whether points that it holds already are taken over.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = path
        self.resume = resume
        self._fingerprint = ""
        self._points: list[Point] = []
        try:
            self._target = check_output(path, [], force=True)
        except OnnxpruneError as error:
            error.hint = "--journal FILE names a place for finished points"
            raise
        if resume and not path.exists():
            raise UsageError(f"--resume: there is no {path}", "an interrupted run leaves one")
        if not resume and path.exists() and not _is_journal(path):
            raise UsageError(f"--journal {path} is another file; name a new one")

    def begin(self, fingerprint: str) -> list[Point]:
        """Return the points of the run that was interrupted, if it was this very run."""
        self._fingerprint = fingerprint
        if self.resume:
            with about(self.path):
                self._points = self._read()
        return list(self._points)

    def add(self, point: Point) -> None:
        """Keep one more finished point."""
        points = [*self._points, point]
        record = {
            "journal": SCHEMA,
            "fingerprint": self._fingerprint,
            "points": [encode(each) for each in points],
        }
        write_whole(self._target, json.dumps(record, indent=1).encode())
        self._points = points

    def end(self) -> None:
        """Remove the file: the run is over."""
        with contextlib.suppress(OSError):
            self._target.unlink()

    @property
    def kept(self) -> int:
        """How many points the file holds."""
        return len(self._points)

    def _read(self) -> list[Point]:
        try:
            record: dict[str, Any] = json.loads(self.path.read_bytes())
            if record["journal"] != SCHEMA:
                raise InputError(f"a journal of schema {record['journal']}, known is {SCHEMA}")
            found = record["fingerprint"]
            points = [decode(Point, each, "points") for each in record["points"]]
        except OnnxpruneError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError("not a journal of onnxprune") from error
        if found != self._fingerprint:
            raise InputError(
                "the points of another run: model, data, options or versions differ",
                "without --resume it starts anew",
            )
        return points


def _is_journal(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def fingerprint(bench: Workbench, recipe: Recipe, also: Sequence[object] = ()) -> str:
    """Hash everything that points depend on, but what sets them apart from each other."""
    examination = bench.examination
    try:
        data = examination.samples.digest()
    except UsageError:
        data = examination.samples.source  # a function: its name is all there is
    fields = asdict(recipe) | {"sparsity": 0}
    place = examination.runner.place
    assert place is not None
    # A planner that measures the model depends on samples of its own.
    measured = getattr(bench.planner, "digest", None)
    parts = [
        [file_hash(file) for file in bench.source.all_files()],
        data,
        examination.batch,
        examination.task,
        examination.own.name if examination.own is not None else "",
        fields,
        bench.files,
        measured(bench.model) if measured is not None else "",
        asdict(place),
        __version__,
        *also,
    ]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()

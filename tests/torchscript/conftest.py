"""Files that were surveyed or converted once are not loaded by another child again."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnxprune.formats import torch_converting, torch_file
from onnxprune.formats.torch_surveying import Survey, ask, survey

_known: dict[tuple[str, bool], Survey] = {}
_converted: dict[tuple[str, ...], tuple[dict[str, Any], bytes]] = {}


def survey_once(path: Path, program: bool) -> Survey:
    """Survey a file, unless one with the same bytes was."""
    key = digest(path), program
    if key not in _known:
        _known[key] = survey(path, program)
    return _known[key]


def convert_once(
    command: str, path: Path, program: bool, request: str, output: str, *names: str
) -> dict[str, Any]:
    """Convert a file, unless one with the same bytes was, with the same example."""
    key = digest(path), digest(Path(request)), *names
    if key not in _converted:
        answer = ask(command, path, program, request, output, *names)
        if "unsupported" in answer:
            return answer
        _converted[key] = answer, Path(output).read_bytes()
    answer, content = _converted[key]
    Path(output).write_bytes(content)
    return answer


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def remembered(
    forked: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path, bool], Survey]:
    monkeypatch.setattr(torch_file, "survey", survey_once)
    monkeypatch.setattr(torch_converting, "ask", convert_once)
    return survey_once

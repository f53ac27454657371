"""Files that were surveyed once are not loaded by another child again: that takes seconds."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from onnxprune.formats import torch_file
from onnxprune.formats.torch_surveying import Survey, survey

_known: dict[tuple[str, bool], Survey] = {}


def survey_once(path: Path, program: bool) -> Survey:
    """Survey a file, unless one with the same bytes was."""
    key = hashlib.sha256(path.read_bytes()).hexdigest(), program
    if key not in _known:
        _known[key] = survey(path, program)
    return _known[key]


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, bool], Survey]:
    monkeypatch.setattr(torch_file, "survey", survey_once)
    return survey_once

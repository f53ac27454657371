"""The file of a journal: where it may be, what it may hold, and what counts as kept."""

from pathlib import Path

import pytest

from onnxprune.errors import InputError, OutputError, UsageError
from onnxprune.points import Point
from onnxprune.trials import journal as module
from onnxprune.trials.journal import Journal
from tests.trials.made import staircase


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not a journal of onnxprune"),
        (b"{", "not a journal of onnxprune"),
        (b"[]", "not a journal of onnxprune"),
        (b"{}", "not a journal of onnxprune"),
        (b"[" * 100_000, "not a journal of onnxprune"),
        (b"\xff\xfe", "not a journal of onnxprune"),
        (b'{"journal": 1}', "not a journal of onnxprune"),
        (b'{"journal": 2}', "a journal of schema 2, known is 1"),
        (b'{"journal": 1, "fingerprint": "", "points": 3}', "not a journal of onnxprune"),
        (b'{"journal": 1, "fingerprint": "", "points": [3]}', "points is not an object"),
        (
            b'{"journal": 1, "fingerprint": "", "points": [{"method": 3}]}',
            "points.method is not a text",
        ),
    ],
)
def test_a_damaged_journal_is_bad_input(text: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "j.json"
    path.write_bytes(text)
    with pytest.raises(InputError) as caught:
        Journal(path, resume=True).begin("")
    assert caught.value.message == f"{path}: {message}"
    assert path.read_bytes() == text


def test_a_journal_replaces_no_other_file(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    before = model.read_bytes()
    with pytest.raises(UsageError) as caught:
        Journal(model, resume=False)
    assert caught.value.message == f"--journal {model} is another file; name a new one"
    assert model.read_bytes() == before


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Journal(tmp_path / "j.json", resume=True)
    assert caught.value.message == f"--resume: there is no {tmp_path / 'j.json'}"
    assert caught.value.hint == "an interrupted run leaves one"


def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint = "--journal FILE names a place for finished points"
    for path, message in (
        (tmp_path / "no" / "j.json", f"there is no folder {tmp_path / 'no'}"),
        (tmp_path, f"{tmp_path} is a directory"),
    ):
        with pytest.raises(OutputError) as caught:
            Journal(path, resume=False)
        assert (caught.value.message, caught.value.hint) == (message, hint)
    # Whoever runs as root may write everywhere.
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputError) as caught:
        Journal(tmp_path / "j.json", resume=False)
    assert caught.value.message == f"the folder {tmp_path} is not writable"
    assert caught.value.hint == hint


def test_a_point_counts_as_kept_when_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "j.json", resume=False)
    journal.add(Point("magnitude", 0.5, 1, 2, None, "no"))
    assert journal.kept == 1

    def full(*_: object) -> None:
        raise OutputError("no space left")

    monkeypatch.setattr(module, "write_whole", full)
    with pytest.raises(OutputError):
        journal.add(Point("magnitude", 0.6, 1, 2, None, "no"))
    assert journal.kept == 1

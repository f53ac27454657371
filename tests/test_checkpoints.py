"""Finished steps in a file: read back as they were, refused where they do not belong."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from onnxprune.checkpoints import NAME, Checkpoint
from onnxprune.errors import InputError, OutputError
from onnxprune.gradual import Progressed

DONE = Progressed(3, {"a/b": np.array([1, 0, 1], bool), "ö": np.zeros(17, bool)})


def test_a_step_is_read_back_as_it_was(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "new" / "folder", "print").keep(DONE)
    found = Checkpoint(tmp_path / "new" / "folder", "print").read()
    assert found is not None
    assert found.step == 3
    assert list(found.masks) == ["a/b", "ö"]
    for path, mask in DONE.masks.items():
        np.testing.assert_array_equal(found.masks[path], mask)


def test_an_empty_folder_has_no_step(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path, "print").read() is None
    assert list(tmp_path.iterdir()) == []


def test_a_later_step_replaces_the_one_before_and_nothing_else_is_left(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "print")
    checkpoint.keep(DONE)
    checkpoint.keep(Progressed(4, DONE.masks))
    found = checkpoint.read()
    assert found is not None
    assert found.step == 4
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_the_steps_of_another_pruning_are_refused(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "one").keep(DONE)
    with pytest.raises(InputError) as caught:
        Checkpoint(tmp_path, "other").read()
    wanted = "the steps of another pruning: model, data or options differ"
    assert str(caught.value) == f"{tmp_path / NAME}: {wanted}"
    assert caught.value.hint == "another folder, or none, starts anew"


DAMAGED = {
    "empty": b"",
    "noise": b"not a checkpoint",
    "zeros": bytes(100),
    "a sum of nothing else": hashlib.sha256(b"x").digest(),
    "the sum of other bytes": hashlib.sha256(b"x").digest() + b"y",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_file_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InputError) as caught:
        Checkpoint(tmp_path, "print").read()
    assert str(caught.value) == f"{tmp_path / NAME}: no whole checkpoint of onnxprune"


def test_no_change_of_any_byte_and_no_missing_one_goes_unnoticed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "print")
    checkpoint.keep(DONE)
    whole = (tmp_path / NAME).read_bytes()
    damaged = [whole[:place] for place in range(len(whole))]
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        damaged.append(bytes(flipped))
    for content in damaged:
        (tmp_path / NAME).write_bytes(content)
        with pytest.raises(InputError, match="no whole checkpoint"):
            checkpoint.read()


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "print")
    (tmp_path / NAME).mkdir()
    with pytest.raises(InputError, match="cannot read the finished steps: is a directory"):
        checkpoint.read()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot make the folder .*file: "):
        Checkpoint(tmp_path / "file", "print")

"""Files are listed in one order, and what could block is refused."""

import os
from pathlib import Path

import pytest

from onnxprune.errors import InputError
from onnxprune.samples.files import check_regular, files_in, folders_in, hash_files, reading


def made(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).write_text(name)
    return [folder / name for name in names]


def test_numbers_in_names_count(tmp_path: Path) -> None:
    names = ["a1.x", "a2.x", "a10.x", "b.x", "b²3.x"]
    made(tmp_path, *reversed(names))
    assert [path.name for path in files_in(tmp_path, {".x"})] == names


def test_names_that_count_alike_have_one_order(tmp_path: Path) -> None:
    names = ["001.x", "01.x", "1.x"]
    made(tmp_path, "1.x", "001.x", "01.x")
    assert [path.name for path in files_in(tmp_path, {".x"})] == names


def test_hidden_files_folders_and_other_kinds_are_passed_over(tmp_path: Path) -> None:
    made(tmp_path, "a.X", ".b.x", "c.y")
    (tmp_path / "d.x").mkdir()
    (tmp_path / ".e").mkdir()
    assert [path.name for path in files_in(tmp_path, {".x"})] == ["a.X"]
    assert [path.name for path in folders_in(tmp_path)] == ["d.x"]


@pytest.mark.parametrize("kind", ["pipe", "loop", "nothing"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.x"
    if kind == "pipe":
        os.mkfifo(path)
        expected = "a.x is not a regular file"
    elif kind == "loop":
        path.symlink_to(path)
        expected = "a.x cannot be read: too many levels of symbolic links"
    else:
        path.symlink_to(tmp_path / "gone")
        expected = "a.x cannot be read: no such file or directory"
    with pytest.raises(InputError) as caught:
        files_in(tmp_path, {".x"})
    assert caught.value.message == expected


def test_a_check_without_a_name_leaves_it_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        check_regular(tmp_path)
    assert caught.value.message == "is not a regular file"


def test_sums_depend_on_content_meaning_and_order_but_not_on_names(tmp_path: Path) -> None:
    one, two, copy = made(tmp_path, "1", "2", "3")
    copy.write_text("1")
    sums = [
        hash_files([("a", one), ("b", two)]),
        hash_files([("b", two), ("a", one)]),
        hash_files([("a", one), ("a", two)]),
        hash_files([("a", one)]),
    ]
    assert len(set(sums)) == len(sums)
    assert hash_files([("a", copy), ("b", two)]) == sums[0]


def test_what_the_system_says_is_passed_on() -> None:
    with pytest.raises(InputError) as caught, reading("a.x"):
        raise PermissionError(13, "Permission denied", "/secret/a.x")
    assert caught.value.message == "a.x cannot be read: permission denied"

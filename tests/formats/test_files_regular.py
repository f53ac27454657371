"""Model files: only regular ones are opened, and a change of one is seen."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from onnxprune.errors import InputError
from onnxprune.formats.files import open_regular

KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "f_missing": (lambda m: None, "no such file"),
    "f_dangling": (lambda m: m.symlink_to("gone"), "no such file (dangling link)"),
    "f_loop": (lambda m: m.symlink_to("m"), "too many levels of symbolic links"),
    "f_dir": (lambda m: m.mkdir(), "is a directory"),
    "f_fifo": (os.mkfifo, "not a regular file (FIFO)"),
    "f_devzero": (lambda m: m.symlink_to("/dev/zero"), "not a regular file (device)"),
}


@pytest.mark.parametrize("case", KINDS)
def test_only_a_regular_file_is_opened(tmp_path: Path, case: str) -> None:
    setup, message = KINDS[case]
    setup(tmp_path / "m")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InputError) as caught:
        open_regular(tmp_path / "m")
    assert caught.value.message == message
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_may_not_be_read_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match="permission denied"):
        open_regular(tmp_path / "m")


def test_a_file_behind_a_link_is_opened(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"content")
    (tmp_path / "m").symlink_to("real")
    source = open_regular(tmp_path / "m")
    assert source.size == 7
    source.check_unchanged()
    (tmp_path / "real").write_bytes(b"changed")
    with pytest.raises(InputError, match="m changed while it was read"):
        source.check_unchanged()
    source.close()

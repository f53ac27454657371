"""A place for temporary files, and what is said where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onnxprune.errors import OutputError
from onnxprune.formats import scratch
from onnxprune.formats.scratch import scratch_file, scratch_folder


def test_what_is_made_goes_away() -> None:
    with scratch_folder() as folder, scratch_file() as file:
        Path(folder, "x").write_bytes(b"x")
        file.write(b"x")
    assert not Path(folder).exists()


@pytest.mark.parametrize("make", [scratch_folder, scratch_file])
def test_without_a_place_the_command_says_so(
    make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(scratch.tempfile, "TemporaryDirectory", refuse)
    monkeypatch.setattr(scratch.tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match="no place for temporary files: no usable") as caught:
        make()
    assert caught.value.hint == "TMPDIR names a folder that can be written"

"""Writing that is cut short: by an interrupt, a full disk, or a change of the input.

Faults at every call and ends at every point are in tests/hostile.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onnxprune.errors import InputError, OutputError
from onnxprune.formats import onnx_file, reading_back, saving
from tests.formats.data_files import hashes
from tests.formats.files_made import FLOAT, one_weight, outside, prune, some, tensor

SHAPE = (400, 500)


def inline(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(one_weight(FLOAT, tensor("w", FLOAT, some(FLOAT, SHAPE)), SHAPE))
    return path


def external(folder: Path) -> Path:
    path = folder / "model.onnx"
    (folder / "w.bin").write_bytes(some(FLOAT, SHAPE).tobytes())
    weight = outside("w", FLOAT, SHAPE, location="w.bin")
    path.write_bytes(one_weight(FLOAT, weight, SHAPE))
    return path


LAYOUTS = pytest.mark.parametrize("layout", [inline, external])
Layout = Callable[[Path], Path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here (it takes root)")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@LAYOUTS
@pytest.mark.parametrize("asked", [True, False], ids=["before", "while writing"])
def test_a_full_disk_leaves_the_old_output(
    tmp_path: Path,
    small_disk: Path,
    layout: Layout,
    asked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = layout(tmp_path)
    (small_disk / "filler").write_bytes(bytes(500_000))
    (small_disk / "out.onnx").write_bytes(b"old")
    before = hashes(tmp_path)
    if not asked:
        monkeypatch.setattr(saving, "check_space", lambda folder, needed: None)
    with pytest.raises(OutputError) as caught:
        prune(path, small_disk / "out.onnx", force=True)
    message = caught.value.message
    if asked:
        assert message.startswith(f"no space in {small_disk}: 800,")
    else:
        assert message == f"no space left in {small_disk}"
    assert hashes(tmp_path) == before


@LAYOUTS
def test_an_interrupt_removes_the_temporaries(tmp_path: Path, layout: Layout) -> None:
    path = layout(tmp_path)
    before = hashes(tmp_path)

    def interrupt(what: str, done: int, total: int) -> None:
        if what == "writing" and done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(path, tmp_path / "out.onnx", progress=interrupt)
    assert hashes(tmp_path) == before


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewrite(path: Path) -> None:
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes(len(content)))


@LAYOUTS
@pytest.mark.parametrize("change", [lengthen, shorten, rewrite])
@pytest.mark.parametrize("moment", ["ranking weights", "writing"])
def test_an_input_that_changes_meanwhile_is_refused(
    tmp_path: Path, layout: Layout, change: Callable[[Path], None], moment: str
) -> None:
    path = layout(tmp_path)
    changed = []

    def meddle(what: str, done: int, total: int) -> None:
        if what == moment and not changed:
            changed.append(what)
            change(path if layout is inline else path.with_name("w.bin"))

    before = set(hashes(tmp_path))
    with pytest.raises(InputError) as caught:
        prune(path, tmp_path / "out.onnx", progress=meddle)
    assert "changed while it was read" in caught.value.message
    assert changed == [moment]
    assert set(hashes(tmp_path)) == before


def test_what_is_read_back_must_have_the_zeros_that_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = inline(tmp_path)
    monkeypatch.setattr(reading_back, "count_zeros", lambda model, name: 7)
    with pytest.raises(OutputError, match="100,000 zeros were written, 7 were read back"):
        prune(path, tmp_path / "out.onnx")
    assert set(hashes(tmp_path)) == {str(path)}


def test_a_file_that_cannot_be_read_back_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = inline(tmp_path)

    def refuse(*arguments: object) -> None:
        raise InputError("no model")

    monkeypatch.setattr(onnx_file, "load_onnx", refuse)
    with pytest.raises(OutputError, match="the written model cannot be read back: no model"):
        prune(path, tmp_path / "out.onnx")
    assert set(hashes(tmp_path)) == {str(path)}

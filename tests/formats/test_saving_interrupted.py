"""Writing that is cut short: by a signal, a full disk, a fault, or a change of the input."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onnxprune.errors import InputError, OutputError
from onnxprune.formats import onnx_file, saving
from tests.formats.data_files import hashes
from tests.formats.files_made import FLOAT, one_weight, outside, prune, some, tensor

SHAPE = (400, 500)

PRUNE = """
import sys
from pathlib import Path
from onnxprune.pruning import Settings, prune_file
from onnxprune.recipe import make_recipe

def tell(what, done, total):
    print(what.split()[0], done, total, flush=True)

model, output, sparsity = sys.argv[1:]
settings = Settings(output=Path(output), force=True, verify=False, progress=tell)
prune_file(Path(model), make_recipe({"sparsity": sparsity, "method": "global"}), settings)
"""


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


class Faults:
    """Lets the system calls that write fail, from the call with a given number on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
        self.first = first
        self.calls = 0
        for name in ("pwrite", "fsync", "replace", "open", "copy_file_range"):
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            reads = call.__name__ == "open" and not arguments[1] & os.O_CREAT
            if not reads:
                self.calls += 1
                if self.calls == self.first:
                    raise OSError(5, "Input/output error")
            return call(*arguments, **options)

        wrapped.__name__ = call.__name__
        return wrapped


@LAYOUTS
def test_a_fault_at_any_call_leaves_the_old_output_or_the_whole_new_one(
    tmp_path: Path, layout: Layout
) -> None:
    path = layout(tmp_path)
    output = tmp_path / "out.onnx"
    prune(path, output, 0.7)
    new, files = output.read_bytes(), set(hashes(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        whole = Faults(patch, 0)
        prune(path, output, 0.7, force=True)
    failures = 0
    for first in range(1, whole.calls + 1):
        output.write_bytes(b"old")
        with pytest.MonkeyPatch.context() as patch:
            Faults(patch, first)
            try:
                prune(path, output, 0.7, force=True)
                done = True  # copy_file_range may fail: bytes are then copied in another way
            except OutputError as error:
                assert "input/output error" in error.message
                failures += 1
                done = first == whole.calls  # the folder was not synced, all else is done
        assert output.read_bytes() == (new if done else b"old")
        assert set(hashes(tmp_path)) == files
    assert failures >= 5


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
    monkeypatch.setattr(saving, "count_zeros", lambda model, name: 7)
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


def killed(path: Path, output: Path, sparsity: float, share: float) -> None:
    """Start a run and kill it when it has written a share of its bytes."""
    command = [sys.executable, "-c", PRUNE, path, output, str(sparsity)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            what, done, total = line.split()
            if what == "writing" and int(done) >= share * int(total):
                child.send_signal(signal.SIGKILL)
                break
        child.wait()


@pytest.mark.slow
@LAYOUTS
def test_a_kill_leaves_the_old_output_or_the_whole_new_one(
    tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SHAPE", (3_000, 4_400))  # 53 MB
    path, output = layout(tmp_path), tmp_path / "out.onnx"
    prune(path, output, 0.7)
    new = output.read_bytes()
    prune(path, output, 0.4, force=True)
    old, files = output.read_bytes(), set(hashes(tmp_path))
    shares = random.Random(7)
    outcomes = []
    left: list[str] = []
    for share in [shares.random() for _ in range(2)] + [1.0]:
        killed(path, output, 0.7, share)
        content = output.read_bytes()
        outcomes.append(content == new)
        assert content in (old, new)
        left += sorted(set(hashes(tmp_path)) - files)
        assert len(set(hashes(tmp_path)) - files) <= 2
    assert left
    assert all(name.endswith(".onnxprune-tmp") for name in left)
    prune(path, output, 0.7, force=True)
    assert output.read_bytes() == new
    assert set(hashes(tmp_path)) == files
    assert False in outcomes

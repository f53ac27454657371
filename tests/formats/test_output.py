"""Where a file may be written, and that it gets there whole or not at all."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from onnxprune.errors import OnnxpruneError, OutputError, UsageError
from onnxprune.formats.output import SUFFIX, Temporary, check_space, write_at, write_whole
from tests.formats.files_made import FLOAT, one_weight, outside, prune, some, tensor

SHAPE = (8, 9)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(one_weight(FLOAT, tensor("w", FLOAT, some(FLOAT, SHAPE)), SHAPE))
    return path


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "read only"
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mounting = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("root may write everywhere, and no read-only folder can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refusal(model: Path, output: Path, force: bool = False) -> OnnxpruneError:
    before, content = names(model.parent), model.read_bytes()
    with pytest.raises(OnnxpruneError) as caught:
        prune(model, output, force=force)
    assert names(model.parent) == before
    assert model.read_bytes() == content
    return caught.value


def test_an_output_that_exists_is_refused_without_force(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    output.write_bytes(b"old")
    error = refusal(model, output)
    assert (error.exit_code, error.hint) == (2, "--force replaces it")
    assert error.message == f"{output} exists"
    assert output.read_bytes() == b"old"
    prune(model, output, force=True)
    assert len(output.read_bytes()) == len(model.read_bytes())


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("way", ["itself", "dotted", "symlink", "hard link", "link to folder"])
def test_the_input_is_never_the_output(
    model: Path, tmp_path: Path, way: str, force: bool
) -> None:
    output = tmp_path / "out.onnx"
    if way == "itself":
        output = model
    elif way == "dotted":
        output = tmp_path / "." / ".." / tmp_path.name / "model.onnx"
    elif way == "symlink":
        output.symlink_to(model)
    elif way == "hard link":
        output.hardlink_to(model)
    else:
        (tmp_path / "folder").symlink_to(tmp_path)
        output = tmp_path / "folder" / "model.onnx"
    error = refusal(model, output, force)
    assert error.exit_code == 2
    assert "the output is the input file model.onnx" in error.message


def test_a_data_file_of_the_input_is_never_the_output(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(some(FLOAT, SHAPE).tobytes())
    path = tmp_path / "model.onnx"
    weight = outside("w", FLOAT, SHAPE, location="w.bin")
    path.write_bytes(one_weight(FLOAT, weight, SHAPE))
    error = refusal(path, tmp_path / "w.bin", force=True)
    assert (error.exit_code, "w.bin" in error.message) == (2, True)


@pytest.mark.parametrize("force", [False, True])
def test_an_output_that_is_no_regular_file_cannot_be_written(
    model: Path, tmp_path: Path, force: bool
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/full")
    for output, what in (
        (tmp_path / "folder", "is a directory"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / "link", "is not a regular file"),
        (Path("/dev/full"), "is not a regular file"),
    ):
        error = refusal(model, output, force)
        assert (error.exit_code, error.message) == (8, f"{output} {what}")


def test_an_output_needs_a_folder(model: Path, tmp_path: Path) -> None:
    error = refusal(model, tmp_path / "nowhere" / "out.onnx")
    assert (error.exit_code, "there is no folder" in error.message) == (8, True)
    error = refusal(model, model / "out.onnx")
    assert error.exit_code == 8


def test_a_folder_that_is_read_only_is_refused(model: Path, read_only: Path) -> None:
    error = refusal(model, read_only / "out.onnx")
    assert (error.exit_code, error.message.endswith("is not writable")) == (8, True)


def test_what_a_link_points_to_is_replaced_with_force(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "out.onnx").write_bytes(b"old")
    link = tmp_path / "link.onnx"
    link.symlink_to("real/out.onnx")
    assert refusal(model, link).exit_code == 2
    prune(model, link, force=True)
    assert link.is_symlink()
    assert len((folder / "out.onnx").read_bytes()) == len(model.read_bytes())
    assert names(folder) == {"out.onnx"}
    (folder / "out.onnx").unlink()
    assert refusal(model, link).exit_code == 2
    prune(model, link, force=True)
    assert link.is_symlink()
    assert names(folder) == {"out.onnx"}


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0, 0o666)])
def test_the_mode_is_what_the_umask_leaves(
    model: Path, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        prune(model, tmp_path / "out.onnx")
    finally:
        os.umask(before)
    assert (tmp_path / "out.onnx").stat().st_mode & 0o777 == mode


def test_a_temporary_is_gone_after_an_error(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), Temporary(target) as temporary:
        write_at(temporary.descriptor, b"new", 0, target)
        assert len(names(tmp_path)) == 2
        raise ZeroDivisionError
    assert names(tmp_path) == {"out"}
    assert target.read_bytes() == b"old"
    write_whole(target, b"new")
    assert names(tmp_path) == {"out"}
    assert target.read_bytes() == b"new"


def test_nothing_stays_open(model: Path, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in ("abandoned", "another"):
        (tmp_path / f".{name}{SUFFIX}").write_bytes(b"left behind")
    prune(model, tmp_path / "out.onnx")
    with pytest.raises(UsageError):
        prune(model, tmp_path / "out.onnx")
    with pytest.raises(ZeroDivisionError), Temporary(tmp_path / "other"):
        raise ZeroDivisionError
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_rename_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="is a directory"), Temporary(target) as temporary:
        target.unlink()
        target.mkdir()
        temporary.commit()
    assert names(tmp_path) == {"out"}


def test_temporaries_of_killed_runs_are_removed_and_living_ones_stay(
    model: Path, tmp_path: Path
) -> None:
    script = (
        "import sys, time; from pathlib import Path;"
        "from onnxprune.formats.output import Temporary;"
        "kept = Temporary(Path(sys.argv[1])); kept.create();"
        "print(kept.path.name, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, tmp_path / "other"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        try:
            assert name.endswith(SUFFIX)
            prune(model, tmp_path / "out.onnx")
            assert names(tmp_path) == {"model.onnx", "out.onnx", name}
        finally:
            child.kill()
            child.wait()
    assert name in names(tmp_path)
    prune(model, tmp_path / "out.onnx", force=True)
    assert names(tmp_path) == {"model.onnx", "out.onnx"}


def test_only_files_that_can_be_temporaries_are_removed(model: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f".link{SUFFIX}").symlink_to(victim)
    (tmp_path / f".folder{SUFFIX}").mkdir()
    os.mkfifo(tmp_path / f".pipe{SUFFIX}")
    (tmp_path / f"visible{SUFFIX}").write_bytes(b"not ours")
    before = names(tmp_path) - {f".pipe{SUFFIX}"}
    prune(model, tmp_path / "out.onnx")
    assert names(tmp_path) - {f".pipe{SUFFIX}"} == before | {"out.onnx"}
    assert victim.read_bytes() == b"precious"


def test_a_temporary_that_is_taken_for_abandoned_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", locked)
        for path in tmp_path.glob(f".*{SUFFIX}"):
            path.unlink()
        locked(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    write_whole(tmp_path / "out", b"new")
    assert names(tmp_path) == {"out"}
    assert (tmp_path / "out").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["層" * 80, "o" * 250, "\udce9" * 200])
def test_a_long_name_is_no_problem(tmp_path: Path, name: str) -> None:
    write_whole(tmp_path / name, b"new")
    assert names(tmp_path) == {name}


def test_what_does_not_fit_is_refused_before_it_begins(tmp_path: Path) -> None:
    check_space(tmp_path, 1)
    with pytest.raises(OutputError, match=r"no space in .*: 1,152,921,504,606,846,976 bytes"):
        check_space(tmp_path, 1 << 60)


def test_an_output_in_the_folder_we_are_in_is_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prune(Path("model.onnx"), Path("out.onnx"))
    assert names(tmp_path) == {"model.onnx", "out.onnx"}
    with pytest.raises(UsageError):
        prune(Path("model.onnx"), Path("model.onnx"), force=True)


def test_runs_that_write_the_same_file_at_once_leave_a_whole_one(
    model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.onnx"
    whole = []
    for sparsity in (0.2, 0.4, 0.6, 0.8):
        prune(model, output, sparsity, force=True)
        whole.append(output.read_bytes())
    with ThreadPoolExecutor(8) as pool:
        runs = [
            pool.submit(prune, model, output, sparsity, force=True)
            for sparsity in (0.2, 0.4, 0.6, 0.8) * 6
        ]
        for run in runs:
            run.result()
            assert output.read_bytes() in whole
    assert names(tmp_path) == {"model.onnx", "out.onnx"}

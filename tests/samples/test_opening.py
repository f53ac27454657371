"""What a user names as samples is found, or one line says what is wrong with it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onnxprune.errors import InputError, UnsafeError, UsageError
from tests.samples.made import floats, npz, opened, port, read, refusal


def test_paths_are_text_or_paths(tmp_path: Path) -> None:
    path = npz(tmp_path, x=floats(2, 2))
    assert opened(str(path)).source == opened(path).source == str(path)


def test_a_lone_array_is_for_the_only_input(tmp_path: Path) -> None:
    np.save(tmp_path / "any.npy", floats(3, 2))
    assert np.array_equal(read(opened(tmp_path / "any.npy")), floats(3, 2))
    assert np.array_equal(
        read(opened(tmp_path / "any.npy", inputs={"any": "x"})), floats(3, 2)
    )
    two = (port(), port("k"))
    error = refusal(tmp_path / "any.npy", *two)
    assert error.message.endswith("no array for the model's input 'x'; the set has 'any'")


def test_a_folder_of_arrays_is_a_set(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", floats(3, 2))
    np.save(tmp_path / "labels.npy", np.arange(3))
    samples = opened(tmp_path)
    assert samples.labelled
    assert np.array_equal(read(samples), floats(3, 2))


def test_an_archive_goes_by_its_content_where_the_name_is_another(tmp_path: Path) -> None:
    npz(tmp_path, x=floats(2, 2)).rename(tmp_path / "set.data")
    assert opened(tmp_path / "set.data").size == 2


@pytest.mark.parametrize("name", ["gone.npz", "gone", "x" * 300 + ".npz", "a\0b", "set.npz/a"])
def test_what_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    npz(tmp_path, x=floats(2, 2))
    error = refusal(str(tmp_path / name))
    assert isinstance(error, InputError)
    assert error.message.startswith(f"{tmp_path}/")


def test_messages_for_other_things_than_sets(tmp_path: Path) -> None:
    text = tmp_path / "set.csv"
    text.write_text("1,2,3")
    assert refusal(text).message == f"{text}: no set of samples"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(empty).message == f"{empty}: the folder holds no samples"
    npz(empty, x=floats(2, 2))
    np.save(empty / "x.npy", floats(2, 2))
    assert refusal(empty).message == f"{empty}: the folder holds .npz and .npy files"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert (
        refusal(loop).message == f"{loop}: cannot be read: too many levels of symbolic links"
    )


@pytest.mark.parametrize("name", ["set.npz", "set.npy", "set.x", "set"])
def test_pipes_are_refused_without_waiting(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert refusal(tmp_path / name).message == f"{tmp_path / name}: not a regular file"
    if name != "set":
        folder = tmp_path / "folder"
        folder.mkdir()
        os.mkfifo(folder / name)
        expected = "set.x" if name == "set.x" else f"{name} is not a regular file"
        if name == "set.x":
            expected = "the folder holds no samples"
        assert refusal(folder).message == f"{folder}: {expected}"


@pytest.mark.parametrize("name", ["set.npz", "set.npy", "set.x", "folder"])
def test_what_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"anything")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    # A privileged user may read all files, so the system's answer is made up.
    for target in ("pathlib.Path.open", "io.open", "pathlib.Path.iterdir"):
        monkeypatch.setattr(target, refuse)
    error = refusal(path)
    assert (type(error), error.message) == (
        InputError,
        f"{path}: cannot be read: permission denied",
    )


@pytest.mark.parametrize("name", ["set.npz", "set.npy", "set.pt"])
def test_a_bare_pickle_is_unsafe(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04\x95" + bytes(40))
    error = refusal(tmp_path / name)
    assert isinstance(error, UnsafeError)
    assert "it is pickled" in error.message or "is pickled, which" in error.message


@pytest.mark.parametrize("source", ["", None, 3, ["a.npz"]])
def test_other_values_are_no_source(source: object) -> None:
    error = refusal(source)  # type: ignore[arg-type]
    assert isinstance(error, UsageError)
    assert error.message == (
        f"samples come from a path, a function or arrays by name, not {source!r}"
    )


def test_a_model_without_inputs_takes_no_samples() -> None:
    from onnxprune.samples.opening import open_samples
    from onnxprune.samples.reading import Reading

    with pytest.raises(InputError) as caught:
        open_samples("random", Reading(), ())
    assert caught.value.message == "the model has no input that samples could be for"


def test_a_file_called_random_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    npz(tmp_path, x=floats(2, 2)).rename("random")
    assert not opened("random").random


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, onnxprune.samples.opening\n"
        "print(*sorted({'PIL', 'onnx', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == ""

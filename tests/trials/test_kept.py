"""The dense model's outputs: run once, kept in memory or in a folder by what they depend on."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import onnxprune
from onnxprune.errors import InputError, LimitError, OutputError, UsageError
from onnxprune.points import Study
from onnxprune.trials import kept
from onnxprune.trials.runner import Runner
from tests.trials.made import Array, Arrays, compared, quiet, staircase, steps, stored

COUNT = 40
BATCHES = 3
PRODUCER = b"\x1a\x01d"
"""A field of a model that changes nothing but the file."""


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the sessions that are run."""
    keys: list[str] = []
    run = Runner.run

    def noted(self: Runner, key: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        keys.append(key)
        return run(self, key, feeds)

    monkeypatch.setattr(Runner, "run", noted)
    return keys


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return staircase(tmp_path / "m.onnx", COUNT)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return stored(tmp_path / "set.npz", steps(COUNT))


def dense_runs(runs: list[str]) -> int:
    """Count the batches that the dense model ran since the last time, but the first trial."""
    count = runs.count("dense")
    runs.clear()
    return count - 1


def timeless(study: Study) -> Study:
    points = tuple(replace(point, seconds=0) for point in study.points)
    return replace(study, points=points, seconds=0)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_the_dense_model_runs_once_for_all_points(
    model: Path, data: Path, runs: list[str]
) -> None:
    onnxprune.sweep(model, quiet(data), ["magnitude"], [0.1, 0.2, 0.5, 0.9])
    assert runs.count("pruned") == 4 * BATCHES
    assert dense_runs(runs) == BATCHES


def test_a_second_command_takes_the_outputs_from_the_folder(
    model: Path, data: Path, runs: list[str], tmp_path: Path
) -> None:
    cache = tmp_path / "made" / "cache"
    cached = quiet(data, cache=cache)
    plain = onnxprune.sweep(model, quiet(data), ["magnitude"], [0.3])
    runs.clear()
    first = onnxprune.sweep(model, cached, ["magnitude"], [0.3])
    assert dense_runs(runs) == BATCHES
    (file,) = files(cache)
    written = file.stat()
    second = onnxprune.sweep(model, cached, ["magnitude"], [0.3])
    assert dense_runs(runs) == 0
    assert timeless(first) == timeless(second) == timeless(plain)
    assert (second.data.samples, second.data.labelled) == (COUNT, True)
    found = compared(model, model, data, cache=cache)
    assert dense_runs(runs) == 0
    assert found.measured.accuracy is not None
    assert found.measured.accuracy.dense == COUNT
    assert files(cache) == [file]
    assert file.stat().st_mtime_ns == written.st_mtime_ns


def test_arrays_have_a_key_by_their_values(
    model: Path, runs: list[str], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    for arrays, wanted in ((steps(COUNT), 3), (steps(COUNT), 0)):
        compared(model, model, arrays, cache=cache)
        assert dense_runs(runs) == wanted
    changed = steps(COUNT)
    changed["x"] = changed["x"] * 2
    compared(model, model, changed, cache=cache)
    assert dense_runs(runs) == BATCHES


def test_whatever_changes_the_outputs_has_another_key(
    model: Path, data: Path, runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    compared(model, model, data, cache=cache)
    other = staircase(tmp_path / "n.onnx", COUNT)
    other.write_bytes(other.read_bytes() + PRODUCER)
    compared(other, other, data, cache=cache)
    assert len(files(cache)) == 2
    doubled = {name: array * 2 for name, array in steps(COUNT).items()}
    compared(model, model, stored(tmp_path / "double.npz", doubled), cache=cache)
    assert len(files(cache)) == 3
    compared(model, model, data, cache=cache, batch=5)
    assert len(files(cache)) == 4
    compared(model, model, data, cache=cache, limit=20)
    assert len(files(cache)) == 5
    monkeypatch.setenv("ONNXPRUNE_THREADS", "1")
    compared(model, model, data, cache=cache)
    assert len(files(cache)) == 6
    monkeypatch.setattr(kept, "__version__", "0.0.0")
    compared(model, model, data, cache=cache)
    assert len(files(cache)) == 7
    runs.clear()
    compared(model, model, data, cache=cache)
    assert dense_runs(runs) == 0
    assert len(files(cache)) == 7


@pytest.mark.parametrize("damage", ["empty", "short", "head", "index", "nested", "words"])
def test_a_file_that_is_not_whole_is_made_anew(
    damage: str, model: Path, data: Path, runs: list[str], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    right = compared(model, model, data, cache=cache).measured
    (file,) = files(cache)
    whole = file.read_bytes()
    start = int.from_bytes(whole[-8:], "little")
    nested = b"[" * 100_000
    file.write_bytes(
        {
            "empty": b"",
            "short": whole[: len(whole) // 2],
            "head": b"X" + whole[1:],
            "index": whole[:start] + b"{}" + whole[-8:],
            "nested": whole[:start] + nested + whole[-8:],
            "words": whole[:start] + b'{"batches": [[1, 2]], "seen": 1}' + whole[-8:],
        }[damage]
    )
    runs.clear()
    assert compared(model, model, data, cache=cache).measured == right
    assert dense_runs(runs) == BATCHES
    assert file.read_bytes() == whole


@pytest.mark.parametrize("place", [30, -1, -9])
def test_a_changed_byte_of_the_outputs_is_noticed(
    place: int, model: Path, data: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    compared(model, model, data, cache=cache)
    (file,) = files(cache)
    changed = bytearray(file.read_bytes())
    start = int.from_bytes(changed[-8:], "little")
    # In the head of the first array, and in the values of the last.
    changed[place % start] ^= 1
    file.write_bytes(changed)
    with pytest.raises(InputError) as caught:
        compared(model, model, data, cache=cache)
    assert caught.value.message == f"{file}: the kept outputs are damaged"
    assert caught.value.hint == "without the file they are made anew"


def test_a_folder_in_the_place_of_a_file_is_refused(
    model: Path, data: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    compared(model, model, data, cache=cache)
    (file,) = files(cache)
    file.unlink()
    file.mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        compared(model, model, data, cache=cache)


def test_the_samples_of_a_function_are_not_kept(model: Path, tmp_path: Path) -> None:
    def parts() -> Iterator[Arrays]:
        yield steps(COUNT)

    with pytest.raises(UsageError) as caught:
        compared(model, model, parts, cache=tmp_path / "cache")
    assert "have no sum to keep outputs by" in caught.value.message
    assert caught.value.hint == "--cache goes with files"
    assert files(tmp_path / "cache") == []


def test_a_cache_that_is_no_folder_is_refused(model: Path, data: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot make the folder .*set\.npz: file exists"):
        compared(model, model, data, cache=data)
    with pytest.raises(OutputError, match=r"cannot make the folder .*: not a directory"):
        compared(model, model, data, cache=data / "cache")


def test_an_interrupted_run_leaves_no_file(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = Runner.run, 0

    def interrupted(self: Runner, key: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return run(self, key, feeds)

    monkeypatch.setattr(Runner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compared(model, model, data, cache=tmp_path / "cache")
    assert files(tmp_path / "cache") == []


def test_outputs_of_any_type_and_shape_come_back(
    tmp_path: Path, runs: list[str], data: Path
) -> None:
    arrays = {
        "half": np.array([[1.5], [2]], np.float16),
        "none": np.zeros((2, 0, 3), np.int8),
        "text": np.array(["a", "bcd"]),
        "flags": np.array([True, False]),
        "turned": np.arange(6).reshape(3, 2).T,
    }
    stream = kept._pack(arrays)
    path = tmp_path / "f.outputs"
    place = [0, len(stream), kept.zlib.crc32(stream)]
    path.write_bytes(stream)
    index = {"seen": 2, "labelled": False, "batches": [[0, place, list(arrays)]]}
    answers = kept.CachedAnswers(path, index)
    batch = kept.Batch(0, 2, {}, None, {})
    for name, array in answers(batch).items():
        assert array.dtype == arrays[name].dtype
        assert array.tolist() == arrays[name].tolist()


def test_outputs_that_do_not_fit_into_memory_are_refused(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sysconf = os.sysconf
    monkeypatch.setattr(
        kept.os, "sysconf", lambda name: 1 if name == "SC_PHYS_PAGES" else sysconf(name)
    )
    monkeypatch.setattr(kept, "SHARE", 4096)
    with pytest.raises(LimitError) as caught:
        onnxprune.sweep(model, quiet(data), ["magnitude"], [0.3])
    assert caught.value.message == "the dense model's outputs take more than 0.0 GiB of memory"
    assert caught.value.hint == "--cache DIR keeps them on disk, --samples N takes fewer"

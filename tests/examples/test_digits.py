"""The digits example: its files are the documented ones, and its scripts make them again."""

from __future__ import annotations

import hashlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from tests.forked import Forked, Source

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "digits" / "digits.onnx"
SETS = {name: ROOT / "calibration" / f"digits_{name}.npz" for name in ("calibration", "test")}
README = (ROOT / "calibration" / "README.md").read_text(encoding="utf-8")
NEEDS_DATA = "scikit-learn ships the digits; it is in the dev extra"


def documented_row(path: Path) -> str:
    """Return the line of a README table that begins with the file's path."""
    start = f"| `{path.relative_to(ROOT).as_posix()}` |"
    (row,) = [line for line in README.splitlines() if line.startswith(start)]
    return row


def documented_right_answers() -> int:
    """Return how many test images the README says the model reads."""
    found = re.search(r"\((\d+) of 400\)", documented_row(MODEL))
    assert found, "the model's row states no test accuracy"
    return int(found[1])


def arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Return every array of an `.npz` file; object arrays are refused."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def right_answers(model: Path) -> int:
    """Count the test images that the model reads on the CPU of ONNX Runtime."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    test = arrays(SETS["test"])
    (logits,) = session.run(["logits"], {"image": test["image"]})
    return int((logits.argmax(axis=1) == test["labels"]).sum())


@pytest.mark.parametrize("path", [MODEL, *SETS.values()], ids=lambda path: path.name)
def test_a_shipped_file_has_the_documented_size_and_sum(path: Path) -> None:
    content = path.read_bytes()
    row = documented_row(path)
    assert f"| {len(content):,} |" in row
    assert f"| `{hashlib.sha256(content).hexdigest()}` |" in row


@pytest.mark.parametrize(("name", "count"), [("calibration", 200), ("test", 400)])
def test_a_shipped_set_holds_one_array_per_input_and_labels(name: str, count: int) -> None:
    found = arrays(SETS[name])
    assert {key: (value.dtype, value.shape) for key, value in found.items()} == {
        "image": (np.dtype("float32"), (count, 1, 8, 8)),
        "labels": (np.dtype("int64"), (count,)),
    }
    assert set(np.unique(found["image"] * 16)) == set(range(17))
    assert set(found["labels"]) == set(range(10))


def test_the_sets_are_small() -> None:
    assert all(path.stat().st_size < 100_000 for path in SETS.values())


@pytest.mark.parametrize("name", SETS)
def test_the_recipe_makes_the_shipped_arrays_again(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason=NEEDS_DATA)
    runpy.run_path(str(ROOT / "calibration" / "make_digits.py"))["write_sets"](tmp_path)
    made, shipped = arrays(tmp_path / SETS[name].name), arrays(SETS[name])
    assert made.keys() == shipped.keys()
    for key, value in shipped.items():
        np.testing.assert_array_equal(made[key], value, strict=True)


def test_the_three_sets_cover_all_digits_and_share_no_image() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason=NEEDS_DATA)
    split = runpy.run_path(str(ROOT / "calibration" / "make_digits.py"))["split_digits"]()
    assert [len(part.labels) for part in split] == [1197, 200, 400]
    dealt = np.concatenate([part.image.reshape(-1, 64) for part in split]) * 16
    everything = datasets.load_digits().data
    assert sorted(map(tuple, dealt)) == sorted(map(tuple, everything))


def test_the_shipped_model_is_as_accurate_as_documented() -> None:
    # One image of slack: another processor may break a near tie the other way.
    assert right_answers(MODEL) >= documented_right_answers() - 1


def test_the_shipped_model_is_small_and_carries_its_data_licence() -> None:
    assert MODEL.stat().st_size < 500_000
    model = onnx.load(MODEL)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["dataset_licence"] == "CC BY 4.0"
    assert properties["dataset_source"] in README


def test_the_shipped_model_has_readable_names_and_raw_weights() -> None:
    graph = onnx.load(MODEL).graph
    layers = ["conv1", "conv2", "fc1", "fc2"]
    assert {tensor.name for tensor in graph.initializer} == {
        f"{layer}.{part}" for layer in layers for part in ("weight", "bias")
    }
    assert [node.name for node in graph.node if len(node.input) == 3] == layers
    assert all(tensor.HasField("raw_data") for tensor in graph.initializer)


@pytest.mark.slow
def test_training_again_gives_an_accurate_model(tmp_path: Path, source: Source) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn", reason=NEEDS_DATA)
    # In a process of its own: the script sets torch's threads and its deterministic mode.
    script = ROOT / "examples" / "digits" / "train.py"
    command = [sys.executable, str(script), "--output", str(tmp_path)]
    pipe = subprocess.PIPE
    done = Forked(source, command, stdout=pipe, stderr=pipe, text=True)
    out, err = done.communicate(timeout=280)
    assert done.returncode == 0, err
    assert "test accuracy: " in out
    assert right_answers(tmp_path / "digits.onnx") >= 0.96 * 400

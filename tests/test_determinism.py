"""The same input gives the same bytes, whatever the threads, the hash seed or the windows."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxprune
from onnxprune import selection
from tests.models import constant, model, node, save

CODE = "import sys; from onnxprune.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a model of several tensors, each of more than one block, with many ties."""
    rng = np.random.default_rng(5)
    nodes, weights = [], []
    for number in range(4):
        values = rng.standard_normal((640, 640)).astype(np.float32)
        weights.append(constant(f"w{number}", np.round(values, 2) if number % 2 else values))
        nodes.append(node(f"MatMul y{number} w{number} -> y{number + 1}"))
    proto = model(nodes, {"y0": ["N", 640]}, "y4", weights)
    return save(tmp_path_factory.mktemp("wide") / "wide.onnx", proto)


def digest(path: Path, output: Path, method: str, threads: int, hash_seed: int) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            CODE,
            str(path),
            "-s",
            "0.77",
            "-m",
            method,
            "-o",
            str(output),
            "--no-verify",
            "--force",
            "-q",
        ],
        env={
            **os.environ,
            "ONNXPRUNE_THREADS": str(threads),
            "PYTHONHASHSEED": str(hash_seed),
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return hashlib.sha256(output.read_bytes()).hexdigest()


@pytest.mark.parametrize("method", ["lamp", "global", "erk", "random"])
def test_masks_do_not_depend_on_threads_or_hash_seeds(
    method: str, wide: Path, tmp_path: Path
) -> None:
    found = {
        digest(wide, tmp_path / "out.onnx", method, threads, seed)
        for threads, seed in ((1, 0), (2, 1), (4, 2), (8, 3))
    }
    assert len(found) == 1


@pytest.mark.parametrize("method", ["lamp", "global", "min_threshold", "random"])
def test_masks_do_not_depend_on_the_size_of_blocks(
    method: str, wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for number, block in enumerate((selection.CHUNK, 1 << 12, 999)):
        monkeypatch.setattr(selection, "CHUNK", block)
        output = tmp_path / f"{number}.onnx"
        onnxprune.prune(wide, 0.77, method, output=output, verify=False)
        found.add(output.read_bytes())
    assert len(found) == 1


def test_external_data_files_get_the_same_name_on_any_number_of_threads(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = onnx.load(wide)
    path = tmp_path / "external.onnx"
    onnx.save(loaded, path, save_as_external_data=True, location="external.data")
    names = set()
    for threads in (1, 2, 8):
        monkeypatch.setenv("ONNXPRUNE_THREADS", str(threads))
        output = tmp_path / "out.onnx"
        report = onnxprune.prune(path, 0.5, output=output, force=True, verify=False)
        names.add(report.files[1])
    assert len(names) == 1

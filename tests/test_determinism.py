"""The same input gives the same bytes, whatever the threads, the hash seed or the windows."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxprune
from onnxprune import selection
from onnxprune.cli import main
from onnxprune.listing import methods
from tests.measured.files import write_net, write_samples
from tests.models import constant, model, node, save

BY_WEIGHTS = sorted(info.name for info in methods() if set(info.needs) <= {"rng"})
"""Whatever decides by the weights alone, with its own allocation or with all its methods."""

PRUNE = """
import hashlib, json, sys
from itertools import pairwise
from pathlib import Path
from onnxprune.cli import main

model, output, methods, *more = sys.argv[1:]
sums = {}
for method in methods.split():
    words = [model, "-s", "0.77", "-m", method, "-o", output, *more]
    assert main([*words, "--force", "--no-verify", "-q"]) == 0
    sums[method] = hashlib.sha256(Path(output).read_bytes()).hexdigest()
print(json.dumps(sums))
"""
SIZES = (640, 420, 660, 430)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a model of several tensors, each of more than one block, with many ties."""
    rng = np.random.default_rng(5)
    nodes, weights = [], []
    for number, sizes in enumerate(pairwise(SIZES)):
        values = rng.standard_normal(sizes).astype(np.float32)
        weights.append(constant(f"w{number}", np.round(values, 2) if number % 2 else values))
        nodes.append(node(f"MatMul y{number} w{number} -> y{number + 1}"))
    proto = model(nodes, {"y0": ["N", SIZES[0]]}, f"y{len(nodes)}", weights)
    return save(tmp_path_factory.mktemp("wide") / "wide.onnx", proto)


def sums(path: Path, output: Path, names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        onnxprune.prune(path, 0.77, name, output=output, verify=False, force=True)
        found[name] = hashlib.sha256(output.read_bytes()).hexdigest()
    return found


def sums_elsewhere(
    path: Path, names: Sequence[str], seed: int, *more: object
) -> dict[str, str]:
    """Prune in a process that has another seed for its hashes."""
    words = [path, path.with_name("elsewhere.onnx"), " ".join(names), *map(str, more)]
    ran = subprocess.run(
        [sys.executable, "-c", PRUNE, *words],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, str] = json.loads(ran.stdout)
    return found


def test_masks_do_not_depend_on_threads_or_hash_seeds(
    wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.onnx"
    assert {"lamp", "global", "erk", "random", "min_threshold"} <= set(BY_WEIGHTS)
    found = []
    for threads in (1, 2, 4, 8):
        monkeypatch.setenv("ONNXPRUNE_THREADS", str(threads))
        found.append(sums(wide, output, BY_WEIGHTS))
    for seed, threads in ((0, 3), (12345, 8)):
        monkeypatch.setenv("ONNXPRUNE_THREADS", str(threads))
        found.append(sums_elsewhere(wide, BY_WEIGHTS, seed))
    assert all(each == found[0] for each in found)
    # They do not all come to the same.
    assert len(set(found[0].values())) >= 5


def test_measured_masks_do_not_depend_on_hash_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXPRUNE_THREADS", "1")
    net, samples = write_net(tmp_path), write_samples(tmp_path)
    more = ["--data", samples, "--steps", "3", "--device", "cpu"]
    elsewhere = sums_elsewhere(net, ["iterative_snip"], 12345, *more)
    output = tmp_path / "here.onnx"
    words = [
        net,
        "-s",
        "0.77",
        "-m",
        "iterative_snip",
        "-o",
        output,
        "-q",
        "--no-verify",
        *more,
    ]
    assert main([str(word) for word in words]) == 0
    # Here, the seed is any.
    assert elsewhere["iterative_snip"] == hashlib.sha256(output.read_bytes()).hexdigest()


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

"""How child processes end: of a library's fault, or for want of memory."""

import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.errors import LibraryError, LimitError
from onnxprune.formats import children, verify
from onnxprune.formats.children import Watch, lacks_memory, oom_kills
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.verify import Verification
from onnxprune.trials.runner import Runner
from tests import models

GROUPS = {
    "version 2": ("0::/job/1\n", "job/1/memory.events"),
    "version 2 in a container": ("0::/\n", "memory.events"),
    "version 1": ("5:cpu:/\n4:cpuset,memory:/job\n0::/\n", "memory/job/memory.oom_control"),
    "version 1 in a container": ("4:memory:/docker/ab\n", "memory/memory.oom_control"),
}


@pytest.fixture(params=GROUPS)
def counter(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A file in which the system counts, as one of the kinds of control groups has it."""
    said, place = GROUPS[request.param]
    (tmp_path / "cgroup").write_text(said)
    monkeypatch.setattr(children, "PROC", tmp_path / "cgroup")
    monkeypatch.setattr(children, "CGROUPS", tmp_path)
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("oom 7\noom_kill 3\noom_group_kill 9\n")
    return file


def test_a_child_that_the_system_killed_for_memory_met_a_limit(counter: Path) -> None:
    watch = Watch()
    assert oom_kills() == 3
    died = watch.death("torch", -signal.SIGKILL)
    assert (type(died), died.message) == (LibraryError, "torch died of SIGKILL on this model")
    counter.write_text("oom 8\noom_kill 4\noom_group_kill 9\n")
    assert isinstance(watch.death("torch", -signal.SIGSEGV), LibraryError)
    died = watch.death("torch", -signal.SIGKILL)
    assert (type(died), died.message) == (
        LimitError,
        "torch needs more memory than there is for this model",
    )


def test_without_control_groups_nothing_was_killed_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "PROC", tmp_path / "none")
    assert oom_kills() == 0
    (tmp_path / "none").write_text("0::/\n")
    monkeypatch.setattr(children, "CGROUPS", tmp_path)
    assert oom_kills() == 0


@pytest.mark.parametrize(
    ("words", "lacks"),
    [
        ("Exception during initialization: std::bad_alloc", True),
        ("BFCArena::AllocateRawInternal Failed to allocate memory", True),
        ("DefaultCPUAllocator: can't allocate memory", True),
        ("MemoryError: ", True),
        ("Type Error: Type parameter (T) of Gemm bound to different types", False),
    ],
)
def test_words_of_libraries_that_get_no_memory_are_known(words: str, lacks: bool) -> None:
    assert lacks_memory(words) == lacks


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children have 320 MB of addresses."""
    started = subprocess.Popen

    def limited(*words: Any, **settings: Any) -> Any:
        return started(*words, preexec_fn=limit, **settings)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (320 << 20, 320 << 20))

    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(subprocess, "Popen", limited)


@pytest.mark.usefixtures("little_memory")
def test_a_model_that_needs_more_memory_than_a_child_has_met_a_limit(tmp_path: Path) -> None:
    # The session is made, then 16 GiB of ones are wanted.
    nodes = [
        models.node("ConstantOfShape sizes -> c"),
        models.node("ReduceSum c -> sum"),
        models.node("MatMul x w -> m"),
        models.node("Add m sum -> y"),
    ]
    sizes = models.constant("sizes", [1 << 16, 1 << 16], np.int64)
    weights = [models.weight("w", 4, 5), sizes]
    proto = models.model(nodes, {"x": ["n", 4]}, "y", weights)
    path = models.save(tmp_path / "m.onnx", proto)
    with Runner("cpu") as runner, pytest.raises(LimitError, match="memory"):
        runner.open("m", path)
        runner.run("m", {"x": np.ones((1, 4), np.float32)})


@pytest.mark.usefixtures("little_memory")
def test_a_file_that_does_not_fit_into_a_childs_memory_met_a_limit(tmp_path: Path) -> None:
    large = models.constant("w", np.ones((6_000, 6_000)))
    proto = models.model([models.node("MatMul x w -> y")], {"x": ["n", 6_000]}, "y", [large])
    path = models.save(tmp_path / "m.onnx", proto)
    said = "ONNX Runtime needs more memory than there is for this model"
    with Runner("cpu") as runner, pytest.raises(LimitError, match=said):
        runner.open("m", path)
    # What onnx.checker objects to is looked at by ONNX Runtime.
    with load_onnx(path) as opened, pytest.raises(LimitError, match=said) as caught:
        Verification(b"no model", opened.source.path).result()
    assert caught.value.hint == verify.SKIP

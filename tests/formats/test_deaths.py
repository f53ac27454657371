"""Whether a child died for want of memory, told by what it said, took, and what the kernel did."""

import subprocess
import sys
from pathlib import Path

import pytest

from onnxprune.formats import deaths
from onnxprune.formats.deaths import Watch, no_memory, oom_kills

SEGV, ABRT, KILL = -11, -6, -9


GROUPS = {
    "version 2": ("0::/job/1\n", "job/1/memory.events"),
    "version 2 in a container": ("0::/\n", "memory.events"),
    "version 1": ("5:cpu:/\n4:cpuset,memory:/job\n0::/\n", "memory/job/memory.oom_control"),
    "version 1 in a container": ("4:memory:/docker/ab\n", "memory/memory.oom_control"),
}


@pytest.fixture(params=GROUPS)
def events(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A file in which the system counts, as one of the kinds of control groups has it."""
    said, place = GROUPS[request.param]
    (tmp_path / "cgroup").write_text(said)
    monkeypatch.setattr(deaths, "PROC", tmp_path / "cgroup")
    monkeypatch.setattr(deaths, "CGROUPS", tmp_path)
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def test_a_kernel_that_killed_for_memory_has_counted_it(events: Path) -> None:
    assert oom_kills() == 0
    events.write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert oom_kills() == 2
    watch = Watch(1 << 30)
    assert not watch.lacked_memory(KILL)
    events.write_text("low 0\noom 3\noom_kill 3\n")
    assert watch.lacked_memory(KILL)
    assert not watch.lacked_memory(SEGV)
    assert not watch.lacked_memory(0)


def test_where_no_group_can_be_read_nothing_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deaths, "PROC", tmp_path / "none")
    assert oom_kills() == 0
    (tmp_path / "none").write_text("0::/\n")
    monkeypatch.setattr(deaths, "CGROUPS", tmp_path)
    assert oom_kills() == 0
    assert not Watch(1 << 30).lacked_memory(KILL)


@pytest.mark.parametrize(
    "said",
    [
        "Traceback ...\nMemoryError",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "Failed to allocate memory for requested buffer of size 1099511627776",
        "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.",
        "libx.so: failed to map segment from shared object",
    ],
)
def test_a_child_that_says_so_lacked_memory(said: str) -> None:
    assert Watch(1 << 30).lacked_memory(ABRT, said)
    assert Watch(1 << 30).lacked_memory(1, said)


def test_a_child_that_crashes_near_its_limit_lacked_memory() -> None:
    # More than this process, or any child of it, has taken before.
    peak = Watch(1 << 30)._peak + (64 << 20)
    code = f"import os\nb = b'x' * {peak}\nos.abort()"
    watches = Watch(peak), Watch(8 * peak)
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == ABRT
    near, far = watches
    assert near.lacked_memory(ABRT)
    assert near.lacked_memory(SEGV)
    assert not near.lacked_memory(-8)
    assert not far.lacked_memory(ABRT)
    # What was taken by then is no sign of the next one.
    assert not Watch(peak).lacked_memory(ABRT)


def test_the_error_names_the_limit() -> None:
    error = no_memory("torch", 16 << 30)
    assert error.message == "torch needs more than 16 GiB, the --memory-limit"
    assert (error.hint, error.exit_code) == (None, 5)
    error = no_memory("torch", 16 << 30, "it said", "do less")
    assert error.message == "torch needs more than 16 GiB, the --memory-limit: it said"
    assert error.hint == "do less"

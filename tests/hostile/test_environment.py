"""Environments that lack what one is used to: folders, rights, a home, a name, a locale."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from onnxprune import pruning
from onnxprune.cli import main
from tests import models
from tests.cli.started import command, environment, started
from tests.conftest import ROOT, Ran
from tests.formats.files_made import prune
from tests.hostile.layouts import external, inline
from tests.hostile.writes import NEW, files, words
from tests.measured.files import write_net, write_samples

Run = Callable[..., Ran]
NOBODY = 54321
"""A user that has no entry anywhere."""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may look into, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


# Whoever may do everything becomes somebody who may not, once all is imported.
AS_SOMEBODY = """
import json, os, sys
from onnxprune.cli import main

user, *runs = sys.argv[1:]
runs = [run.split(";") for run in runs]
main([runs[0][0], "-s", "0.5", "--dry-run", "--no-verify", "-q"])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
codes = [main([run[0], "-s", "0.5", "--no-verify", "-q", "-o", run[1]]) for run in runs]
print(json.dumps(codes))
"""


def test_what_a_user_may_not_read_or_write_is_refused_in_one_line(open_folder: Path) -> None:
    model = inline(open_folder)
    made = {"secret": 0o700, "closed": 0o555, "hidden": 0o000, "drop": 0o333, "usual": 0o777}
    for name in made:
        (open_folder / name).mkdir()
    secret = inline(open_folder / "secret")
    unread = external(open_folder / "usual")
    (open_folder / "usual" / "b.bin").chmod(0)
    secret.chmod(0)
    for name, mode in made.items():
        (open_folder / name).chmod(mode if name != "secret" else 0o755)
    at = open_folder.joinpath
    runs = {
        f"{model};{at('usual', 'out.onnx')}": (0, ""),
        f"{secret};{at('usual', 'other.onnx')}": (3, "permission denied"),
        f"{unread};{at('usual', 'other.onnx')}": (3, "permission denied"),
        f"{model};{at('closed', 'out.onnx')}": (8, "is not writable"),
        f"{model};{at('hidden', 'out.onnx')}": (8, "permission denied"),
        # One may write there, but neither list nor sync it.
        f"{model};{at('drop', 'out.onnx')}": (0, ""),
    }
    ran = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY, str(NOBODY), *runs],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [code for code, _ in runs.values()]
    said = [words for _, words in runs.values() if words]
    assert len(ran.stderr.splitlines()) == len(said)
    for line, wanted in zip(ran.stderr.splitlines(), said, strict=True):
        assert wanted in line
    (open_folder / "drop").chmod(0o755)
    assert set(os.listdir(open_folder / "drop")) == {"out.onnx"}
    assert files(open_folder / "drop") == {
        "out.onnx": (open_folder / "usual" / "out.onnx").read_bytes()
    }


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("none/out.onnx", 8),
        ("folder", 8),
        ("x" * 300 + ".onnx", 8),
        ("loop.onnx", 8),
        ("old", 2),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(
    output: str, code: int, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = inline(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")

    def work(*_: object) -> None:
        raise AssertionError("the weights were read")

    monkeypatch.setattr(pruning, "make_plan", work)
    force = [] if output == "old" else ["--force"]
    ran = run(model, "-s", "0.5", "--no-verify", "-o", tmp_path / output, *force)
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert ran.err.startswith("onnxprune: error: ")
    assert set(os.listdir(tmp_path)) == {"model.onnx", "folder", "old", "loop.onnx"}


@pytest.mark.parametrize("stem", ["o" * 245, "層" * 80])
def test_the_longest_name_leaves_room_for_that_of_the_data(stem: str, tmp_path: Path) -> None:
    model = external(tmp_path)
    prune(model, tmp_path / f"{stem}.onnx", 0.7)
    (tmp_path / "again").mkdir()
    report = prune(tmp_path / f"{stem}.onnx", tmp_path / "again" / "out.onnx", 0.7)
    assert report.zeros == report.mask_zeros


def test_an_output_on_another_file_system_is_whole(tmp_path: Path) -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is only one file system here that could be written")
    model = external(tmp_path)
    (tmp_path / "here").mkdir()
    prune(model, tmp_path / "here" / "out.onnx")
    with tempfile.TemporaryDirectory(dir=shm) as there:
        prune(model, Path(there, "out.onnx"))
        assert files(Path(there)) == files(tmp_path / "here")


def test_a_user_without_a_name_or_a_home_prunes_from_a_folder_without_rights(
    tmp_path: Path,
) -> None:
    somebody = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    if subprocess.run([*somebody, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user without a name can be made here (it takes user namespaces)")
    model, samples = write_net(tmp_path), write_samples(tmp_path)
    (tmp_path / "closed").mkdir(mode=0o555)
    output = tmp_path / "out.onnx"
    words = [model, "-s", "0.5", "-m", "snip", "--data", samples, "-o", output, "-q"]
    environ = environment(HOME="/nonexistent", XDG_CACHE_HOME="/nonexistent")
    ran = subprocess.run(
        [*somebody, *command(*words, "--no-verify")],
        cwd=tmp_path / "closed",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert output.stat().st_size == model.stat().st_size
    assert set(os.listdir(tmp_path)) == {model.name, samples.name, "closed", "out.onnx"}


def test_bytes_do_not_depend_on_locale_time_zone_umask_or_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = external(tmp_path)
    mask = tmp_path / "m.npz"
    export = ["mask", "export", tmp_path / "out.onnx", "-o", mask, "--force", "-q"]
    assert main(words(model, NEW)) == 0
    assert main([str(word) for word in export]) == 0
    before = files(tmp_path)
    for name in ("out.onnx", "m.npz"):
        (tmp_path / name).unlink()
    odd = {"LC_ALL": "C", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Kiritimati"}
    mask_before = os.umask(0o137)
    try:
        ran = started(words(model, NEW), odd)
    finally:
        os.umask(mask_before)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert (tmp_path / "out.onnx").stat().st_mode & 0o777 == 0o640
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setattr(time, "time", lambda: 1.0e9)
    time.tzset()
    try:
        assert main([str(word) for word in export]) == 0
    finally:
        monkeypatch.undo()
        time.tzset()
    assert files(tmp_path) == before


def test_a_log_of_github_gets_no_command_from_a_file(tmp_path: Path) -> None:
    name = "::error file=x::pwned"
    nodes = [models.node("MatMul x w -> y"), models.node("MatMul x v -> z")]
    nodes[0].input[1] = name
    nodes[0].name, nodes[1].name = "##[error]node", "##[error]other"
    values = numpy_helper.from_array(np.arange(1, 9, dtype="f4").reshape(4, 2), name)
    proto = models.model(nodes, {"x": [1, 4]}, "y z", [values, models.weight("v", 4, 3)])
    path = models.save(tmp_path / "::warning::m.onnx", proto)
    runs = [
        [path, "-s", "0.5", "--no-verify", "--dry-run"],
        [path, "-s", "0.5", "--exclude", "::nothing"],
        [path, "--::error::sparsity", "1"],
        ["::stop-commands::x"],
    ]
    each = "import json, sys; from onnxprune.cli import main\nfor words in json.loads(sys.argv[1]):\n main(words)"
    ran = subprocess.run(
        [sys.executable, "-c", each, json.dumps(runs, default=str)],
        env=environment(GITHUB_ACTIONS="true", FORCE_COLOR="1", TERM="xterm-256color"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, len(ran.stderr.splitlines())) == (0, 2)
    assert r"\x3a:error file=x\x3a:pwned" in "".join(ran.stdout.split("\n")).replace("  ", "")
    for line in (ran.stdout + ran.stderr).splitlines():
        assert not re.match(r"\s*(::|##\[)", line)
        assert "\x1b" not in line


def test_a_thread_that_cannot_be_started_met_a_limit(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    model = inline(tmp_path)
    monkeypatch.setattr("threading.Thread.start", refuse)
    ran = run(model, "-s", "0.5", "--no-verify")
    assert (ran.code, ran.out) == (5, "")
    assert "more threads" in ran.err
    assert os.listdir(tmp_path) == [model.name]

"""The image is built and run: as a stranger, on a read-only root, without network."""

import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import onnxprune
from tests.cli.started import started
from tests.conftest import ROOT
from tests.image.container import Builder, Image, built, why_not
from tests.image.lock import LOCK, pins

pytestmark = [
    pytest.mark.image,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        os.environ.get("ONNXPRUNE_IMAGE") != "1", reason="make image-test builds it"
    ),
]
USER = 10001
ARGUMENTS = ("model.onnx", "-s", "0.9", "--data", "test.npz", "--max-drop", "0.02")
MASK = ("mask", "export", "model.pruned.onnx", "-o", "mask.npz")
SWEEP = (
    *("sweep", "model.onnx", "--data", "test.npz", "--methods", "lamp,snip"),
    *("--sparsities", "0.5,0.9", "--report", "curve.svg"),
)
COMPILER = re.compile(
    r"(x86_64-linux-gnu-)?(cc|c\+\+|gcc|g\+\+|cpp|clang|tcc|ld|as|make|nvcc|rustc|go)(-[\d.]+)?"
)
LIST = (
    "from importlib.metadata import distributions as all; "
    "print(*(f'{d.name}=={d.version}' for d in all()), sep='\\n')"
)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The `cpu` target, built once."""
    folder = Path(tempfile.mkdtemp(prefix="onnxprune-image-"))
    builder = Builder(folder)
    try:
        if reason := why_not(folder):
            pytest.skip(reason)
        yield built(builder, "cpu")
    finally:
        builder.remove()


@pytest.fixture
def data(tmp_path: Path, digits: Path) -> Path:
    """The one folder that a container may write to, with a model and samples in it."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(digits, folder / "model.onnx")
    shutil.copy(ROOT / "calibration" / "digits_test.npz", folder / "test.npz")
    os.chown(folder, USER, USER)
    return folder


def programs(image: Image) -> set[str]:
    """Return the names of all files that someone may execute, and of all links."""
    return {
        Path(name).name
        for name, (mode, _, _) in image.files().items()
        if stat.S_ISLNK(mode) or (stat.S_ISREG(mode) and mode & 0o111)
    }


def test_the_image_says_what_it_runs_and_as_whom(image: Image) -> None:
    assert image.said["Entrypoint"] == ["onnxprune"]
    assert image.said["Cmd"] == ["--help"]
    assert image.said["User"] == f"{USER}:{USER}"
    assert image.said["WorkingDir"] == "/data"
    assert {"PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp"} <= set(image.said["Env"])
    assert image.said["Labels"]["org.opencontainers.image.title"] == "onnxprune"
    assert "Volumes" not in image.said


def test_it_runs_with_nothing_that_it_could_give_away(image: Image, data: Path) -> None:
    own = Image(image.root, {**image.said, "Entrypoint": ["cat"]})
    done = own.run(data, "/proc/self/status", "/proc/net/dev")
    assert done.returncode == 0, done.stderr
    state = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    assert state["Uid"].split() == [str(USER)] * 4
    assert state["Groups"].split() == []
    assert state["NoNewPrivs"].strip() == "1"
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(state[name], 16) == 0, name
    interfaces = done.stdout.partition("Inter-")[2].splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_without_arguments_it_says_how_to_use_it(image: Image, data: Path) -> None:
    done = image.run(data)
    assert done.returncode == 0, done.stderr
    assert done.stdout.lstrip().startswith("Usage: onnxprune")


def test_a_model_is_pruned_as_outside(image: Image, data: Path, tmp_path: Path) -> None:
    before = image.files()
    done = image.run(data, *ARGUMENTS, "--report", "report.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert "gate        passed" in done.stdout
    done = image.run(data, *MASK)
    assert (done.returncode, done.stderr) == (0, "")

    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("model.onnx", "test.npz"):
        shutil.copy(data / name, outside)
    for words in (ARGUMENTS, MASK):
        own = started(words, cwd=outside)
        assert own.returncode == 0, own.stderr
    for name in ("model.pruned.onnx", "mask.npz"):
        assert (data / name).read_bytes() == (outside / name).read_bytes(), name

    made = {"model.pruned.onnx", "report.html", "mask.npz"}
    assert {path.name for path in data.iterdir()} == {"model.onnx", "test.npz", *made}
    assert all((data / name).stat().st_uid == USER for name in made)
    assert image.files() == before


def test_a_method_that_measures_the_model_runs(image: Image, data: Path) -> None:
    words = ("model.onnx", "-s", "0.5", "--method", "snip", "--data", "test.npz", "-q")
    done = image.run(data, *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    shown = image.run(data, "inspect", "model.pruned.onnx", "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["sparsity"]["prunable"] == pytest.approx(0.5)


def test_figures_are_drawn(image: Image, data: Path) -> None:
    done = image.run(data, *SWEEP)
    assert done.returncode == 0, done.stderr
    assert "<svg" in (data / "curve.svg").read_text(encoding="utf-8")


def test_nothing_else_can_be_written(image: Image, data: Path) -> None:
    for place in ("/opt/out.onnx", "/usr/out.onnx", "/etc/out.onnx"):
        done = image.run(data, "model.onnx", "-s", "0.9", "-o", place)
        assert done.returncode == 8, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (image.root / place[1:]).exists()


def test_nothing_else_is_written_even_by_who_may(image: Image, data: Path) -> None:
    os.chown(data, 0, 0)
    before = image.files()
    for words in (ARGUMENTS, SWEEP):
        done = image.run(data, *words, user=0, read_only=False)
        assert done.returncode == 0, done.stderr
    assert image.files() == before

    own = Image(image.root, {**image.said, "Entrypoint": ["touch", "/usr/written"]})
    assert own.run(data, "/data/written", user=0, read_only=False).returncode == 0
    assert set(image.files()) - set(before) == {"usr/written"}
    (image.root / "usr" / "written").unlink()


def test_there_is_no_compiler_in_it(image: Image) -> None:
    found = programs(image)
    assert {"onnxprune", "sh"} <= found
    assert [name for name in found if COMPILER.fullmatch(name)] == []


def test_a_compiler_would_be_seen() -> None:
    for name in (
        "cc",
        "g++",
        "gcc-12",
        "x86_64-linux-gnu-gcc-12",
        "x86_64-linux-gnu-ld",
        "make",
    ):
        assert COMPILER.fullmatch(name), name
    assert not COMPILER.fullmatch("ld.so")


def test_it_has_what_is_locked_and_no_sources(image: Image, data: Path) -> None:
    listing = Image(image.root, {**image.said, "Entrypoint": ["python3", "-c", LIST]})
    found = pins(listing.run(data, "").stdout)
    assert str(found.pop("onnxprune")) == onnxprune.__version__
    found.pop("pip")
    assert {name: version.public for name, version in found.items()} == {
        name: version.public for name, version in pins(LOCK.read_text("utf-8")).items()
    }
    names = {Path(name).name for name in image.files()}
    assert names.isdisjoint({"Dockerfile", "requirements.lock", "constraints.txt", "pip.conf"})
    assert not list(image.root.glob("opt/onnxprune/lib/*/site-packages/tests"))
    assert not (image.root / "src").exists()

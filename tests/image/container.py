"""Builds the image without a daemon, and runs commands in it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.image.pip_settings import build_options

ROOT = Path(__file__).resolve().parents[2]
ENTER = Path(__file__).with_name("enter.py")
TOOLS = ("buildah", "debootstrap", "unshare", "mount")
BASE, BASE_VARIABLE = "localhost/base", "ONNXPRUNE_IMAGE_BASE"
SUITE, PACKAGES = "bookworm", "python3,python3-venv,ca-certificates"
SPACE = 8 * 2**30
NOT_WATCHED = ("tmp", "data", "proc", "sys", "dev")


def why_not(folder: Path) -> str:
    """Return why no image can be built here; nothing where one can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"building the image needs {', '.join(missing)}"
    if os.geteuid():
        return "building the image without a daemon needs root"
    if (free := shutil.disk_usage(folder).free) < SPACE:
        return f"building the image needs {SPACE} bytes in {folder}; {free} are free"
    return ""


def ended(command: list[object], **settings: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    words = [str(word) for word in command]
    return subprocess.run(words, text=True, capture_output=True, check=False, **settings)


@dataclass(frozen=True, slots=True)
class Builder:
    """Buildah with storage of its own in a folder."""

    folder: Path

    def call(self, *words: object) -> str:
        """Run a command of buildah's and return what it printed."""
        place = ["--root", self.folder / "storage", "--runroot", self.folder / "run"]
        done = ended(["buildah", "--storage-driver", "vfs", *place, *words])
        assert done.returncode == 0, f"buildah {words[0]}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def mounted(self, image: str) -> Path:
        """Return the folder that has the files of an image, to be written to or not."""
        return Path(self.call("mount", self.call("from", image)))

    def base(self) -> str:
        """Return the image to build on: the one that is asked for, or Debian as it is now."""
        if asked := os.environ.get(BASE_VARIABLE):
            return asked
        container = self.call("from", "scratch")
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE]
        done = ended([*command, self.call("mount", container)])
        if done.returncode:
            last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
            pytest.skip(f"debootstrap could not make a base: {last}")
        self.call("commit", container, BASE)
        self.call("rm", container)
        return BASE

    def build(self, target: str) -> str:
        """Build a target of the Dockerfile and return the image's name."""
        name = f"localhost/onnxprune-{target}"
        base = ["--build-arg", f"BASE={self.base()}"]
        options = [*base, *build_options(self.folder), "--target", target, "--tag", name]
        self.call("bud", "--isolation", "chroot", "--layers=false", *options, ROOT)
        return name

    def remove(self) -> None:
        """Give back the gigabytes."""
        ended(["rm", "-rf", "--one-file-system", self.folder])


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A built image: its files, and what it says of itself."""

    root: Path
    said: dict[str, Any]

    def run(
        self, data: Path, *words: object, user: int = 10001, read_only: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run the image's entrypoint with some words, or those that it has itself."""
        settings = {
            "root": str(self.root),
            "data": str(data),
            "folder": self.said["WorkingDir"],
            "user": user,
            "read_only": read_only,
            "environment": dict(line.split("=", 1) for line in self.said["Env"]),
        }
        apart = ["unshare", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child"]
        arguments = [*(words or self.said["Cmd"])]
        enter = [sys.executable, "-I", ENTER, json.dumps(settings)]
        return ended([*apart, *enter, *self.said["Entrypoint"], *arguments], timeout=600)

    def files(self) -> dict[str, tuple[int, int, int]]:
        """Return all there is but for what is mounted: mode, size, and time of change."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            if Path(folder) == self.root:
                folders[:] = [name for name in folders if name not in NOT_WATCHED]
            for name in (*folders, *names):
                path = Path(folder, name)
                state = path.lstat()
                key = str(path.relative_to(self.root))
                found[key] = (state.st_mode, state.st_size, state.st_mtime_ns)
        return found


def built(builder: Builder, target: str) -> Image:
    """Build a target, and open it."""
    name = builder.build(target)
    said = json.loads(builder.call("inspect", "--type", "image", name))
    return Image(builder.mounted(name), said["OCIv1"]["config"])

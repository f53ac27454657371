"""Hands pip's configuration on this machine, and what it names, to a build in a container."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

IN_IMAGE = "/etc/pip.conf"
SOURCES = ("index-url", "extra-index-url", "find-links")


def parse(listing: str) -> dict[tuple[str, str], str]:
    """Read what `pip config list` prints: section and key to value, variables last."""
    files: dict[tuple[str, str], str] = {}
    variables: dict[tuple[str, str], str] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section == ":env:":
            variables["global", key] = ast.literal_eval(value)
        else:
            files[section, key] = ast.literal_eval(value)
    return files | variables


def settings() -> dict[tuple[str, str], str]:
    """Return pip's configuration on this machine."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    return parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def as_file(found: dict[tuple[str, str], str]) -> str:
    """Spell a configuration as pip's own file."""
    sections: dict[str, list[str]] = {}
    for (section, key), value in found.items():
        words = "\n    ".join(value.split("\n"))
        sections.setdefault(section, []).append(f"{key} = {words}")
    return "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())


def places(values: Iterable[str]) -> list[Path]:
    """Return the files and folders on this machine that a configuration names."""
    found = set()
    for word in (word for value in values for word in value.split()):
        if word.startswith("file://"):
            # The pages of an index link to files beside its folder.
            folder = Path(unquote(urlsplit(word).path))
            found.add(folder.parent if folder.parent != Path("/") else folder)
        elif word.startswith("/"):
            found.add(Path(word))
    return sorted(path for path in found if path.exists())


def knows_packages(found: dict[tuple[str, str], str]) -> bool:
    """Say whether a configuration names places of its own to find packages in."""
    return any(key in SOURCES for _, key in found)


def build_options(folder: Path) -> list[str]:
    """Return the options of a build that let pip in it find what it finds here."""
    found = settings()
    file = folder / "pip.conf"
    file.write_text(as_file(found), encoding="utf-8")
    options = ["--volume", f"{file}:{IN_IMAGE}:ro"]
    for place in places(found.values()):
        options += ["--volume", f"{place}:{place}:ro"]
    # Else the Dockerfile's own index is the one that has torch for the CPU.
    return [*options, "--build-arg", "TORCH_INDEX="] if knows_packages(found) else options

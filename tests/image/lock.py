"""Writes the versions that are installed here: `python -m tests.image.lock`.

`requirements.lock` has all that onnxprune needs at run time, `constraints.txt` what developing
it and building its wheel need beyond that. No version stands in both.
"""

import platform
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCK, CONSTRAINTS = ROOT / "requirements.lock", ROOT / "constraints.txt"
EXTRAS = ("images", "plots")
LOCK_HEADER = """\
# All that onnxprune needs at run time, in the versions that were tested together.
# `make lock` writes this file from the environment that the tests ran in.
#
# platform: {platform}
# Python:   {python}
# extras:   {extras}
# torch:    tested in its build {torch}; the version alone is pinned, the index chooses the build
# hashes:   none, because none were resolved: versions were read from what is installed
"""
CONSTRAINTS_HEADER = """\
# What the tests, the tools and the build of the wheel need beside requirements.lock, in the
# versions that were used together, on {python}: pip install -c constraints.txt ...
# `make lock` writes this file, too.
-c requirements.lock
"""


def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def runtime_requirements() -> list[Requirement]:
    """Return what pyproject.toml asks for at run time, with the extras of the image."""
    return _required("", *EXTRAS)


def other_requirements() -> list[Requirement]:
    """Return what pyproject.toml asks for to develop onnxprune and to build its wheel."""
    build = [Requirement(line) for line in project()["build-system"]["requires"]]
    return [*_required("dev"), *build]


def _required(*extras: str) -> list[Requirement]:
    told = project()["project"]
    found = []
    for extra in extras:
        lines = told["optional-dependencies"][extra] if extra else told["dependencies"]
        for requirement in map(Requirement, lines):
            if requirement.name == told["name"]:
                found += _required(*requirement.extras)
            elif _applies(requirement, ()):
                found.append(requirement)
    return found


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def closure(requirements: Iterable[Requirement]) -> dict[str, list[Requirement]]:
    """Return every package that is needed, with what is asked of it by those that need it."""
    asked: dict[str, list[Requirement]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        asked.setdefault(name, []).append(requirement)
        if (key := (name, frozenset(requirement.extras))) in seen:
            continue
        seen.add(key)
        lines = distribution(name).requires or []
        waiting += [r for r in map(Requirement, lines) if _applies(r, requirement.extras)]
    return asked


def pins(text: str) -> dict[str, Version]:
    """Read `name==version` lines; all else but comments and options is an error."""
    found: dict[str, Version] = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "-c ")):
            name, equal, number = line.partition("==")
            if not equal or canonicalize_name(name) in found:
                raise ValueError(f"{line!r} is not the one name==version of a package")
            found[canonicalize_name(name)] = Version(number)
    return found


def installed(name: str) -> Version:
    """Return a package's version without what names its build, such as `+cpu`."""
    return Version(Version(version(name)).public)


def _lines(names: Iterable[str]) -> str:
    return "".join(f"{name}=={installed(name)}\n" for name in sorted(names))


def main() -> None:
    """Write both files."""
    python = f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"
    runtime = closure(runtime_requirements())
    others = closure(other_requirements()).keys() - runtime.keys()
    header = LOCK_HEADER.format(
        platform=f"{platform.system()} {platform.machine()}",
        python=python,
        extras=", ".join(EXTRAS),
        torch=version("torch"),
    )
    LOCK.write_text(header + _lines(runtime), encoding="utf-8")
    CONSTRAINTS.write_text(
        CONSTRAINTS_HEADER.format(python=python) + _lines(others), encoding="utf-8"
    )


if __name__ == "__main__":
    main()

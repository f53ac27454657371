"""The lock has everything that is needed, once, in versions that go together."""

import platform
import sys
from importlib.metadata import PackageNotFoundError

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.image import lock
from tests.image.lock import CONSTRAINTS, LOCK, closure, installed, pins

TEXT = LOCK.read_text(encoding="utf-8")
LOCKED = pins(TEXT)
OTHERS = CONSTRAINTS.read_text(encoding="utf-8")
elsewhere = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64")
    or sys.version_info[:2] != (3, 11),
    reason="the lock is for Python 3.11 on Linux x86_64",
)


@elsewhere
def test_the_lock_covers_all_that_is_needed_and_nothing_else() -> None:
    needed = closure(lock.runtime_requirements())
    assert set(needed) == set(LOCKED)
    for name, asked in needed.items():
        for requirement in asked:
            assert requirement.specifier.contains(LOCKED[name], prereleases=True), requirement


@elsewhere
def test_the_lock_is_what_the_tests_run_with() -> None:
    assert {name: installed(name) for name in LOCKED} == LOCKED, "make lock writes it anew"


def test_the_lock_starts_from_what_the_project_asks_for() -> None:
    names = {requirement.name for requirement in lock.runtime_requirements()}
    assert {"numpy", "torch", "onnx", "pillow", "matplotlib"} <= names
    assert "pytest" not in names


def test_the_constraints_take_the_lock_and_repeat_none_of_it() -> None:
    assert [line for line in OTHERS.splitlines() if line.startswith("-")] == [
        "-c requirements.lock"
    ]
    assert pins(OTHERS).keys().isdisjoint(LOCKED)


def test_the_constraints_agree_with_the_project() -> None:
    together = LOCKED | pins(OTHERS)
    for requirement in [*lock.runtime_requirements(), *lock.other_requirements()]:
        pinned = together[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pinned), requirement


def test_the_constraints_are_what_the_tests_run_with() -> None:
    compared = 0
    for name, pinned in pins(OTHERS).items():
        try:
            assert installed(name) == pinned, name
        except PackageNotFoundError:
            continue  # such as what only builds the wheel
        compared += 1
    assert compared > 10


def test_the_header_says_what_the_lock_is_for() -> None:
    header = dict(
        line[2:].split(":", 1)
        for line in TEXT.splitlines()
        if line.startswith("# ") and ":" in line
    )
    assert header["platform"].strip() == "Linux x86_64"
    assert header["Python"].strip() == "CPython 3.11"
    assert header["extras"].strip() == "images, plots"
    assert header["hashes"].strip().startswith("none, because none were resolved")
    assert str(LOCKED["torch"]) in header["torch"]


def test_a_closure_follows_extras_and_markers() -> None:
    plain = closure([Requirement("pytest-cov")])
    assert {"pytest-cov", "pytest", "coverage", "pluggy", "iniconfig"} <= set(plain)
    assert "colorama" not in plain or platform.system() == "Windows"
    assert [str(asked) for asked in plain["pluggy"]] != []
    with pytest.raises(PackageNotFoundError):
        closure([Requirement("no-such-package-anywhere")])


def test_what_is_no_pin_is_refused() -> None:
    assert pins("# a\n-c b\nA_b==1.0\n") == {"a-b": Version("1.0")}
    for wrong in ("numpy>=2\n", "numpy\n", "a-b==1\na_b==1\n"):
        with pytest.raises(ValueError, match="is not the one name==version"):
            pins(wrong)

"""Commands that are ended at seeded points of their writing: nothing torn, nothing lost."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

KILLS, SIGNALS = 100, 12
JOBS = [f"{layout}:SIGKILL:{KILLS}" for layout in ("inline", "external")] + [
    f"{layout}:{name}:{SIGNALS}"
    for layout in ("inline", "external")
    for name in ("SIGTERM", "SIGINT")
]
WRITTEN = {"inline": 1, "external": 3}
"""How many files a run writes."""

Ends = list[dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ends")


@pytest.fixture(scope="module")
def ends(folder: Path) -> Ends:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.hostile.ending", folder, "7", *JOBS],
        cwd=ROOT,
        env={**os.environ, "ONNXPRUNE_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_a_kill_at_any_of_200_points_tears_and_loses_nothing(ends: Ends) -> None:
    kills = [end for end in ends if end["signal"] == "SIGKILL"]
    assert {end["code"] for end in kills} == {-9}
    assert len({(end["layout"], end["at"], end["share"]) for end in kills}) == 2 * KILLS
    assert Counter(end["output"] == "torn" or end["data torn"] for end in kills) == {
        False: 200
    }
    assert Counter(end["input lost"] or end["data lost"] for end in kills) == {False: 200}
    # Both sides of the moment at which the new file is there were met.
    assert {end["output"] for end in kills} == {"old", "new"}
    assert {end["call"] for end in kills} >= {"open", "flock", "pwrite", "fsync", "replace"}
    for end in kills:
        assert end["temporaries"] <= WRITTEN[end["layout"]]
        assert (end["others"], end["next"]) == (0, "clean")
    assert any(end["temporaries"] for end in kills)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_at_any_point_removes_what_is_half_done(
    name: str, code: int, ends: Ends
) -> None:
    told = [end for end in ends if end["signal"] == name]
    assert len(told) == 2 * SIGNALS
    for end in told:
        assert end["code"] == code
        assert end["output"] in ("old", "new")
        assert not (end["input lost"] or end["data torn"] or end["data lost"])
        assert (end["temporaries"], end["others"], end["next"]) == (0, 0, "clean")
        # Data files stay only with the model that names them.
        assert end["new data"] == (end["output"] == "new" and end["layout"] == "external")
    assert any(end["output"] == "old" for end in told)


def test_what_is_told_to_end_says_so_and_no_more(ends: Ends, folder: Path) -> None:
    assert len(ends) == 2 * KILLS + 4 * SIGNALS
    said = Counter((folder / "said").read_text().splitlines())
    assert said == {
        "onnxprune: terminated": 2 * SIGNALS,
        "onnxprune: interrupted": 2 * SIGNALS,
    }

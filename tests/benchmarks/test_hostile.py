"""The benchmark of hostile files: what counts as right, and what its goals are about."""

from pathlib import Path

import pytest

from tests.benchmarks import hostile
from tests.benchmarks.hostile import Row, examine, goals
from tests.benchmarks.measure import Usage
from tests.hostile.corpus import Case, cases, load_tool, make


def row(
    wanted: int | None, code: int | None, wall: float = 1.0, child: int = 0, said: str = ""
) -> Row:
    case = Case(f"{wanted}-{code}", "onnx", "model.onnx", wanted, "a note")
    used = None if code is None else Usage(wall, 1.0, 100_000_000, own=1, child=child)
    return Row(case, code, said, used)


@pytest.mark.parametrize(
    ("made", "right", "crashed"),
    [
        (row(3, 3), True, False),
        (row(3, 0), False, False),
        (row(None, 7), True, False),
        (row(None, -11), False, True),
        (row(0, -9), False, True),
        (row(3, 1), False, True),
        (row(None, 1), False, True),
        (row(3, None), False, True),
        (row(3, 3, said="Traceback (most recent call last)"), True, True),
    ],
)
def test_a_code_is_right_or_it_is_not(made: Row, right: bool, crashed: bool) -> None:
    assert (made.right, made.crashed) == (right, crashed)
    assert ("!" in made.shown()[2]) == (crashed or not right)


def test_only_what_the_scan_refuses_has_to_be_quick() -> None:
    rows = [row(3, 3, 1.5), row(5, 5, 9.0, child=1), row(0, 0, 30.0), row(4, 0, 2.0)]
    codes, bugs, slowest, peak = goals(rows, 0.4)
    assert (codes.figure, codes.met) == (0.75, False)
    assert (bugs.figure, bugs.met) == (0, True)
    assert slowest.figure == pytest.approx(1.1)
    assert (peak.figure, peak.met) == (100, True)
    assert goals([row(0, 0)], 0.4)[2].figure is None


def test_a_case_is_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    tool = load_tool()
    if tool is None:
        pytest.skip("the optional corpus of bad models is not here")
    found = {case.name: case for case in cases(tool)}
    chosen = [found["f_html"], found["f_name_latin1"]]
    make(tool, chosen, tmp_path / "cases")
    rows = [examine(case, tmp_path) for case in chosen]
    assert [each.code for each in rows] == [3, 6]
    assert "it looks like HTML" in rows[0].said
    assert all(each.right and each.usage is not None and each.usage.own for each in rows)
    assert not (tmp_path / "written").exists()
    assert "f_html" in hostile.notes(rows)[0]

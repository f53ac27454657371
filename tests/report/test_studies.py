"""Studies for people: which figures stand where, marked how, at any width."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from onnxprune.outcomes import Measured, OutputCheck, OwnMetric
from onnxprune.points import Search, Study
from onnxprune.report.checks import RANDOM
from onnxprune.report.found_report import print_found
from onnxprune.report.studies import study_facts, study_grid
from onnxprune.report.study_report import print_study
from onnxprune.types import Found
from tests.report.made import report, tensor
from tests.report.made_checks import (
    HOSTILE,
    data,
    point,
    search,
    sensitivity,
    study,
    sweep,
)

STUDIES = {"sweep": sweep, "sensitivity": sensitivity, "search": lambda: search().study}


def printed(
    made: Study | Found, width: int, terminal: bool = False, encoding: str = "utf-8"
) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding, newline="")
    console = Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
        legacy_windows=False,
    )
    if isinstance(made, Found):
        print_found(made, console)
    else:
        print_study(made, console)
    stream.flush()
    return raw.getvalue().decode(encoding)


def found(made: Search) -> Found:
    return Found(made, report([tensor("w")]))


def rows(made: Study) -> list[list[str]]:
    return [[cell.text for cell in row] for row in study_grid(made).rows]


def tones(made: Study) -> list[list[str]]:
    return [[cell.tone for cell in row] for row in study_grid(made).rows]


@pytest.mark.parametrize("terminal", [False, True], ids=["plain", "terminal"])
@pytest.mark.parametrize("kind", sorted(STUDIES))
def test_a_study_is_the_golden_one(
    kind: str, terminal: bool, golden: Callable[[str, str], None]
) -> None:
    text = printed(STUDIES[kind](), 80, terminal)
    assert ("\x1b[" in text) == terminal
    golden(f"study_{kind}_{'terminal' if terminal else 'plain'}.txt", text)


@pytest.mark.parametrize("over", ["sparsity", "min-kept"])
def test_a_search_is_the_golden_one(over: str, golden: Callable[[str, str], None]) -> None:
    golden(f"study_found_{over}.txt", printed(found(search(over)), 80))


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("kind", ["sweep", "search", "sensitivity"])
def test_no_line_is_longer_than_the_width(kind: str, width: int, terminal: bool) -> None:
    names = ["a/long/name" * 9, "層" * 40, "x", "y" * 17]
    sparsities = [number / 20 for number in range(20)]
    points = [point(name, at, 190 - round(9 * at)) for name in names for at in sparsities]
    made = study([*points, point("z", 0.5, None, "why " * 90)], kind, warnings=("w" * 200,))
    text = Text.from_ansi(printed(made, width, terminal)).plain
    assert max(map(cell_len, text.splitlines())) <= width
    assert "a/long/name" in text


def test_no_plain_line_ends_in_blanks_and_nothing_but_ascii_goes_to_ascii() -> None:
    for make in STUDIES.values():
        assert not any(line.endswith(" ") for line in printed(make(), 80).splitlines())
        assert printed(make(), 80, encoding="ascii").isascii()


def test_a_sweep_has_a_row_per_sparsity_and_a_column_per_method() -> None:
    assert [column.title for column in study_grid(sweep()).columns] == [
        "sparsity",
        "lamp",
        "erk",
    ]
    assert rows(sweep()) == [
        ["0 %", "98.50 %", "98.50 %"],
        ["50 %", "98.50 %", "98.00 %"],
        ["90 %", "95.00 %", "failed"],
    ]


def test_the_best_of_a_row_is_marked_unless_all_are_equal() -> None:
    points = [point("a", 0.5, 190), point("b", 0.5, 190), point("c", 0.5, 180)]
    points += [point("a", 0.9, 170), point("b", 0.9, 170), point("c", 0.9, 170)]
    assert tones(study(points))[1:] == [["", "best", "best", ""], ["", "", "", ""]]
    assert "*95.00 %" in printed(study(points), 80)
    assert "*85.00 %" not in printed(study(points), 80)


def test_a_method_that_was_not_run_at_a_sparsity_has_no_figure() -> None:
    made = study([point("a", 0.5), point("b", 0.9)])
    assert rows(made)[1:] == [["50 %", "98.00 %", "-"], ["90 %", "-", "98.00 %"]]


def test_a_sweep_from_nothing_names_its_first_row_dense() -> None:
    assert [row[0] for row in rows(study([point("a", 0.0), point("a", 0.5)]))] == [
        "dense",
        "0 %",
        "50 %",
    ]


def heads(text: str) -> int:
    return sum(line.startswith("sparsity ") for line in text.splitlines())


def test_more_methods_than_fit_go_into_a_second_table() -> None:
    points = [point(f"method_{number}", at) for number in range(12) for at in (0.5, 0.9)]
    text = printed(study(points), 80)
    assert heads(text) == 2
    assert all(f"method_{number}" in text for number in range(12))
    assert heads(printed(study(points), 200)) == 1


def test_why_points_failed_is_told_below() -> None:
    lines = {line.label: line.text for line in study_facts(sweep())}
    assert lines["failed"] == "erk at 90 %: --sparsity 0.9: at most 88.0 % can go"
    many = study([point(f"m{number}", 0.5, None) for number in range(14)])
    told = [line.text for line in study_facts(many) if line.label == "failed"]
    assert len(told) == 11
    assert told[-1] == "4 more; JSON and CSV have them all"


def test_a_study_all_of_whose_points_failed_can_be_shown() -> None:
    for kind in ("sweep", "search", "sensitivity"):
        made = study([point("a", 0.5, None), point("a", 0.9, None)], kind)
        assert "failed" in printed(made, 80)


@pytest.mark.parametrize("kind", ["sweep", "search", "sensitivity"])
def test_a_study_without_points_can_be_shown(kind: str) -> None:
    assert "ran on" in printed(study([], kind), 80)


def test_a_sensitivity_has_the_points_lost_and_their_heat() -> None:
    assert rows(sensitivity()) == [
        ["conv.weight", "0.00", "5.00"],
        ["fc.weight", "-0.50", "20.00"],
    ]
    heats = [[cell.heat for cell in row[1:]] for row in study_grid(sensitivity()).rows]
    assert heats == [[0.0, pytest.approx(0.25)], [0.0, 1.0]]


def test_heat_is_a_colour_a_shade_or_a_digit() -> None:
    assert "\x1b[38;2;255;255;255;48;2;122;16;28m" in printed(sensitivity(), 80, terminal=True)
    assert "20.00 █" in printed(sensitivity(), 80)
    assert "20.00 9" in printed(sensitivity(), 80, encoding="ascii")


@pytest.mark.parametrize(
    ("measure", "dense", "value", "shown"),
    [
        ("accuracy", 1.0, 0.99999, ">99.99 %"),
        ("agreement", 1.0, 0.00001, "<0.01 %"),
        ("cosine", 1.0, 0.98765, "0.9877"),
        ("cosine", 1.0, 0.99999, ">0.9999"),
        ("accuracy", 98.5, 97.25, "97.25"),
    ],
)
def test_a_figure_is_spelt_by_what_it_is(
    measure: str, dense: float, value: float, shown: str
) -> None:
    own = Measured((OutputCheck("y", "values", False),), OwnMetric(measure, dense, value))
    made = study([replace(point(), measured=own)], measure=measure, dense=dense)
    if measure != "cosine" and dense == 1.0:
        # A metric of one's own may be called accuracy and be no share.
        assert "%" not in rows(made)[1][1]
        other = study(
            [replace(point("b", 0.9), measured=None), *made.points],
            measure=measure,
            dense=dense,
        )
        assert "%" not in rows(other)[1][1]
        return
    assert rows(made)[1][1] == shown


def test_random_data_is_told_first() -> None:
    made = replace(sweep(), data=data(random=True))
    assert study_facts(made)[0].text == RANDOM
    assert RANDOM in printed(made, 80)


@pytest.mark.parametrize("kind", sorted(STUDIES))
def test_nothing_from_a_file_acts_on_a_terminal(kind: str) -> None:
    points = [point(name, at) for name in HOSTILE for at in (0.5, 0.9)]
    made = study(points, kind, model=HOSTILE[5], measure="accuracy", warnings=tuple(HOSTILE))
    text = printed(made, 120)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
    assert "[red]x[/red]" in text or kind == "sweep"


def test_a_search_says_what_is_within_and_what_it_found() -> None:
    text = printed(found(search()), 80)
    table = [line.split() for line in text.splitlines()[1:4]]
    assert table[0] == ["*50", "%", "50.0", "%", "*98.00", "%", "0.50", "within", "0.5"]
    assert table[1][-2:] == ["over", "0.5"]
    assert table[2] == ["62", "%", "62.0", "%", "failed", "-", "-", "0.5"]
    assert "found    sparsity 50 %" in text
    assert "budget   --max-drop 0.01" in text
    assert "because  1 of 200 samples decides" in text
    assert "prunable weights" in text


def test_a_search_without_a_budget_has_no_verdicts() -> None:
    text = printed(found(search("min-kept")), 80)
    assert text.startswith("min-kept ")
    assert "within" not in text
    assert "budget   none: the best wins" in text

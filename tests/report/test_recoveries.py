"""What a report says of a recovery: one row per attempt, and what it was judged by."""

import html
import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from onnxprune.recoveries import Recovery, RecoveryStep, Standing
from onnxprune.report.as_json import to_dict
from onnxprune.report.documents import to_html, to_markdown, to_text
from onnxprune.report.recoveries import recovery_facts, recovery_grid
from onnxprune.report.tables import Grid
from onnxprune.report.terminal import print_report
from onnxprune.types import Report
from tests.report.made import report, tensor

NAN = float("nan")
STEPS = (
    RecoveryStep("refit", Standing(0.0456, 0.9, 0.8), True, 0.25),
    RecoveryStep("bias", Standing(0.05, 0.85, 0.75), False, 12.4, "no place"),
    RecoveryStep("distill", Standing(0.0123456, 0.95, 0.9), True, 4321.0, "60 epochs"),
)
MADE = Recovery(
    source="set.npz",
    fitted=1800,
    held=200,
    matched=("scores",),
    dense=Standing(0.0, 1.0, 0.975),
    pruned=Standing(0.5, 0.5, 0.4),
    steps=STEPS,
    final=Standing(0.0123456, 0.95, 0.9),
    changed=1234,
    device="cpu",
)


def texts(grid: Grid) -> list[list[str]]:
    return [[cell.text for cell in row] for row in grid.rows]


def titles(grid: Grid) -> list[str]:
    return [column.title for column in grid.columns]


def lines(made: Recovery) -> list[str]:
    facts = recovery_facts(made)
    assert {fact.label for fact in facts} == {"recovery"}
    return [fact.text for fact in facts]


def without(made: Recovery, accuracy: bool = False, agreement: bool = False) -> Recovery:
    """Take figures out of all standings."""

    def less(standing: Standing) -> Standing:
        if accuracy:
            standing = replace(standing, accuracy=None)
        return replace(standing, agreement=None) if agreement else standing

    steps = tuple(replace(step, standing=less(step.standing)) for step in made.steps)
    return replace(
        made,
        dense=less(made.dense),
        pruned=less(made.pruned),
        steps=steps,
        final=less(made.final),
    )


def with_report(made: Recovery) -> Report:
    return replace(report([tensor("w")]), recovery=made)


def test_every_attempt_has_its_row_between_the_dense_model_and_what_is_written() -> None:
    grid = recovery_grid(MADE)
    assert titles(grid) == ["recovery", "distance", "agree", "accuracy", "time", "kept"]
    assert texts(grid) == [
        ["dense", "0", "100.0 %", "97.5 %", "", ""],
        ["pruned", "0.5", "50.0 %", "40.0 %", "", ""],
        ["refit", "0.0456", "90.0 %", "80.0 %", "0.2 s", "yes"],
        ["bias", "0.05", "85.0 %", "75.0 %", "12 s", "no"],
        ["distill", "0.0123", "95.0 %", "90.0 %", "4,321 s", "yes"],
        ["written", "0.0123", "95.0 %", "90.0 %", "", ""],
    ]
    assert [row[-1].tone for row in grid.rows] == ["", "", "good", "", "good", ""]


@pytest.mark.parametrize(
    ("made", "hidden"),
    [
        (without(MADE, accuracy=True), ["accuracy"]),
        (without(MADE, agreement=True), ["agree"]),
        (without(MADE, accuracy=True, agreement=True), ["agree", "accuracy"]),
        (replace(MADE, steps=()), ["time", "kept"]),
    ],
)
def test_columns_without_a_figure_are_left_out(made: Recovery, hidden: list[str]) -> None:
    grid = recovery_grid(made)
    everything = titles(recovery_grid(MADE))
    assert titles(grid) == [title for title in everything if title not in hidden]
    assert len({len(row) for row in [grid.columns, *grid.rows]}) == 1


def test_figures_that_are_missing_in_some_rows_are_told_as_none() -> None:
    steps = (RecoveryStep("refit", Standing(NAN), False, 0.0, "not done: too wide"),)
    grid = recovery_grid(replace(MADE, steps=steps))
    assert texts(grid)[2] == ["refit", "-", "-", "-", "0.0 s", "no"]
    assert titles(grid) == titles(recovery_grid(MADE))


def test_a_distance_without_any_end_is_told_as_it_is() -> None:
    made = replace(MADE, pruned=Standing(float("inf"), 0.0, 0.0))
    assert texts(recovery_grid(made))[1] == ["pruned", "inf", "0.0 %", "0.0 %", "", ""]


def test_shares_are_all_or_nothing_only_where_they_are() -> None:
    made = replace(MADE, pruned=Standing(0.5, 0.99999, 0.00001))
    assert texts(recovery_grid(made))[1][2:4] == [">99.9 %", "<0.1 %"]


def test_samples_steps_and_changes_are_told() -> None:
    assert lines(MADE) == [
        "fitted on 1,800 samples of set.npz, judged by 200 others; distance is of scores to"
        " the dense model, 1 being no better than the mean",
        "bias: no place",
        "distill: 60 epochs",
        "1,234 tensors hold other values; computed on cpu",
    ]


def test_all_values_that_were_matched_are_named() -> None:
    assert "distance is of a, b, c to the" in lines(replace(MADE, matched=("a", "b", "c")))[0]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a", "b"), "2 biases were added (a, b)"),
        (("a", "b", "c"), "3 biases were added (a, b, c)"),
        (("a", "b", "c", "d"), "4 biases were added (a, b, c, …)"),
    ],
)
def test_biases_that_were_added_are_counted_and_some_are_named(
    names: tuple[str, ...], words: str
) -> None:
    found = lines(replace(MADE, created=names))[-1]
    assert found == f"1,234 tensors hold other values; {words}; computed on cpu"


def hostile(name: str) -> Recovery:
    """Let a name be everywhere where one from outside can be."""
    steps = (RecoveryStep("refit", Standing(0.1), True, 0.1, name),)
    return replace(
        MADE, source=name, matched=(name,), steps=steps, created=(name,), device=name
    )


@pytest.mark.parametrize("name", ["w\x1b]0;pwned\x07", "::error file=x::w", "a\nb", "\u202ew"])
def test_a_name_from_outside_cannot_act_on_a_terminal(name: str) -> None:
    for text in lines(hostile(name)):
        assert not any(letter in text for letter in "\x1b\x07\n\u202e")
        assert "::error" not in text
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True, color_system=None)
    print_report(with_report(hostile(name)), console)
    text = stream.getvalue()
    assert not any(letter in text for letter in "\x1b\x07\u202e")
    assert "::error" not in text


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "a|b", "**bold** _it_ `code`", "![i](http://e.x)", "&lt;"],
)
def test_a_name_from_outside_is_no_markup(name: str) -> None:
    made = with_report(hostile(name))
    page = to_html(made)
    assert "<script" not in page
    assert html.escape(name) in page
    facts = [line for line in to_markdown(made).splitlines() if "**recovery**" in line]
    assert len(facts) == 3
    for line in facts:
        assert name not in line
        plain = html.unescape(unescaped(line))
        assert name in plain


def unescaped(line: str) -> str:
    """Take the backslashes of Markdown away."""
    out: list[str] = []
    letters: Sequence[str] = list(line)
    at = 0
    while at < len(letters):
        if letters[at] == "\\":
            at += 1
        out.append(letters[at])
        at += 1
    return "".join(out)


def test_all_forms_of_a_report_have_the_table_and_the_lines() -> None:
    made = with_report(MADE)
    for text in (to_markdown(made), to_html(made), to_text(made)):
        words = " ".join(html.unescape(unescaped(text)).replace("*", "").split())
        for word in ("distance", "agree", "accuracy", "pruned", "written", "4,321 s"):
            assert word in words
        assert "judged by 200 others" in words
        assert "bias: no place" in words


def test_the_table_comes_as_rows_of_markdown_and_html() -> None:
    made = with_report(without(MADE, accuracy=True))
    assert "| recovery | distance | agree | time | kept |" in to_markdown(made)
    assert "| refit | 0.0456 | 90.0 % | 0.2 s | **yes** |" in to_markdown(made)
    page = to_html(made)
    assert '<td class="left">refit</td><td>0.0456</td><td>90.0 %</td><td>0.2 s</td>' in page
    assert '<td class="left good">yes</td>' in page


def test_a_program_reads_all_figures() -> None:
    found = to_dict(with_report(MADE))["recovery"]
    assert found["fitted"] == 1800
    assert found["pruned"] == {"loss": 0.5, "agreement": 0.5, "accuracy": 0.4}
    assert [step["name"] for step in found["steps"]] == ["refit", "bias", "distill"]
    assert to_dict(report([tensor("w")]))["recovery"] is None

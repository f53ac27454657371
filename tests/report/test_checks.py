"""The check of two models for people: its table, its sentences, its documents."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from onnxprune.errors import UsageError
from onnxprune.outcomes import CheckReport, CheckResult, Latency, OutputCheck, OwnMetric
from onnxprune.report.as_json import check_to_json, to_dict
from onnxprune.report.check_report import check_to_html, check_to_markdown, print_check
from onnxprune.report.checks import NO_FASTER, RANDOM, check_facts, latency_text, result_facts
from onnxprune.report.documents import CHECK_WRITERS, WRITERS, check_suffix, write_report
from onnxprune.report.text import Fact
from tests.report.made import report, tensor
from tests.report.made_checks import (
    FAILED_KL,
    HELD_DROP,
    HOSTILE,
    PLACE,
    accuracy,
    check_report,
    data,
    output,
    result,
    values,
)
from tests.report.test_documents import Page, cells
from tests.report.test_terminal import printed as printed_report

WIDTHS = (60, 80, 100, 140)


def printed(made: CheckReport, width: int, terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        legacy_windows=False,
    )
    print_check(made, console)
    return stream.getvalue()


def fact(made: CheckResult, label: str) -> str:
    return "\n".join(line.text for line in result_facts(made) if line.label == label)


def full() -> CheckReport:
    top5 = accuracy(199, 200)
    outputs = [output(top1=accuracy(), top5=top5), values()]
    conditions = [HELD_DROP, FAILED_KL]
    latency = Latency(0.00121, 0.0012, 21, 16)
    return check_report(result(outputs, conditions, latency=latency, warnings=("odd",)))


@pytest.mark.parametrize("terminal", [False, True], ids=["plain", "terminal"])
def test_the_check_is_the_golden_one(
    terminal: bool, golden: Callable[[str, str], None]
) -> None:
    text = printed(full(), 80, terminal)
    assert ("\x1b[" in text) == terminal
    golden(f"check_{'terminal' if terminal else 'plain'}.txt", text)


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_longer_than_the_width(width: int, terminal: bool) -> None:
    names = ["output/" * 30, "層" * 90, "x"]
    condition = replace(FAILED_KL, sentence="of 'output' " * 40)
    made = result(
        [output(name, accuracy()) for name in names], [condition], warnings=("w" * 300,)
    )
    text = printed(check_report(made, "a/" * 60, "b" * 100), width, terminal)
    plain = Text.from_ansi(text).plain
    assert max(map(cell_len, plain.splitlines())) <= width
    assert "97.50" in text


NAMES = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=120)


@given(st.lists(NAMES, min_size=1, max_size=3), st.sampled_from(WIDTHS), st.booleans())
def test_no_name_makes_a_line_too_long(names: list[str], width: int, terminal: bool) -> None:
    made = check_report(result([output(name) for name in names]))
    plain = Text.from_ansi(printed(made, width, terminal)).plain
    assert max(map(cell_len, plain.splitlines())) <= width


def test_a_wider_terminal_shows_more_columns() -> None:
    made = check_report(result([output("a_name_of_usual_length", accuracy(), accuracy())]))
    heads = [" ".join(printed(made, width).splitlines()[:2]).split() for width in WIDTHS]
    assert {"output", "agree", "cosine"} <= set(heads[0])
    assert len(heads[0]) < len(heads[1]) < len(heads[2]) < len(heads[3])
    assert {"KL", "SQNR", "kind"} <= set(heads[3])


def test_what_no_output_has_is_no_column() -> None:
    lines = printed(check_report(result([values()])), 140).splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["max"],
        ["output", "kind", "cosine", "SQNR", "abs"],
    ]


def test_a_model_without_outputs_has_facts_only() -> None:
    made = result()
    made = replace(made, measured=replace(made.measured, outputs=()))
    assert "ran on" in printed(check_report(made), 80)


def test_accuracy_is_told_with_its_counts_and_interval() -> None:
    assert fact(result(), "accuracy") == (
        "98.50 % -> 98.00 % (197 -> 196 of 200): 0.50 points less, 95 % interval -0.4 to 1.9"
    )
    better = result([output(top1=accuracy(199))], interval=None)
    assert fact(better, "accuracy") == (
        "98.50 % -> 99.50 % (197 -> 199 of 200): 1.00 points more"
    )
    same = result([output(top1=accuracy(197))], interval=None)
    assert fact(same, "accuracy").endswith("(197 -> 197 of 200): no change")


def test_agreement_has_the_interval_where_there_is_no_accuracy() -> None:
    made = result([output()], data=data(labelled=False), interval=(0.01, 0.057))
    assert fact(made, "agreement") == (
        "97.50 % (195 of 200 decisions are the same): 2.50 points less,"
        " 95 % interval 1.0 to 5.7"
    )
    assert fact(made, "accuracy") == "not known: the set has no labels"
    assert fact(result(), "agreement") == "97.50 % (195 of 200 decisions are the same)"


def test_an_output_is_named_where_a_figure_could_be_of_several() -> None:
    made = result([output("first", accuracy()), output("second", accuracy(100))])
    assert fact(made, "accuracy").startswith("'first': 98.50 %")
    assert fact(made, "agreement").startswith("'first': 97.50 %")
    assert "'logits'" not in fact(result(), "accuracy")


def test_an_own_metric_goes_by_its_name() -> None:
    made = result(own=OwnMetric("mean_iou", 0.75, 0.5))
    assert fact(made, "mean_iou") == "0.75 -> 0.5: 0.25 less"
    assert fact(result(own=OwnMetric("f", 0.5, 0.5)), "f") == "0.5 -> 0.5"


def test_identical_outputs_are_said_to_be() -> None:
    same = OutputCheck("y", "values", True, cosine=1.0, max_abs=0.0)
    assert "identical" in fact(result([same]), "outputs")
    assert fact(result([same, values()]), "outputs") == ""


def test_each_condition_of_the_gate_is_told() -> None:
    lines = result_facts(result(conditions=[HELD_DROP, FAILED_KL]))
    assert [line for line in lines if line.label == "gate"] == [
        Fact("gate", "passed: accuracy fell by 0.50 points", "good"),
        Fact("gate", "FAILED: KL 0.310 is above --max-kl 0.25 by 0.060", "bad"),
    ]


@pytest.mark.parametrize(
    ("pruned", "end"),
    [
        (0.96, "): no faster: single zeros do not speed up ONNX Runtime"),
        (1.04, "): no faster: single zeros do not speed up ONNX Runtime"),
        (
            0.8,
            "): 20.0 % less time, which zeros alone do not explain on CPUExecutionProvider",
        ),
        (
            1.5,
            "): 50.0 % more time, which zeros alone do not explain on CPUExecutionProvider",
        ),
    ],
)
def test_the_time_of_a_batch_is_told_honestly(pruned: float, end: str) -> None:
    text = latency_text(Latency(1.0, pruned, 21, 16), PLACE)
    assert text.startswith(f"1.00 s -> {'1' if pruned > 1 else '9'}"[:10])
    assert text.endswith(end)
    assert " per batch of 16 (median of 21, interleaved)" in text


def test_a_difference_within_the_scatter_of_the_runs_is_none() -> None:
    text = latency_text(Latency(1.0, 1.2, 21, 16, spread=0.3), PLACE)
    assert text.endswith(f"{NO_FASTER} ONNX Runtime")
    assert "20.0 % more time" in latency_text(Latency(1.0, 1.2, 21, 16, spread=0.1), PLACE)


def test_a_time_too_short_to_measure_is_no_ratio() -> None:
    text = latency_text(Latency(0.0, 0.0, 3, 1), PLACE)
    assert text == "0.000 ms -> 0.000 ms per batch of 1 (median of 3, interleaved)"


def test_files_and_zeros_are_told_of_two_files() -> None:
    lines = {line.label: line.text for line in check_facts(full())}
    assert lines["file"] == "1.00 kB -> 1.00 kB; compresses to 500 B (was 900 B)"
    assert lines["zeros"] == "0.0 % -> 90.0 % of prunable weights"
    assert lines["ran on"] == (
        "CPUExecutionProvider, 2 threads, ONNX Runtime 1.31.1;"
        " 200 samples of test.npz in batches of 16"
    )
    assert lines["warning"] == "odd"


@pytest.mark.parametrize("suffix", sorted(set(CHECK_WRITERS) - {".json"}))
def test_random_data_is_told_in_capitals_in_all_forms(suffix: str, tmp_path: Path) -> None:
    for labelled in (False, True):
        file = tmp_path / f"r{suffix}"
        write_report(check_report(result(data=data(random=labelled))), file)
        assert (RANDOM in file.read_text()) == labelled


def test_random_data_is_red_on_a_terminal() -> None:
    text = printed(check_report(result(data=data(random=True))), 100, terminal=True)
    assert re.search(r"\x1b\[1;31mRANDOM NUMBERS", text)


def test_the_json_has_the_counts_and_no_infinity() -> None:
    infinite = replace(output(top1=accuracy()), max_abs=float("inf"), sqnr=float("nan"))
    made = check_report(result([infinite], [FAILED_KL], latency=Latency(0.0, 0.0, 3, 1)))
    text = check_to_json(made)
    assert text.isascii()
    found = json.loads(text, parse_constant=pytest.fail)
    assert set(found) == {"schema", "version", "dense", "pruned", "check", "bytes", "seconds"}
    assert found["pruned"] == {"model": "b.onnx", "sha256": "1" * 64, "sparsity": 0.9}
    check = found["check"]
    assert check["outputs"][0]["top1"] == {
        "total": 200,
        "dense": 197,
        "pruned": 196,
        "lost": 1,
        "won": 0,
        "drop": 0.005,
    }
    assert check["outputs"][0]["max_abs"] is None
    assert check["outputs"][0]["sqnr"] is None
    assert check["outputs"][0]["agreement"] == 0.975
    assert check["passed"] is False
    assert (check["measure"], check["dense"], check["pruned"]) == ("accuracy", 0.985, 0.98)
    assert check["conditions"][0]["option"] == "--max-kl"
    assert check["latency"]["ratio"] is None
    assert check["interval"] == [-0.004, 0.019]


def test_a_check_without_a_gate_neither_passes_nor_fails() -> None:
    assert json.loads(check_to_json(check_report(result())))["check"]["passed"] is None
    assert check_to_markdown(check_report(result())).startswith("## onnxprune check: a.onnx")


@pytest.mark.parametrize(
    ("conditions", "word"), [([HELD_DROP], "passed"), ([FAILED_KL], "FAILED")]
)
def test_the_heading_of_the_markdown_has_the_verdict(
    conditions: list[object], word: str
) -> None:
    text = check_to_markdown(check_report(result(conditions=conditions)))  # type: ignore[arg-type]
    assert text.splitlines()[0] == f"## onnxprune check {word}: a.onnx -&gt; b.onnx"
    made = replace(report([tensor("w")]), check=result(conditions=conditions))  # type: ignore[arg-type]
    assert WRITERS[".md"](made).splitlines()[0] == f"## onnxprune {word}: m.onnx"


def hostile() -> CheckReport:
    outputs = [output(name, accuracy()) for name in HOSTILE]
    conditions = [replace(FAILED_KL, sentence=name) for name in HOSTILE]
    return check_report(result(outputs, conditions, warnings=tuple(HOSTILE)), *HOSTILE[:2])


def test_the_markdown_has_one_row_per_output_and_no_markup_from_names() -> None:
    lines = check_to_markdown(hostile()).splitlines()
    rows = [cells(line) for line in lines if line.startswith("|")]
    assert len(rows) == len(HOSTILE) + 2
    assert {len(row) for row in rows} == {10}
    text = "\n".join(lines[1:])
    assert "<" not in text
    assert "\x1b" not in text
    assert not any(line.lstrip().startswith("::") for line in lines)


def test_the_page_holds_names_as_text_only() -> None:
    text = check_to_html(hostile())
    page = Page(text)
    assert page.open == []
    assert set(page.tags) == {
        *("html", "head", "meta", "title", "style", "body", "h1", "dl", "dt", "dd"),
        *("table", "thead", "tr", "th", "tbody", "td"),
    }
    assert page.attributes == {"lang", "charset", "class"}
    assert "\x1b" not in text


@pytest.mark.parametrize("suffix", sorted(CHECK_WRITERS))
def test_a_check_has_the_form_of_its_suffix(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"r{suffix.upper()}"
    write_report(hostile(), file)
    text = file.read_text(encoding="utf-8")
    starts = {".json": "{", ".md": "## ", ".xml": "<?xml", ".txt": "output "}
    assert text.lstrip().startswith(starts.get(suffix, "<!DOCTYPE html>")) or suffix == ".txt"
    assert "\x1b" not in text


def test_a_prune_report_shows_its_check(tmp_path: Path) -> None:
    made = replace(report([tensor("w")], warnings=["odd"]), check=full().result)
    text = printed_report(made, 100)
    assert "98.50 % -> 98.00 %" in text
    assert "FAILED: KL 0.310" in text
    assert text.count("warning") == 1
    for suffix in WRITERS:
        file = tmp_path / f"r{suffix}"
        write_report(made, file)
        assert "KL 0.310 is above" in file.read_text().replace("\\", "")
    assert to_dict(made)["check"]["measure"] == "accuracy"
    assert to_dict(report([tensor("w")]))["check"] is None


def test_a_report_without_a_check_has_no_test_cases(tmp_path: Path) -> None:
    file = tmp_path / "x.junit.xml"
    with pytest.raises(UsageError) as raised:
        write_report(report([tensor("w")]), file)
    assert str(raised.value) == f"--report {file}: a report without a check has no test cases"
    assert raised.value.hint == "--data adds one"
    with pytest.raises(UsageError, match="no test cases"):
        check_suffix(file, checked=False)
    check_suffix(file, checked=True)
    assert not file.exists()

"""Reports as files: Markdown that renders as a table, HTML that runs nothing, plain text."""

import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from onnxprune.errors import OutputError, UsageError
from onnxprune.report.as_json import to_dict
from onnxprune.report.documents import (
    WRITERS,
    check_suffix,
    to_html,
    to_markdown,
    write_report,
)
from onnxprune.report.summary import ZEROS
from onnxprune.report.text import show
from onnxprune.types import Report, Skipped
from tests.conftest import Ran
from tests.report.made import report, tensor

NAMES = [
    "plain.weight",
    "a|b",
    "w[red]x[/red][link=http://e.x]",
    "<script>alert(1)</script>",
    'w\' onload=x "y" &lt;',
    "**bold** _it_ `code` # ~~x~~ \\",
    "![image](http://e.x)",
    "w\x1b]0;pwned\x07",
    "::error file=x::w",
    'w,"=1+1',
    "層.重み",
]
VOID = {"meta"}


class Page(HTMLParser):
    """What a browser would make of a page: its tags in order, attributes and cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data


def hostile() -> Report:
    tensors = [tensor(name, op=name) for name in NAMES]
    skipped = [Skipped(name, f"reason {name}") for name in NAMES]
    return report(tensors, skipped, [f"warning {name}" for name in NAMES], NAMES[3])


def test_the_page_holds_the_names_as_text_only() -> None:
    text = to_html(hostile())
    page = Page(text)
    assert page.open == []
    assert page.cells[::9] == [show(name) for name in NAMES]
    assert page.cells[1::9] == [show(name) for name in NAMES]
    assert set(page.tags) == {
        *("html", "head", "meta", "title", "style", "body", "h1", "dl", "dt", "dd"),
        *("table", "thead", "tr", "th", "tbody", "td", "span", "p"),
    }
    assert page.attributes == {"lang", "charset", "class", "style"}
    assert "<script" not in text
    assert "\x1b" not in text
    assert "http://" not in re.sub(r"\(http://e\.x\)|link=http://e\.x", "", text)


def test_the_page_loads_nothing_and_has_every_number() -> None:
    page = Page(to_html(report([tensor("w", zeros=12, shape=(8, 4))])))
    assert page.cells[:9] == ["w", "Gemm", "8x4", "32", "32", "20", "12", "37.5 % ", "50.0 %"]
    assert not {"src", "href"} & page.attributes


def cells(line: str) -> list[str]:
    """Split a row of a Markdown table as its readers do, and undo the escapes."""
    parts = re.split(r"(?<!\\)\|", line.removeprefix("|").removesuffix("|"))
    return [html.unescape(re.sub(r"\\(.)", r"\1", part.strip())) for part in parts]


def test_the_markdown_has_one_row_per_tensor_and_no_markup_from_names() -> None:
    lines = to_markdown(hostile()).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == len(NAMES) + 2
    rows = [cells(line) for line in table]
    assert {len(row) for row in rows} == {9}
    assert rows[1] == ["---"] * 3 + ["---:"] * 6
    assert [row[0] for row in rows[2:]] == [show(name) for name in NAMES]
    text = "\n".join(lines[1:])
    assert "<" not in text
    assert not re.search(r"(?<!\\)[`_\[\]]", text)
    assert "**bold" not in text
    assert not any(line.lstrip().startswith("::") for line in lines)


def test_the_markdown_has_the_numbers_and_the_honest_line() -> None:
    text = to_markdown(report([tensor("w", zeros=12)], [Skipped("b", "bias")], ["odd"]))
    row = next(line for line in text.splitlines() if line.startswith("| w "))
    assert cells(row) == ["w", "Gemm", "8x4", "32", "32", "20", "12", "37.5 %", "50.0 %"]
    assert "- **zeros**: 12 of 32 prunable weights (37.5 %), 28.6 % of all 42" in text
    assert "- **left alone**: 1 bias (b)" in text
    assert "- **warning**: odd" in text
    assert text.endswith(f"\n{ZEROS}\n")


UNCHECKED = sorted(set(WRITERS) - {".xml"})
"""The forms of a report that has no check, and so no test cases."""


@pytest.mark.parametrize("suffix", UNCHECKED)
def test_a_report_has_the_form_of_its_suffix(suffix: str, tmp_path: Path) -> None:
    made = hostile()
    file = tmp_path / f"r{suffix.upper()}"
    write_report(made, file)
    text = file.read_text(encoding="utf-8")
    if suffix == ".json":
        assert json.loads(text) == json.loads(json.dumps(to_dict(made)))
        assert text.isascii()
    start = {".json": "{", ".md": "## ", ".txt": "tensor "}.get(suffix, "<!DOCTYPE html>")
    assert text.startswith(start)
    assert "\x1b" not in text
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())


def test_a_report_replaces_an_older_one(tmp_path: Path) -> None:
    file = tmp_path / "r.md"
    file.write_text("old")
    write_report(report([tensor("w")]), file)
    assert file.read_text().startswith("## onnxprune")


@pytest.mark.parametrize("name", ["r", "r.csv", "r.json.gz", ".json"])
def test_a_suffix_that_tells_no_form_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"choose one of \.htm, \.html, \.json, \.md, \.txt"):
        check_suffix(Path(name))


def test_a_report_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "r.md").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        write_report(report([]), tmp_path / "r.md")


def test_the_command_writes_all_reports_it_is_asked_for(
    run: Callable[..., Ran], digits: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f"r{suffix}" for suffix in UNCHECKED]
    words = [word for file in files for word in ("--report", file)]
    ran = run(digits, "-s", "0.9", "--dry-run", "--no-verify", "--json", *words)
    assert ran.code == 0
    assert (tmp_path / "r.json").read_text() == ran.out.rstrip("\n")
    for file in files:
        assert "fc1.weight" in file.read_text().replace("\\", "")
        assert re.search("61,?154", file.read_text())

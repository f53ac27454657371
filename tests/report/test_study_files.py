"""Studies as files: what is written can be read back, opened and loaded."""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.errors import InputError, OutputError, UnsupportedError, UsageError
from onnxprune.outcomes import Accuracy, Measured, OutputCheck, OwnMetric
from onnxprune.points import Point, Study
from onnxprune.report import figure
from onnxprune.report.checks import RANDOM
from onnxprune.report.figure import draw_figure
from onnxprune.report.forms import check_suffix, print_any, to_json, write_any
from onnxprune.report.study_files import (
    HEAD,
    STUDY_WRITERS,
    check_study_suffix,
    study_to_csv,
    write_study,
)
from onnxprune.report.study_json import study_to_json
from onnxprune.studies import read_study
from onnxprune.types import Found
from tests.report.made import report, tensor
from tests.report.made_checks import (
    HOSTILE,
    check_report,
    data,
    point,
    result,
    search,
    sensitivity,
    study,
    sweep,
)


def found() -> Found:
    return Found(search(), report([tensor("w")]))


def hostile(kind: str = "sweep") -> Study:
    points = [point(name, at) for name in HOSTILE for at in (0.5, 0.9)]
    points.append(point(HOSTILE[2], 0.95, None, HOSTILE[7]))
    source = replace(data(), source=HOSTILE[2])
    return study(points, kind, model=HOSTILE[7], data=source, warnings=tuple(HOSTILE))


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 50)


@st.composite
def accuracies(draw: st.DrawFn) -> Accuracy:
    both, lost, won, neither = (draw(COUNTS) for _ in range(4))
    return Accuracy(both + lost + won + neither + 1, both + lost, both + won, lost, won)


@st.composite
def outputs(draw: st.DrawFn) -> OutputCheck:
    agreed, others = draw(COUNTS), draw(COUNTS)
    figures = [draw(st.none() | NUMBERS) for _ in range(4)]
    top = [draw(st.none() | accuracies()) for _ in range(2)]
    kind = draw(st.sampled_from(["scores", "classes", "values"]))
    name, same = draw(st.text()), draw(st.booleans())
    return OutputCheck(name, kind, same, *top, agreed, agreed + others, *figures)


MEASURED = st.builds(
    Measured,
    st.lists(outputs(), max_size=3).map(tuple),
    st.none() | st.builds(OwnMetric, st.text(), NUMBERS, NUMBERS),
)


@st.composite
def points(draw: st.DrawFn) -> Point:
    zeros, others = draw(COUNTS), draw(COUNTS)
    measured, failure = draw(st.none() | MEASURED), draw(st.none() | st.text())
    sparsity, seconds = draw(st.floats(0, 1)), draw(st.floats(0, 1e6))
    return Point(draw(st.text()), sparsity, zeros, zeros + others, measured, failure, seconds)


@given(
    st.lists(points(), max_size=4),
    st.sampled_from(["sweep", "search", "sensitivity"]),
    NUMBERS,
    st.text(),
)
def test_a_study_is_read_back_as_it_was(
    made: list[Point], kind: str, dense: float, text: str
) -> None:
    written = study(made, kind, dense=dense, model=text, warnings=(text,))
    assert read_study(study_to_json(written).encode("ascii")) == written


@given(st.lists(points(), max_size=3), st.sampled_from(["sweep", "search", "sensitivity"]))
def test_any_study_has_every_form_of_text(made: list[Point], kind: str) -> None:
    written = study(made, kind)
    for suffix in (".csv", ".md", ".txt"):
        text = STUDY_WRITERS[suffix](written)
        assert isinstance(text, str)
        assert "\x1b" not in text
    xml = STUDY_WRITERS[".xml"](written)
    assert isinstance(xml, str)
    ElementTree.fromstring(xml.encode())


def test_what_json_has_no_number_for_is_read_as_none() -> None:
    infinite = replace(point().measured.outputs[0], max_abs=float("inf"))  # type: ignore[union-attr]
    made = study([replace(point(), measured=Measured((infinite,)))])
    again = read_study(study_to_json(made).encode())
    assert again.points[0].measured.outputs[0].max_abs is None  # type: ignore[union-attr]
    assert study_to_json(again) == study_to_json(made)


def test_the_json_of_a_search_is_a_study_too() -> None:
    text = to_json(found())
    values = json.loads(text)
    assert (values["over"], values["setting"], values["chosen"]) == ("sparsity", 0.5, 0)
    assert values["report"]["output"] == "m.pruned.onnx"
    assert values["check"]["passed"] is True
    assert read_study(text.encode()) == search().study


Damage = Callable[[dict[str, object]], object]


def dig(values: dict[str, object], *path: str | int) -> dict[str, object]:
    for step in path:
        values = values[step]  # type: ignore[index,assignment]
    return values


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda v: v.pop("points"), "study.points is missing"),
        (lambda v: v.update(schema=2), "its schema is not 1"),
        (lambda v: v.update(schema=True), "its schema is not 1"),
        (lambda v: v.update(kind="prune"), "its kind is none of sweep, search, sensitivity"),
        (lambda v: v.update(kind=["sweep"]), "its kind is none of sweep, search, sensitivity"),
        (lambda v: v.update(points={}), "study.points is not a list"),
        (lambda v: v.update(data=[]), "study.data is not an object"),
        (lambda v: v.update(dense="1"), "study.dense is not a number"),
        (lambda v: v.update(dense=10**400), "study.dense is too large a number"),
        (lambda v: v.update(warnings=[1]), "study.warnings[0] is not a text"),
        (
            lambda v: dig(v, "data").update(samples=1.5),
            "study.data.samples is not a whole number",
        ),
        (
            lambda v: dig(v, "data").update(random=1),
            "study.data.random is not true or false",
        ),
        (
            lambda v: dig(v, "points", 0).update(sparsity=1.5),
            "study.points[0].sparsity is not between 0 and 1",
        ),
        (
            lambda v: dig(v, "points", 0).update(sparsity=None),
            "study.points[0].sparsity is not between 0 and 1",
        ),
        (
            lambda v: dig(v, "points", 1).update(zeros=1001),
            "study.points[1].zeros is not between 0 and size",
        ),
        (
            lambda v: dig(v, "points", 0).update(seconds=None),
            "study.points[0].seconds is not a number",
        ),
        (
            lambda v: dig(v, "points", 0, "measured", "outputs", 0, "top1").update(total=0),
            "study.points[0].measured.outputs[0].top1 cannot be",
        ),
        (
            lambda v: dig(v, "points", 0, "measured", "outputs", 0).update(agreed=-1),
            "study.points[0].measured.outputs[0].agreed is not between 0 and answers",
        ),
    ],
)
def test_what_is_no_study_is_refused(damage: Damage, message: str) -> None:
    values = json.loads(study_to_json(sweep()))
    damage(values)
    with pytest.raises(InputError) as raised:
        read_study(json.dumps(values).encode())
    assert str(raised.value) == f"not a study of onnxprune: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b'{"dense": NaN}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "its kind is none of sweep, search, sensitivity"),
        (b'{"kind": "sweep", "schema": 1}', "study.model is missing"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputError) as raised:
        read_study(content)
    assert str(raised.value) == f"not a study of onnxprune: {message}"


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_make_anything_but_an_input_error(content: bytes) -> None:
    with pytest.raises(InputError):
        read_study(content)


def test_the_csv_has_one_line_per_point() -> None:
    lines = list(csv.DictReader(io.StringIO(study_to_csv(sweep()))))
    assert tuple(lines[0]) == HEAD
    assert len(lines) == 4
    assert lines[1] == {
        "model": "m.onnx",
        "method": "lamp",
        "sparsity": "0.9",
        "zeros": "900",
        "size": "1000",
        "measure": "accuracy",
        "dense": "0.985",
        "value": "0.95",
        "drop": str(0.985 - 0.95),
        "top1_dense": "0.985",
        "top1_pruned": "0.95",
        "agreement": "0.975",
        "kl": "0.0123",
        "cosine": "0.9987",
        "sqnr": "23.4",
        "max_abs": "1.25",
        "failure": "",
        "seconds": "0.5",
    }
    assert lines[3]["value"] == ""
    assert lines[3]["failure"] == "--sparsity 0.9: at most 88.0 % can go".replace(
        "--", "'--", 1
    )


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", " =1", "\u00a0=1"])
def test_the_csv_has_no_formulas(name: str) -> None:
    made = study([point(name)], model=name, measure=name)
    line = next(csv.DictReader(io.StringIO(study_to_csv(made))))
    for column in ("model", "method", "measure"):
        assert line[column].startswith("'")


def test_a_number_below_nothing_stays_a_number_in_the_csv() -> None:
    line = next(csv.DictReader(io.StringIO(study_to_csv(study([point("a", 0.5, 200)])))))
    assert float(line["drop"]) == pytest.approx(-0.015)


class Page(HTMLParser):
    """The tags of a page that are open at its end, and those it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", ["sweep", "search", "sensitivity"])
def test_the_page_has_its_figure_inside_and_runs_nothing(kind: str) -> None:
    text = STUDY_WRITERS[".html"](hostile(kind))
    assert isinstance(text, str)
    page = Page(text)
    assert page.open == []
    assert {"svg", "table", "dl"} <= page.tags
    assert not {"script", "image", "img", "link", "iframe", "object", "b"} & page.tags
    assert not any(name.startswith("on") for name in page.attributes)
    assert "src" not in page.attributes
    assert not re.findall(r'href="(?!#)', text)


@pytest.mark.parametrize("kind", ["sweep", "search", "sensitivity"])
def test_a_picture_is_well_formed_and_always_the_same(kind: str) -> None:
    svg = draw_figure(hostile(kind), "svg")
    assert svg == draw_figure(hostile(kind), "svg")
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    png = draw_figure(hostile(kind), "png")
    assert png.startswith(b"\x89PNG\r\n")
    assert png == draw_figure(hostile(kind), "png")


def test_a_picture_names_its_curves_as_they_are() -> None:
    text = "".join(ElementTree.fromstring(draw_figure(hostile(), "svg")).itertext())
    assert "_under $x^2$" in text
    assert "<script>alert(1)</script>" in text
    assert "層.重み" in text
    assert "dense" in text
    assert "sparsity" in text


def test_a_picture_of_random_data_says_so() -> None:
    for make in (sweep, sensitivity):
        made = replace(make(), data=data(random=True))
        assert RANDOM in draw_figure(made, "svg").decode()
        assert RANDOM not in draw_figure(make(), "svg").decode()


@pytest.mark.parametrize(
    "made",
    [
        study([point("a", 0.5), point("a", 0.9)], dense=float("inf")),
        study([]),
        study([], "sensitivity"),
        study([point(right=None)], "sensitivity"),
    ],
    ids=["no dense figure", "empty sweep", "empty sensitivity", "failed sensitivity"],
)
def test_a_study_of_little_can_be_drawn(made: Study) -> None:
    assert draw_figure(made, "svg")


def test_without_matplotlib_pictures_are_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(figure, "find_spec", lambda name: None)
    for suffix in (".svg", ".png", ".html"):
        with pytest.raises(UnsupportedError) as raised:
            check_study_suffix(Path(f"x{suffix}"))
        assert str(raised.value) == "plots need matplotlib"
        assert raised.value.hint == "pip install 'onnxprune[plots]'"
    for suffix in (".json", ".csv", ".md", ".txt", ".xml"):
        check_study_suffix(Path(f"x{suffix}"))


@pytest.mark.parametrize("suffix", sorted(STUDY_WRITERS))
def test_every_form_is_written(suffix: str, tmp_path: Path) -> None:
    starts = {
        ".json": b"{",
        ".csv": b"model,method,",
        ".md": b"## onnxprune ",
        ".xml": b"<?xml",
        ".svg": b"<?xml",
        ".png": b"\x89PNG",
        ".txt": b"sparsity ",
    }
    for number, made in enumerate((sweep(), found())):
        file = tmp_path / f"r{number}{suffix.upper()}"
        write_any(made, file)
        assert file.read_bytes().startswith(starts.get(suffix, b"<!DOCTYPE html>"))


@pytest.mark.parametrize("name", ["r", "r.pdf", ".csv"])
def test_a_suffix_that_tells_no_form_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_study_suffix(Path(name))
    assert str(raised.value) == (
        f"--report {name}: the suffix tells the form; choose one of"
        " .csv, .htm, .html, .json, .md, .png, .svg, .txt, .xml"
    )


def test_a_study_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "r.csv").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        write_study(sweep(), tmp_path / "r.csv")


def test_what_a_command_found_goes_to_its_own_form(tmp_path: Path) -> None:
    from rich.console import Console

    made = [report([tensor("w")]), check_report(result()), sweep(), found()]
    for each in made:
        stream = io.StringIO()
        print_any(each, Console(file=stream, width=80))
        assert stream.getvalue()
        write_any(each, tmp_path / "r.json")
        assert (tmp_path / "r.json").read_text() == to_json(each)
    for function in (
        to_json,
        lambda x: print_any(x, Console()),
        lambda x: write_any(x, tmp_path),
    ):
        with pytest.raises(TypeError, match="no report has the type str"):
            function("x")  # type: ignore[operator]


def test_a_suffix_is_checked_for_what_will_be_written() -> None:
    check_suffix(Path("r.svg"), study=True)
    check_suffix(Path("r.xml"), checked=True)
    for path in (Path("r.svg"), Path("r.xml")):
        with pytest.raises(UsageError):
            check_suffix(path)

"""Channels that went, for people and for machines."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from onnxprune.errors import UsageError
from onnxprune.outcomes import Latency, Sizes
from onnxprune.removals import Removal, RemovedChannels, Sameness
from onnxprune.report.channels import removal_facts
from onnxprune.report.checks import smaller_latency_text
from onnxprune.report.documents import REMOVAL_WRITERS, write_report
from onnxprune.report.forms import print_any, to_json, write_any
from onnxprune.report.removal_report import (
    print_removal,
    removal_to_html,
    removal_to_markdown,
    removal_to_text,
)
from tests.report.made_checks import HOSTILE, PLACE

GROUPS = (
    RemovedChannels(("conv1.weight", "conv3.weight"), 64, 32),
    RemovedChannels(("conv2.weight",), 16, 16, 4, "LSTM 'lstm' is not followed"),
    RemovedChannels(("fc.weight",), 10, 10, 0, "it reaches the model's output 'logits'"),
)
REMOVAL = Removal(
    model="m.onnx",
    sha256="0" * 64,
    output="m.shrunk.onnx",
    files=("m.shrunk.onnx", "m.shrunk-00000000.data"),
    groups=GROUPS,
    parameters=(1_000_000, 250_000),
    macs=(40_000_000, 10_000_000),
    sizes=Sizes(4_000_000, 1_000_000, 3_000_000, 900_000),
    same=Sameness(16, 2.5e-7, 1e-5, PLACE, "random:16", 16),
    latency=Latency(0.010, 0.0042, 101, 16, 0.02),
    verified="onnx.checker accepts it",
    warnings=("'w' is also an input: a caller can override it",),
    seconds=1.25,
)


def facts_of(removal: Removal) -> dict[str, str]:
    return {fact.label: fact.text for fact in removal_facts(removal)}


def test_the_facts_are_those_of_the_removal() -> None:
    assert facts_of(REMOVAL) == {
        "channels": "32 of 90 taken out; 4 that are zero stay",
        "stay zero": "4 (conv2.weight): LSTM 'lstm' is not followed",
        "weights": "1M -> 250k: 75.0 % less",
        "MACs": "40M -> 10M: 75.0 % less",
        "file": "4.00 MB -> 1.00 MB; compresses to about 900.00 kB (was 3.00 MB)",
        "latency": "10.00 ms -> 4.20 ms per batch of 16 (median of 101, interleaved):"
        " 58.0 % less time",
        "checked": "onnx.checker accepts it",
        "outputs": "the same outputs, within 2e-07 of the largest value (1e-05 is allowed)",
        "ran on": "CPUExecutionProvider, 2 threads, ONNX Runtime 1.31.1; 16 samples of"
        " random:16 in batches of 16",
        "wrote": "m.shrunk.onnx, m.shrunk-00000000.data in 1.2 s",
        "warning": "'w' is also an input: a caller can override it",
    }


def test_what_was_not_looked_at_is_not_told() -> None:
    bare = replace(REMOVAL, output=None, macs=None, same=None, latency=None, verified=None)
    assert facts_of(bare).keys() == {"channels", "stay zero", "weights", "file", "warning"}


@pytest.mark.parametrize(
    ("latency", "words"),
    [
        (Latency(0.01, 0.0101, 9, 1, 0.01), "no difference"),
        (Latency(0.01, 0.006, 9, 1, 0.5), "the runs themselves differ by more"),
        (Latency(0.01, 0.02, 9, 1, 0.1), "100.0 % more time"),
        (Latency(0.0, 0.0, 9, 1), "interleaved)"),
    ],
)
def test_a_difference_in_time_is_claimed_only_where_there_is_one(
    latency: Latency, words: str
) -> None:
    assert smaller_latency_text(latency).endswith(words)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    stream = io.StringIO()
    print_any(REMOVAL, Console(file=stream, width=width, force_terminal=False))
    assert all(cell_len(line) <= width for line in stream.getvalue().splitlines())
    assert "conv1.weight +1" in stream.getvalue().replace("\n", "")


def test_a_terminal_has_colours() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True, color_system="standard")
    print_removal(REMOVAL, console)
    assert "\x1b[" in stream.getvalue()


def test_json_has_every_field() -> None:
    found = json.loads(to_json(REMOVAL))
    assert found["schema"] == 1
    assert found["channels"] == {"before": 90, "removed": 32}
    assert found["parameters"] == {"before": 1_000_000, "after": 250_000}
    assert found["groups"][1]["reason"] == "LSTM 'lstm' is not followed"
    assert found["latency"]["ratio"] == pytest.approx(0.42)
    assert json.loads(to_json(replace(REMOVAL, macs=None)))["macs"] is None


def test_documents_have_the_table_and_the_facts() -> None:
    markdown = removal_to_markdown(REMOVAL)
    assert markdown.startswith("## onnxprune shrink: m.onnx -")
    assert "| conv2.weight | 16 | 16 | 4 |" in markdown
    html = removal_to_html(REMOVAL)
    assert "conv2.weight" in html
    assert "32 of 90 taken out" in html


@pytest.mark.parametrize("suffix", REMOVAL_WRITERS)
def test_every_form_is_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"r{suffix}"
    write_any(REMOVAL, path)
    assert "conv2.weight" in path.read_text()


def test_there_are_no_test_cases_in_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no test cases"):
        write_report(REMOVAL, tmp_path / "r.xml")


def test_strings_of_a_file_do_nothing_to_a_terminal() -> None:
    words = "".join(HOSTILE)
    wrong = RemovedChannels((words,), 2, 1, 1, words)
    text = removal_to_text(replace(REMOVAL, groups=(wrong,), warnings=(words,)))
    assert "\x1b" not in text

"""The table for people: it fits the width there is, whatever the names are."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from onnxprune.api import prune
from onnxprune.comparing import Comparison, LayerComparison
from onnxprune.report.terminal import bar, print_on, print_report, render_comparison
from onnxprune.types import Report, Skipped
from tests.report.made import report, tensor

WIDTHS = (60, 80, 100, 140)
ROOT = Path(__file__).resolve().parents[2]
LONG = [
    tensor("model/encoder/layers/11/attention/self/query/kernel" * 4, shape=(12, 34, 56, 7)),
    tensor("層" * 150, op="DequantizeLinear"),
    tensor("💩" * 199, op="QLinearConv" * 20, shape=(123456, 234567), zeros=28_958_703_552),
    tensor("a b " * 60, shape=(3,) * 12),
    tensor("x"),
]


def printed(made: Report, width: int, terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        legacy_windows=False,
    )
    print_report(made, console)
    return stream.getvalue()


def widest(text: str) -> int:
    plain = Text.from_ansi(text).plain
    return max(cell_len(line) for line in plain.splitlines())


@pytest.mark.parametrize("terminal", [False, True], ids=["log", "terminal"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_longer_than_the_width(width: int, terminal: bool) -> None:
    skipped = [Skipped("bias" * 60, "a reason " * 30), Skipped("層" * 90, "other")]
    warnings = ["'" + "w" * 300 + "' ends with no weight at all", "層" * 150]
    text = printed(report(LONG, skipped, warnings), width, terminal)
    assert widest(text) <= width
    assert "kernel" in text


NAMES = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=250)


@given(st.lists(NAMES, min_size=1, max_size=3), st.sampled_from(WIDTHS), st.booleans())
def test_no_name_makes_a_line_too_long(names: list[str], width: int, terminal: bool) -> None:
    made = report([tensor(name, shape=(123, 45, 6, 7)) for name in names])
    assert widest(printed(made, width, terminal)) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_the_numbers_are_never_cut(width: int) -> None:
    made = report([tensor(name * 60, zeros=31, shape=(8, 4)) for name in "ab"])
    rows = [line for line in printed(made, width).splitlines() if line.endswith("96.9 %")]
    rows += [line for line in printed(made, width).splitlines() if "96.9 %  " in line]
    assert len(rows) == 3
    for row in rows:
        assert re.search(r" (32 .* 31|64 .* 62) .*96\.9 %", row), row


@pytest.mark.parametrize("width", WIDTHS)
def test_a_long_name_is_folded_so_that_all_of_it_is_shown(width: int) -> None:
    name = "first/" + "0123456789" * 9 + "/last"
    lines = printed(report([tensor(name)]), width).splitlines()
    end = next(number for number, line in enumerate(lines) if line.startswith("total"))
    assert end > 2
    assert "".join(line.split()[0] for line in lines[1:end]) == name


def test_a_wider_terminal_shows_more_columns() -> None:
    made = report([tensor("a_tensor_with_an_ordinary_name")])
    heads = [set(printed(made, width).splitlines()[0].split()) for width in WIDTHS]
    assert {"tensor", "weights", "zeros", "sparsity"} <= heads[0]
    assert heads[0] < heads[1] < heads[2] < heads[3]
    assert heads[3] - heads[0] >= {"op", "shape", "type", "MACs", "kept", "before", "change"}


def test_what_is_not_known_has_no_column() -> None:
    made = report([tensor("w", macs=None)])
    assert not {"MACs", "kept"} & set(printed(made, 140).split())


def test_a_model_without_weights_has_an_empty_table() -> None:
    text = printed(report([], [Skipped("b", "bias")]), 80)
    assert "total" not in text
    assert "0 of 0 prunable weights (0.0 %)" in text
    assert "left alone  1 bias (b)" in text


@pytest.mark.parametrize(
    ("share", "blocks", "plain"),
    [
        (0.0, "", ""),
        (1e-6, "▏", "#"),
        (0.0125, "▏", "#"),
        (0.5, "█████", "#####"),
        (0.9, "█████████", "#########"),
        (1.0, "██████████", "##########"),
    ],
)
def test_a_bar_is_as_long_as_the_share(share: float, blocks: str, plain: str) -> None:
    assert bar(share, True) == blocks
    assert bar(share, False) == plain


@given(st.floats(0, 1))
def test_a_bar_shows_any_share_and_never_leaves_its_column(share: float) -> None:
    for blocks in (True, False):
        assert len(bar(share, blocks)) <= 10
        assert bool(bar(share, blocks)) == (share > 0)


@pytest.mark.parametrize("terminal", [False, True], ids=["plain", "terminal"])
def test_the_table_of_the_digits_is_the_golden_one(
    terminal: bool,
    golden: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits.onnx").write_bytes((ROOT / "examples/digits/digits.onnx").read_bytes())
    made = prune("digits.onnx", 0.9)
    text = re.sub(r"in \d+\.\d s", "in 0.0 s", printed(made, 80, terminal))
    # Other builds of zlib compress a little better or worse.
    text = re.sub(r"\d\d\d?\.\d\d(?= kB( \(was|\)))", "00.00", text)
    assert ("\x1b[" in text) == terminal
    golden(f"digits-{'terminal' if terminal else 'plain'}.txt", text)


def test_a_missing_golden_file_fails(
    golden: Callable[[str, str], None], request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--update-golden"):
        pytest.skip("golden files are being written")
    with pytest.raises(AssertionError, match="--update-golden writes it"):
        golden("none.txt", "")


def comparison(names: list[str]) -> Comparison:
    layers = tuple(LayerComparison(name, 1000, 0.5, 0.25, 0.5) for name in names)
    return Comparison(layers, 0.25, 0.25, None, 0.5, 0.375)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("plain", [False, True])
def test_a_comparison_fits_the_width(plain: bool, width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=not plain)
    print_on(console, render_comparison(comparison(["w" * 300, "層" * 99, "[/]"]), plain))
    assert widest(stream.getvalue()) <= width
    squeezed = "".join(stream.getvalue().split())
    assert "w" * 30 in squeezed
    assert "rankcorrelationnone" in squeezed
    assert "50.0%25.0%50.0%" in "".join(Text.from_ansi(stream.getvalue()).plain.split())

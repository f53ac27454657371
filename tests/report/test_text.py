"""Words and numbers of reports: nothing that a terminal acts on, no rounding that lies."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onnxprune.report.text import (
    change,
    count,
    facts,
    percent,
    shape,
    short,
    show,
    size,
    skipped_by_reason,
    skipped_line,
)
from onnxprune.types import Skipped, Tally, TensorReport
from tests.report.made import report, tensor, weight

LETTERS = st.one_of(
    st.integers(0, 0x10FFFF).map(chr),
    st.sampled_from(
        "\x00\x07\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200b\ufeff\ud800\udfff#:[]\n\r\t "
    ),
)


@given(st.text(LETTERS, max_size=300), st.integers(1, 250))
@example("::error file=x::w", 200)
@example("##vso[task.setvariable]", 200)
@example("\x1b" * 300, 200)
def test_what_is_shown_can_neither_act_nor_be_long(text: str, limit: int) -> None:
    shown = show(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
    kinds = {unicodedata.category(letter) for letter in shown}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert "::" not in shown
    assert "##[" not in shown
    assert "##vso[" not in shown
    shown.encode()


@given(
    st.text(
        st.characters(categories=["L", "N", "P", "S"], exclude_characters=":#"), max_size=200
    )
)
def test_ordinary_names_are_shown_as_they_are(text: str) -> None:
    assert show(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("w\x1b]0;pwned\x07\x1b[31m", r"w\x1b]0;pwned\x07\x1b[31m"),
        ("w\nERROR: fake", r"w\nERROR: fake"),
        ("safe\rw", r"safe\rw"),
        ("a\tb", r"a\tb"),
        ("w\u202egnp.exe", r"w\u202egnp.exe"),
        ("w\x9b31m", r"w\x9b31m"),
        ("w\x00z", r"w\x00z"),
        ("w\U000e0041", r"w\U000e0041"),
        ("w\udc80", r"w\udc80"),
        ("a\u00a0b\u3000c", "a b c"),
        ("::error file=x::w", r"\x3a:error file=x\x3a:w"),
        ("##[group]x", r"\x23#[group]x"),
        ("blocks[attn].weight", "blocks[attn].weight"),
        ("a: b", "a: b"),
        ("層.重み💩", "層.重み💩"),
    ],
)
def test_every_dangerous_letter_is_spelt_out(text: str, shown: str) -> None:
    assert show(text) == shown


def test_long_names_end_in_an_ellipsis() -> None:
    assert show("w" * 200) == "w" * 200
    assert show("w" * 201) == "w" * 199 + "…"


@pytest.mark.parametrize(
    ("share", "spelled"),
    [
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.5, "50.0 %"),
        (1e-9, "<0.1 %"),
        (1 - 1e-9, ">99.9 %"),
        (0.9995, ">99.9 %"),
        (0.0005, "0.1 %"),
        (0.899997, "90.0 %"),
    ],
)
def test_a_percentage_is_0_or_100_only_when_it_is_that(share: float, spelled: str) -> None:
    assert percent(share) == spelled


@given(st.fractions(0, 1))
def test_a_percentage_never_rounds_to_all_or_nothing(share: float) -> None:
    assert (percent(float(share)) == "0.0 %") == (float(share) == 0)
    assert (percent(float(share)) == "100.0 %") == (float(share) == 1)


@pytest.mark.parametrize(
    ("number", "spelled"),
    [
        (None, "?"),
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (9216, "9.22k"),
        (371_000, "371k"),
        (999_999, "1M"),
        (4_100_000_000, "4.1G"),
        (5 * 10**15, "5000T"),
    ],
)
def test_large_numbers_get_a_unit(number: int | None, spelled: str) -> None:
    assert short(number) == spelled


@pytest.mark.parametrize(
    ("number", "spelled"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (288_337, "288.34 kB"),
        (999_999, "1.00 MB"),
        (10**9, "1.00 GB"),
        (5 * 10**15, "5000.00 TB"),
    ],
)
def test_sizes_are_spelt_in_units_of_a_thousand(number: int | None, spelled: str) -> None:
    assert size(number) == spelled


def test_counts_and_shapes_are_easy_to_read() -> None:
    assert count(71568) == "71,568"
    assert shape((16, 1, 3, 3)) == "16x1x3x3"


def test_the_change_of_a_tensor_is_that_of_its_norm() -> None:
    assert change(tensor("w")) == "50.0 %"
    odd = TensorReport(weight("w"), Tally(0, 1, float("inf"), float("inf")), 1)
    assert change(odd) == "?"
    nothing = TensorReport(weight("w"), Tally(32, 32, 0.0, 0.0), 32)
    assert change(nothing) == "0.0 %"


def test_tensors_left_alone_are_grouped_by_reason_largest_first() -> None:
    skipped = [Skipped("e", "shape"), *(Skipped(name, "bias") for name in "abcd")]
    groups = skipped_by_reason(report([tensor("w")], skipped))
    assert [skipped_line(*group) for group in groups] == [
        "4 bias (a, b, c, …)",
        "1 shape (e)",
    ]


def test_the_facts_say_how_many_tensors_have_known_work() -> None:
    lines = {
        fact.label: fact.text for fact in facts(report([tensor("a"), tensor("b", macs=None)]))
    }
    assert lines["MACs"] == "32 dense, 16 on non-zeros in 1 of 2: 50.0 % less in theory"
    assert lines["zeros"] == "32 of 64 prunable weights (50.0 %), 43.2 % of all 74"
    assert lines["file"] == "1.00 kB -> 1.00 kB; compresses to 500 B (was 900 B)"
    assert lines["checked"] == "onnx.checker accepts it"
    assert "MACs" not in {fact.label for fact in facts(report([tensor("b", macs=None)]))}


@given(st.integers(0, 10**16))
def test_a_large_number_keeps_three_digits_and_reads_as_one(number: int) -> None:
    spelled = short(number)
    assert "e" not in spelled
    digits = spelled.rstrip("kMGT")
    factor = 1000 ** " kMGT".index(spelled.removeprefix(digits) or " ")
    assert float(digits) * factor == pytest.approx(number, rel=0.0051)

"""Gates: what they allow to the last sample, and what they say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.errors import GateFailed, InputError, UsageError
from onnxprune.outcomes import Accuracy, Condition, Measured, OutputCheck, OwnMetric
from onnxprune.trials.gate import Gate, failure_sentence, parse_limit


def with_accuracy(dense: int, pruned: int, total: int = 4000) -> Measured:
    lost = max(0, dense - pruned)
    top1 = Accuracy(total, dense, pruned, lost=lost, won=pruned - dense + lost)
    return Measured((OutputCheck("y", "scores", False, top1=top1),))


def with_decisions(agreed: int, kl: float | None, name: str = "y") -> OutputCheck:
    return OutputCheck(name, "scores", False, agreed=agreed, answers=1000, kl=kl)


def only(gate: Gate, measured: Measured) -> Condition:
    (condition,) = gate.conditions(measured)
    return condition


def test_a_gate_without_conditions_is_empty() -> None:
    assert not Gate()
    assert Gate().conditions(with_accuracy(1, 1)) == ()
    assert Gate(max_drop=0.0)
    assert Gate(max_kl=0.0)


def test_a_gate_is_spelled_as_options() -> None:
    assert Gate(max_drop=0.0, max_kl=0.25).options() == ("--max-drop 0", "--max-kl 0.25")
    assert Gate(min_accuracy=0.97, min_agreement=1.0).options() == (
        "--min-accuracy 0.97",
        "--min-agreement 1",
    )


def test_a_drop_passes_to_the_last_sample() -> None:
    gate = Gate(max_drop=0.01)
    assert only(gate, with_accuracy(3900, 3860)).passed
    assert not only(gate, with_accuracy(3900, 3859)).passed


@given(st.integers(1, 999), st.integers(1, 60))
def test_a_limit_is_the_decimal_number_that_was_written(thousandths: int, times: int) -> None:
    limit, total = thousandths / 1000, 1000 * times
    fallen = with_accuracy(total, total - thousandths * times, total)
    assert only(Gate(max_drop=limit), fallen).passed
    worse = with_accuracy(total, total - thousandths * times - 1, total)
    assert not only(Gate(max_drop=limit), worse).passed
    reached = with_accuracy(total, thousandths * times, total)
    assert only(Gate(min_accuracy=limit), reached).passed
    missed = with_accuracy(total, thousandths * times - 1, total)
    assert not only(Gate(min_accuracy=limit), missed).passed


def test_a_drop_that_is_too_large_says_by_how_much() -> None:
    condition = only(Gate(max_drop=0.01), with_accuracy(3900, 3848))
    assert condition == Condition(
        "--max-drop",
        0.01,
        0.013,
        False,
        "accuracy fell by 1.30 points (97.50 % -> 96.20 %: 52 of 4,000),"
        " --max-drop 0.01 allows 1.00",
    )


def test_a_drop_that_is_allowed_says_so() -> None:
    assert only(Gate(max_drop=0.01), with_accuracy(3900, 3880)).sentence == (
        "accuracy fell by 0.50 points (97.50 % -> 97.00 %: 20 of 4,000),"
        " within the 1.00 of --max-drop 0.01"
    )
    rise = only(Gate(max_drop=0.01), with_accuracy(3880, 3900))
    assert (rise.passed, rise.found) == (True, -0.005)
    assert rise.sentence == (
        "accuracy rose by 0.50 points (97.00 % -> 97.50 %: 20 of 4,000),"
        " --max-drop 0.01 allows a fall by 1.00"
    )
    assert only(Gate(max_drop=0.0), with_accuracy(3900, 3900)).sentence == (
        "accuracy did not change (97.50 % -> 97.50 %: 0 of 4,000),"
        " --max-drop 0 allows a fall by 0.00"
    )


def test_numbers_that_would_look_the_same_get_more_digits() -> None:
    sentence = only(Gate(max_drop=0.01), with_accuracy(10**6, 989_999, 10**6)).sentence
    assert "fell by 1.0001 points" in sentence
    assert sentence.endswith("--max-drop 0.01 allows 1.0000")
    close = only(Gate(min_accuracy=0.97), with_accuracy(10**6, 969_999, 10**6))
    assert close.sentence == (
        "accuracy 96.9999 % is below --min-accuracy 0.97 by 0.0001 points"
    )


def test_accuracy_is_held_against_its_least() -> None:
    measured = with_accuracy(3900, 3848)
    low = only(Gate(min_accuracy=0.97), measured)
    assert (low.passed, low.found, low.limit) == (False, 0.962, 0.97)
    assert low.sentence == "accuracy 96.20 % is below --min-accuracy 0.97 by 0.80 points"
    high = only(Gate(min_accuracy=0.96), measured)
    assert high.passed
    assert high.sentence == "accuracy 96.20 % is above --min-accuracy 0.96 by 0.20 points"
    exact = only(Gate(min_accuracy=0.962), measured)
    assert exact.passed
    assert exact.sentence == "accuracy 96.20 % is exactly --min-accuracy 0.962"


def test_the_worst_output_has_to_agree() -> None:
    measured = Measured((with_decisions(990, 0.01, "a"), with_decisions(931, 0.31, "b")))
    agreement = only(Gate(min_agreement=0.95), measured)
    assert not agreement.passed
    assert agreement.sentence == (
        "agreement 93.10 % of 'b' is below --min-agreement 0.95 by 1.90 points"
    )
    divergence = only(Gate(max_kl=0.25), measured)
    assert not divergence.passed
    assert divergence.sentence == "KL 0.310 of 'b' is above --max-kl 0.25 by 0.060"


def test_one_output_needs_no_name() -> None:
    measured = Measured((with_decisions(960, 0.2),))
    assert [
        each.sentence for each in Gate(min_agreement=0.95, max_kl=0.25).conditions(measured)
    ] == [
        "agreement 96.00 % is above --min-agreement 0.95 by 1.00 points",
        "KL 0.200 is below --max-kl 0.25 by 0.050",
    ]
    assert only(Gate(max_kl=0.2), measured).passed
    assert only(Gate(min_agreement=0.96), measured).passed


def test_an_infinite_divergence_fails() -> None:
    condition = only(Gate(max_kl=0.25), Measured((with_decisions(960, float("inf")),)))
    assert not condition.passed
    assert condition.sentence == "KL inf is above --max-kl 0.25 by inf"


def test_a_divergence_that_looks_like_its_limit_gets_more_digits() -> None:
    condition = only(Gate(max_kl=0.25), Measured((with_decisions(960, 0.25004),)))
    assert condition.sentence == "KL 0.25004 is above --max-kl 0.25 by 0.00004"


@pytest.mark.parametrize(
    ("gate", "option"),
    [(Gate(min_agreement=0.9), "--min-agreement"), (Gate(max_kl=0.1), "--max-kl")],
)
def test_without_decisions_there_is_nothing_to_agree_on(gate: Gate, option: str) -> None:
    with pytest.raises(InputError) as caught:
        gate.conditions(Measured((OutputCheck("y", "values", False, cosine=0.9),)))
    assert caught.value.message == f"{option}: no output makes decisions on classes"
    assert caught.value.hint == "--task classes"


def test_an_own_measure_takes_the_place_of_accuracy() -> None:
    measured = replace(with_accuracy(10, 0, 10), own=OwnMetric("iou.py:iou", 0.975, 0.962))
    drop, least = Gate(max_drop=0.01, min_accuracy=0.97).conditions(measured)
    assert drop.found == pytest.approx(0.013)
    assert drop.sentence == (
        "iou.py:iou fell by 0.0130 (0.9750 -> 0.9620), --max-drop 0.01 allows 0.0100"
    )
    assert least.sentence == "iou.py:iou 0.9620 is below --min-accuracy 0.97 by 0.0080"
    assert not drop.passed
    assert not least.passed


def test_rounding_does_not_fail_an_own_measure() -> None:
    assert 0.975 - 0.965 > 0.01
    measured = Measured((), OwnMetric("f", 0.975, 0.965))
    drop, least = Gate(max_drop=0.01, min_accuracy=0.965).conditions(measured)
    assert drop.passed
    assert least.passed
    assert (
        drop.sentence
        == "f fell by 0.0100 (0.9750 -> 0.9650), within the 0.0100 of --max-drop 0.01"
    )
    assert least.sentence == "f 0.9650 is exactly --min-accuracy 0.965"
    rise = only(Gate(max_drop=0.01), Measured((), OwnMetric("f", 0.5, 0.75)))
    assert rise.sentence == (
        "f rose by 0.2500 (0.5000 -> 0.7500), --max-drop 0.01 allows a fall by 0.0100"
    )


@pytest.mark.parametrize(
    ("gate", "option"),
    [(Gate(max_drop=0.01), "--max-drop"), (Gate(min_accuracy=0.9), "--min-accuracy")],
)
def test_accuracy_needs_something_that_says_what_is_right(gate: Gate, option: str) -> None:
    gate.check_possible(labelled=True, own=False)
    gate.check_possible(labelled=False, own=True)
    with pytest.raises(UsageError) as caught:
        gate.check_possible(labelled=False, own=False)
    assert caught.value.message == f"{option} needs labels or --metric; the set has neither"
    assert caught.value.hint == "--min-agreement and --max-kl need none"
    with pytest.raises(InputError) as unmeasured:
        gate.conditions(Measured((OutputCheck("y", "values", False),)))
    assert unmeasured.value.message == f"{option}: no output was compared with labels"


def test_agreement_needs_no_labels() -> None:
    Gate(min_agreement=0.9, max_kl=0.1).check_possible(labelled=False, own=False)


def test_failures_are_joined_and_passes_left_out() -> None:
    conditions = [
        Condition("--max-drop", 0.1, 0.2, False, "one"),
        Condition("--max-kl", 0.1, 0.0, True, "two"),
        Condition("--min-accuracy", 0.9, 0.2, False, "three"),
    ]
    assert failure_sentence(conditions) == "one; three"
    assert failure_sentence([]) == ""


def test_a_failed_gate_brings_its_report() -> None:
    error = GateFailed("accuracy fell", report="all of it")
    assert (error.exit_code, error.report, error.hint) == (10, "all of it", None)
    assert GateFailed("accuracy fell").report is None


@pytest.mark.parametrize(
    ("text", "limit"),
    [("0.01", 0.01), ("1%", 0.01), (" 0.7 % ", 0.007), ("0", 0.0), ("1", 1.0), ("100%", 1.0)],
)
def test_a_share_is_a_number_or_a_percentage(text: str, limit: float) -> None:
    assert parse_limit(text, "--max-drop") == limit


def test_a_divergence_is_any_number_from_zero() -> None:
    assert parse_limit("0.25", "--max-kl") == 0.25
    assert parse_limit("12", "--max-kl") == 12


@pytest.mark.parametrize(
    ("text", "option", "message", "hint"),
    [
        (
            "5",
            "--max-drop",
            "--max-drop takes a share from 0 to 1, not 5",
            "did you mean 0.05?",
        ),
        (
            "97.5",
            "--min-accuracy",
            "--min-accuracy takes a share from 0 to 1, not 97.5",
            "did you mean 0.975?",
        ),
        ("-0.1", "--max-drop", "--max-drop takes a share from 0 to 1, not -0.1", None),
        ("101%", "--max-drop", "--max-drop takes a share from 0 to 1, not 101%", None),
        ("1e99", "--max-drop", "--max-drop takes a share from 0 to 1, not 1e99", None),
        ("nan", "--max-drop", "--max-drop takes a share from 0 to 1, not nan", None),
        ("snan", "--max-drop", "--max-drop takes a share from 0 to 1, not snan", None),
        (
            "little",
            "--max-drop",
            "--max-drop takes a number, not 'little'",
            "write it like 0.01 or 1%",
        ),
        ("", "--max-drop", "--max-drop takes a number, not ''", "write it like 0.01 or 1%"),
        ("%", "--max-drop", "--max-drop takes a number, not '%'", "write it like 0.01 or 1%"),
        ("25%", "--max-kl", "--max-kl takes a number, not '25%'", "write it like 0.25"),
        ("-1", "--max-kl", "--max-kl takes a number from 0, not -1", None),
        ("inf", "--max-kl", "--max-kl takes a number from 0, not inf", None),
        ("1e999", "--max-kl", "--max-kl takes a number from 0, not 1e999", None),
    ],
)
def test_what_is_no_limit_is_refused(
    text: str, option: str, message: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_limit(text, option)
    assert (caught.value.message, caught.value.hint) == (message, hint)

"""Conditions that a pruned model has to meet, in exact arithmetic where counts allow it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from onnxprune.errors import InputError, UsageError
from onnxprune.outcomes import Accuracy, Condition, Measured, OutputCheck, OwnMetric

MAX_DROP, MIN_ACCURACY = "--max-drop", "--min-accuracy"
MIN_AGREEMENT, MAX_KL = "--min-agreement", "--max-kl"
TOLERANCE = 1e-12
"""By how much a sum of floating-point numbers may miss a decimal limit."""
MOST_DIGITS = 12

Number = Fraction | float


@dataclass(frozen=True, slots=True)
class Gate:
    """What is asked of a pruned model; None asks nothing.

    Args:
        max_drop: accuracy, or the user's own measure, falls by no more.
        min_accuracy: accuracy, or the user's own measure, is no less.
        min_agreement: the share of decisions that stay as they were, in every output.
        max_kl: the mean Kullback-Leibler divergence, in every output.
    """

    max_drop: float | None = None
    min_accuracy: float | None = None
    min_agreement: float | None = None
    max_kl: float | None = None

    def __bool__(self) -> bool:
        return bool(self.options())

    def options(self) -> tuple[str, ...]:
        """Spell the conditions that are set as options."""
        limits = (
            (MAX_DROP, self.max_drop),
            (MIN_ACCURACY, self.min_accuracy),
            (MIN_AGREEMENT, self.min_agreement),
            (MAX_KL, self.max_kl),
        )
        return tuple(f"{name} {_plain(limit)}" for name, limit in limits if limit is not None)

    def check_possible(self, labelled: bool, own: bool) -> None:
        """Refuse conditions on accuracy where nothing says what is right."""
        for option, limit in ((MAX_DROP, self.max_drop), (MIN_ACCURACY, self.min_accuracy)):
            if limit is not None and not (labelled or own):
                raise UsageError(
                    f"{option} needs labels or --metric; the set has neither",
                    f"{MIN_AGREEMENT} and {MAX_KL} need none",
                )

    def conditions(self, measured: Measured) -> tuple[Condition, ...]:
        """Compare what was measured with every limit that is set."""
        return tuple(self._compare(measured))

    def _compare(self, measured: Measured) -> Iterator[Condition]:
        if self.max_drop is not None:
            if measured.own is not None:
                yield _own_drop(measured.own, self.max_drop)
            else:
                yield _drop(_accuracy(measured, MAX_DROP), self.max_drop)
        if self.min_accuracy is not None:
            if measured.own is not None:
                yield _own_minimum(measured.own, self.min_accuracy)
            else:
                yield _minimum(_accuracy(measured, MIN_ACCURACY), self.min_accuracy)
        if self.min_agreement is not None:
            yield _agreement(measured, self.min_agreement)
        if self.max_kl is not None:
            yield _divergence(measured, self.max_kl)


def parse_limit(text: str, option: str) -> float:
    """Read a limit: a share such as `0.01` or `1%`, or any divergence from 0 for --max-kl."""
    stripped = text.strip()
    percent = stripped.endswith("%") and option != MAX_KL
    try:
        value = Decimal(stripped.removesuffix("%") if percent else stripped)
    except InvalidOperation as error:
        example = "0.25" if option == MAX_KL else "0.01 or 1%"
        raise UsageError(
            f"{option} takes a number, not '{text}'", f"write it like {example}"
        ) from error
    if option == MAX_KL:
        if not value.is_finite() or value < 0 or math.isinf(float(value)):
            raise UsageError(f"{option} takes a number from 0, not {text}")
        return float(value)
    if not value.is_finite() or not 0 <= value <= (100 if percent else 1):
        near = value.is_finite() and not percent and 1 < value <= 100
        hint = f"did you mean {float(value / 100)}?" if near else None
        raise UsageError(f"{option} takes a share from 0 to 1, not {text}", hint)
    return float(value / 100 if percent else value)


def failure_sentence(conditions: Sequence[Condition]) -> str:
    """Join what the conditions that do not hold say."""
    return "; ".join(each.sentence for each in conditions if not each.passed)


def _accuracy(measured: Measured, option: str) -> Accuracy:
    if measured.accuracy is None:
        raise InputError(
            f"{option}: no output was compared with labels",
            "--task classes does, if the labels fit; --metric measures in another way",
        )
    return measured.accuracy


def _drop(accuracy: Accuracy, limit: float) -> Condition:
    total = accuracy.total
    spelled = _spell(100 * abs(accuracy.drop), 100 * _exact(limit), 2)
    dense = _percent(Fraction(accuracy.dense, total))
    pruned = _percent(Fraction(accuracy.pruned, total))
    count = f"{abs(accuracy.dense - accuracy.pruned):,} of {total:,}"
    span = f"({dense} -> {pruned}: {count})"
    spelled = f"{spelled[0]} points", spelled[1]
    return _fall("accuracy", accuracy.drop, limit, spelled, span)


def _own_drop(own: OwnMetric, limit: float) -> Condition:
    drop = _settled(own.dense - own.pruned, limit)
    span = f"({own.dense:.4f} -> {own.pruned:.4f})"
    return _fall(own.name, drop, limit, _spell(abs(drop), limit, 4), span)


def _fall(
    subject: str, drop: Number, limit: float, spelled: tuple[str, str], span: str
) -> Condition:
    found, allowed = spelled
    passed = drop <= (_exact(limit) if isinstance(drop, Fraction) else limit)
    option = f"{MAX_DROP} {_plain(limit)}"
    if drop == 0:
        sentence = f"{subject} did not change {span}, {option} allows a fall by {allowed}"
    elif drop < 0:
        sentence = f"{subject} rose by {found} {span}, {option} allows a fall by {allowed}"
    elif passed:
        sentence = f"{subject} fell by {found} {span}, within the {allowed} of {option}"
    else:
        sentence = f"{subject} fell by {found} {span}, {option} allows {allowed}"
    return Condition(MAX_DROP, limit, float(drop), passed, sentence)


def _minimum(accuracy: Accuracy, limit: float) -> Condition:
    share = Fraction(accuracy.pruned, accuracy.total)
    return _least_share("accuracy", share, "", MIN_ACCURACY, limit)


def _own_minimum(own: OwnMetric, limit: float) -> Condition:
    found = _settled(own.pruned, limit)
    text, _ = _spell(found, limit, 4)
    sentence = f"{own.name} {text} {_beside(found, limit, MIN_ACCURACY, limit, 4)}"
    return Condition(MIN_ACCURACY, limit, found, found >= limit, sentence)


def _agreement(measured: Measured, limit: float) -> Condition:
    deciding = [each for each in measured.outputs if each.answers]
    if not deciding:
        raise _no_decisions(MIN_AGREEMENT)
    worst = min(deciding, key=lambda each: Fraction(each.agreed, each.answers))
    share = Fraction(worst.agreed, worst.answers)
    return _least_share("agreement", share, _whose(worst, deciding), MIN_AGREEMENT, limit)


def _least_share(
    subject: str, share: Fraction, whose: str, option: str, limit: float
) -> Condition:
    asked = _exact(limit)
    text, _ = _spell(100 * share, 100 * asked, 2)
    distance = _beside(100 * share, 100 * asked, option, limit, 2)
    points = "" if share == asked else " points"
    sentence = f"{subject} {text} %{whose} {distance}{points}"
    return Condition(option, limit, float(share), share >= asked, sentence)


def _divergence(measured: Measured, limit: float) -> Condition:
    found = [(each.kl, each) for each in measured.outputs if each.kl is not None]
    if not found:
        raise _no_decisions(MAX_KL)
    most, worst = max(found, key=lambda pair: pair[0])
    text, _ = _spell(most, limit, 3)
    whose = _whose(worst, [each for _, each in found])
    sentence = f"KL {text}{whose} {_beside(most, limit, MAX_KL, limit, 3)}"
    return Condition(MAX_KL, limit, most, most <= limit, sentence)


def _no_decisions(option: str) -> InputError:
    return InputError(f"{option}: no output makes decisions on classes", "--task classes")


def _whose(worst: OutputCheck, among: Sequence[OutputCheck]) -> str:
    """Name the output where there is more than one that it could be."""
    return f" of '{worst.name}'" if len(among) > 1 else ""


def _beside(found: Number, asked: Number, option: str, limit: float, digits: int) -> str:
    """Say on which side of a limit something is, and how far."""
    named = f"{option} {_plain(limit)}"
    if found == asked:
        return f"is exactly {named}"
    distance, _ = _spell(abs(float(found) - float(asked)), 0, digits)
    return f"is {'above' if found > asked else 'below'} {named} by {distance}"


def _spell(found: Number, limit: Number, digits: int) -> tuple[str, str]:
    """Spell two numbers with so many digits, or with more if they would look the same."""
    while True:
        texts = f"{float(found):.{digits}f}", f"{float(limit):.{digits}f}"
        if texts[0] != texts[1] or found == limit or digits >= MOST_DIGITS:
            return texts
        digits += 1


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.2f} %"


def _plain(limit: float) -> str:
    return f"{limit:.15g}"


def _exact(limit: float) -> Fraction:
    """Return the decimal number that was written."""
    return Fraction(repr(float(limit)))


def _settled(found: float, limit: float) -> float:
    """Return the limit itself for what differs from it by rounding alone."""
    return limit if abs(found - limit) <= TOLERANCE else found

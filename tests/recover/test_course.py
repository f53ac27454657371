"""The course of a training: rate, memory and falls over its length, by epochs and by time."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from onnxprune.recover import course as courses
from onnxprune.recover.course import Clock, Course, due, memory_at, rate_at

SHARES = [number / 1000 for number in range(1001)]


def course(epochs: int | None = None, budget: float | None = None) -> Course:
    return Course(epochs, budget, 0.1, "adamw", 4, 0)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, which passes when a test says so."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(courses, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_the_rate_rises_to_its_peak_and_ends_at_nearly_nothing() -> None:
    assert rate_at(0) == pytest.approx(1 / 25)
    assert rate_at(0.15) == pytest.approx((1 / 25 + 1) / 2)
    assert rate_at(0.3) == 1
    assert rate_at(0.65) == pytest.approx(0.5, abs=1e-5)
    assert rate_at(1) == pytest.approx(1 / 25 * 1e-4)
    rates = [rate_at(share) for share in SHARES]
    assert rates[:301] == sorted(rates[:301])
    assert rates[300:] == sorted(rates[300:], reverse=True)
    assert min(rates) > 0


def test_less_is_remembered_where_the_rate_is_high() -> None:
    assert memory_at(0) == pytest.approx(0.95)
    assert memory_at(0.3) == pytest.approx(0.85)
    assert memory_at(1) == pytest.approx(0.95)
    found = [memory_at(share) for share in SHARES]
    assert found[:301] == sorted(found[:301], reverse=True)
    assert found[300:] == sorted(found[300:])


def test_nothing_jumps() -> None:
    for at in (rate_at, memory_at):
        found = [at(share) for share in SHARES]
        assert max(abs(b - a) for a, b in pairwise(found)) < 0.01


def test_what_lasts_too_long_ends_as_it_ends() -> None:
    assert rate_at(1.5) == rate_at(1)
    assert memory_at(1.5) == memory_at(1)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_no_event_is_never_due_and_a_single_one_at_once(share: float) -> None:
    assert (due(share, 0), due(share, 1)) == (0, 1)


@pytest.mark.parametrize("events", [2, 3, 7, 10, 100])
def test_many_events_are_due_evenly_until_half_of_the_training(events: int) -> None:
    assert due(0, events) == 1
    found = [due(share, events) for share in SHARES]
    assert found == sorted(found)
    assert found[500:] == [events] * 501
    assert due(0.499, events) == events - 1
    for event in range(events):
        # The first event comes at once, the last one at a half.
        share = 0.5 * event / (events - 1)
        assert due(share, events) == event + 1
        assert event == 0 or due(share - 1e-4, events) == event


def test_epochs_are_counted_in_steps(seconds: SimpleNamespace) -> None:
    clock = Clock(course(epochs=4), 5)
    clock.start()
    assert (clock.epoch, clock.share) == (0, 0)
    clock.done = 7
    seconds.now += 1e6
    assert (clock.epoch, clock.share) == (1.4, 0.35)
    clock.done = 20
    assert clock.share == 1
    clock.done = 30
    assert clock.share == 1


def test_time_is_counted_from_the_start_and_from_earlier_runs(
    seconds: SimpleNamespace,
) -> None:
    clock = Clock(course(budget=60), 5)
    seconds.now += 500
    clock.start()
    assert clock.share == 0
    clock.done = 1000
    seconds.now += 15
    assert (clock.elapsed, clock.share) == (15, 0.25)
    later = Clock(course(budget=60), 5, spent=15)
    later.start()
    assert later.share == 0.25
    seconds.now += 30
    assert (later.elapsed, later.share) == (45, 0.75)
    seconds.now += 30
    assert later.share == 1


def test_what_is_used_up_first_ends_a_training(seconds: SimpleNamespace) -> None:
    clock = Clock(course(epochs=10, budget=100), 4)
    clock.start()
    clock.done = 10
    assert clock.share == 0.25
    seconds.now += 50
    assert clock.share == 0.5
    clock.done = 30
    assert clock.share == 0.75
    seconds.now += 60
    assert clock.share == 1


def test_no_epochs_are_over_with_the_first_one() -> None:
    clock = Clock(course(epochs=0), 4)
    assert clock.share == 0
    clock.done = 4
    assert clock.share == 1

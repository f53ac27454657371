"""Training towards the dense model: what it changes, what it keeps, and how it goes on."""

import copy
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from onnxprune.outcomes import Port
from onnxprune.recover import course as courses
from onnxprune.recover import distilling
from onnxprune.recover.augmenting import Augmenting
from onnxprune.recover.course import Course, memory_at, rate_at
from onnxprune.recover.distilling import Distillation, Progress
from onnxprune.recover.judging import Judge, Teacher
from onnxprune.recover.pool import Pool
from onnxprune.recover.state import State
from tests.recover.made import judge_of, opened, parts_of, pool_of, state_of, values_of
from tests.statistics.nets import Array, Net, drawn, samples_of, smooth

X = drawn(7, 20, 3)
MASKS = {"first": drawn(9, 3, 4) > -0.2, "second": drawn(8, 3, 4) > -0.2}
COURSE = Course(6, None, 0.1, "adamw", 6, 0)
"""18 samples are trained on, in three steps per epoch."""


class Stopped(Exception):  # noqa: N818 - a signal to the test itself
    """Ends a training from within, as an interruption does."""


@dataclass
class Bench:
    """A net that was pruned, ready to be trained, and what was told of it.

    Args:
        events: at which share each event came, by its number.
        kept: the progress after each epoch, with the state of the optimizer.
    """

    net: Net
    state: State
    pool: Pool
    judge: Judge
    training: Distillation
    falls: list[tuple[int, float]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> Progress:
        return self.training.run()


def bench(
    course: Course = COURSE,
    masks: dict[str, Array] | None = None,
    free: Sequence[str] | None = None,
    net: Net | None = None,
    pool: Pool | None = None,
    **choices: Any,
) -> Bench:
    net = smooth() if net is None else net
    state = state_of(net, free)
    pool = pool_of(samples_of(X), 6, 0.1) if pool is None else pool
    judge = judge_of(net, state, pool)
    judge.settle()
    state.put_masks(MASKS if masks is None else masks)
    given = {"augmenting": lambda order: Augmenting((), {}, order), **choices}
    training = Distillation(
        net, Teacher(net, state.dense), state, pool, judge, course, **given
    )
    made = Bench(net, state, pool, judge, training)

    def keep(progress: Progress, optimizer: dict[str, Any]) -> None:
        made.kept.append(
            {
                "done": progress.clock.done,
                "loss": progress.loss,
                "slower": progress.slower,
                "optimizer": copy.deepcopy(optimizer),
                "values": values_of(state),
            }
        )

    training.keep = keep
    return made


def single() -> Net:
    """The same net in single precision."""
    net = smooth()
    return Net(
        net.forward,
        {path: each.detach().numpy().astype(np.float32) for path, each in net.tensors.items()},
    )


def same(first: dict[str, Array], second: dict[str, Array]) -> bool:
    return all(np.array_equal(first[path], second[path]) for path in first)


def falling(made: Bench, order: Sequence[int]) -> Callable[[int], None]:
    """Let one more weight of `first` fall in each event, in an order."""

    def fall(step: int) -> None:
        mask = np.ones(12, bool)
        mask[list(order[:step])] = False
        made.state.put_masks({"first": mask})

    return fall


def by_size(made: Bench, events: int) -> Callable[[int], None]:
    """Let the smallest weights of `first` fall, as they are by then, half of them in all."""

    def fall(step: int) -> None:
        flat = abs(made.state.flat("first"))
        mask = np.ones(12, bool)
        mask[np.argsort(flat, kind="stable")[: round(6 * step / events)]] = False
        made.state.put_masks({"first": mask})

    return fall


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("net", [smooth, single])
def test_the_distance_to_the_dense_model_gets_smaller(
    net: Callable[[], Net], optimizer: str
) -> None:
    rate = 0.1 if optimizer == "adamw" else 0.02
    course = replace(COURSE, epochs=12, optimizer=optimizer, rate=rate)
    tensors = net()
    x = X.astype(tensors.tensors["first"].detach().numpy().dtype)
    made = bench(course, net=tensors, pool=pool_of(samples_of(x), 6, 0.2))
    before = made.judge.stand(made.state.current())
    progress = made.run()
    after = made.judge.stand(made.state.current())
    assert after.loss < 0.9 * before.loss
    assert progress.standing == after
    losses = [each["loss"] for each in made.kept]
    assert losses[-1] < 0.8 * losses[0]
    assert len(losses) == 12


def test_what_fell_stays_exactly_zero_after_every_step() -> None:
    made = bench()
    seen = []

    def told(progress: Progress) -> None:
        values = values_of(made.state)
        seen.append(all(bool((values[path][~MASKS[path]] == 0).all()) for path in MASKS))

    made.training.told = told
    made.run()
    assert seen == [True] * 18
    for path, mask in MASKS.items():
        assert bool(
            (values_of(made.state)[path][mask] != made.state.dense[path].numpy()[mask]).all()
        )


def test_what_is_not_free_stays_and_takes_no_gradient() -> None:
    made = bench(free=["first"])
    before = values_of(made.state)
    made.run()
    after = values_of(made.state)
    assert not np.array_equal(after["first"], before["first"])
    for path in ("bias", "second"):
        assert np.array_equal(after[path], before[path])
        assert made.state.values[path].grad is None


def test_the_dense_model_answers_as_it_did_before() -> None:
    made = bench()
    dense = {path: each.clone() for path, each in made.state.dense.items()}
    made.run()
    assert all(torch.equal(made.state.dense[path], each) for path, each in dense.items())


def test_a_seed_decides_every_bit() -> None:
    first, again, other = (bench(replace(COURSE, seed=seed)) for seed in (3, 3, 4))
    for made in (first, again, other):
        made.run()
    assert same(values_of(first.state), values_of(again.state))
    assert not same(values_of(first.state), values_of(other.state))


def test_every_epoch_goes_through_all_samples_but_those_that_are_held_out() -> None:
    made = bench(replace(COURSE, epochs=2))
    seen: list[list[int]] = []
    forward = made.net.forward

    def watching(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        if torch.is_grad_enabled():
            rows = feeds["x"].numpy()
            seen.append([int(abs(X - row).sum(1).argmin()) for row in rows])
        return forward(feeds, w)

    made.net.forward = watching
    made.run()
    assert [len(each) for each in seen] == [6] * 6
    epochs = [[*seen[0], *seen[1], *seen[2]], [*seen[3], *seen[4], *seen[5]]]
    trained = [number for number in range(20) if number not in (9, 19)]
    assert [sorted(each) for each in epochs] == [trained, trained]
    assert epochs[0] != epochs[1]


def test_each_tensor_goes_as_far_as_it_is_large_along_the_course() -> None:
    made = bench(replace(COURSE, epochs=4))
    made.run()
    for number, each in enumerate(made.kept):
        share = (each["done"] - 1) / 12
        assert each["done"] == 3 * (number + 1)
        for group, path in zip(
            each["optimizer"]["param_groups"], made.state.values, strict=True
        ):
            size = float(made.state.dense[path].square().mean().sqrt())
            assert group["lr"] == pytest.approx(0.1 * size * rate_at(share))
            assert group["betas"] == (pytest.approx(memory_at(share)), 0.999)


def test_a_tensor_of_zeros_can_be_left() -> None:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": feeds["x"] @ w["first"] + w["bias"]}

    net = Net(forward, {"first": drawn(1, 3, 4), "bias": np.zeros(4)})
    # What is taken from every sum is worth a bias.
    made = bench(net=net, masks={"first": np.arange(12).reshape(3, 4) >= 4})
    made.run()
    assert bool((values_of(made.state)["bias"] != 0).all())


def test_the_best_values_are_those_that_are_left() -> None:
    # Steps that are much too large: some epochs are worse than those before.
    made = bench(replace(COURSE, rate=1.0, epochs=5))
    standings = []
    judged = made.judge.stand

    def stand(tensors: Any) -> Any:
        standings.append((judged(tensors), values_of(made.state)))
        return standings[-1][0]

    made.judge.stand = stand  # type: ignore[method-assign]
    progress = made.run()
    losses = [standing.loss for standing, _ in standings]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1
    assert progress.standing == standings[best][0]
    assert same(values_of(made.state), standings[best][1])
    assert progress.at == pytest.approx((best + 1) / 5)


def test_a_training_that_gets_no_further_ends() -> None:
    made = bench(replace(COURSE, epochs=30), masks={})
    progress = made.run()
    # The dense model is as good as can be: nothing is better than the first epoch's values.
    assert progress.clock.epoch < 30
    assert progress.clock.share - progress.at > 0.34


def test_the_dense_model_answers_for_the_samples_as_they_were_changed() -> None:
    x = drawn(3, 8, 1, 8, 8)

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": feeds["x"].flatten(1) @ w["first"]}

    net = Net(forward, {"first": drawn(4, 64, 3)})
    ways: dict[str, Any] = {
        "augmenting": lambda order: Augmenting(("flip", "shift", "mix"), {"x": 1}, order)
    }
    pool = pool_of(samples_of(x), 4)
    made = bench(replace(COURSE, epochs=1), masks={}, net=net, pool=pool, **ways)
    made.run()
    assert [each["loss"] for each in made.kept] == [0]


def fixed_pool(size: int) -> Pool:
    return pool_of(samples_of(X, fixed=size), 6, 0.1)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_model_that_fixes_its_batch_takes_the_same_steps(size: int) -> None:
    """A step adds up what several runs give, of which the last may be filled up."""
    plain, made = bench(), bench(pool=fixed_pool(size))
    spread = dict(plain.judge._matched.spreads)
    made.judge._matched.spreads.update(spread)
    for each in (plain, made):
        each.run()
    assert [each["done"] for each in made.kept] == [each["done"] for each in plain.kept]
    found, wanted = values_of(made.state), values_of(plain.state)
    for path in wanted:
        np.testing.assert_allclose(found[path], wanted[path], rtol=1e-4, atol=1e-5)


def test_a_model_that_fixes_a_larger_batch_than_a_step_takes_that() -> None:
    made = bench(replace(COURSE, epochs=2), pool=fixed_pool(16))
    assert made.run().clock.steps == 2
    assert [each["done"] for each in made.kept] == [2, 4]


def test_samples_of_differing_shapes_are_trained_on_one_by_one() -> None:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": torch.tanh(feeds["x"][..., None] * w["bias"]).mean(1) @ w["first"]}

    parts = [{"x": drawn(seed, 1, 2 + seed)} for seed in range(6)]
    pool = pool_of(opened(parts_of(*parts), Port("x", "float64", (None, None))), 6, 0.1)
    assert pool.batches
    net = Net(forward, {"bias": drawn(1, 5), "first": drawn(2, 5, 3)})
    mask = {"first": drawn(3, 5, 3) > 0}
    made = bench(replace(COURSE, epochs=10), net=net, pool=pool, masks=mask)
    before = made.judge.stand(made.state.current())
    progress = made.run()
    assert progress.clock.steps == 5
    assert made.judge.stand(made.state.current()).loss < before.loss
    assert bool((values_of(made.state)["first"][~mask["first"]] == 0).all())


def events_of(events: int, course: Course) -> tuple[Bench, list[tuple[int, int]]]:
    """Train while weights fall; return which event came after how many steps."""
    made = bench(course, masks={}, events=events)
    seen: list[tuple[int, int]] = []
    steps = [0]
    fall = falling(made, list(range(12)))

    def told(progress: Progress) -> None:
        steps[0] += 1

    def noted(step: int) -> None:
        seen.append((step, steps[0]))
        fall(step)

    made.training.told, made.training.fall = told, noted
    progress = made.run()
    assert progress.events == events
    return made, seen


@pytest.mark.parametrize("events", [2, 5, 9])
def test_weights_fall_in_order_and_the_last_before_half_of_the_training_is_over(
    events: int,
) -> None:
    made, seen = events_of(events, replace(COURSE, epochs=6))
    assert [event for event, _ in seen] == list(range(1, events + 1))
    after = [step for _, step in seen]
    assert after[0] == 0
    assert after == sorted(set(after))
    assert after[-1] == 9
    flat = values_of(made.state)["first"].reshape(-1)
    assert np.flatnonzero(flat == 0).tolist() == list(range(events))


def test_events_of_which_several_are_due_are_one() -> None:
    made, seen = events_of(12, replace(COURSE, epochs=2))
    numbers = [event for event, _ in seen]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 12
    assert len(numbers) == 4
    assert seen[-1][1] == 3
    assert not values_of(made.state)["first"].any()


def test_only_values_after_the_last_weights_fell_can_be_the_best() -> None:
    made, _ = events_of(6, replace(COURSE, epochs=6))
    assert made.state.masks["first"].sum() == 6
    assert np.count_nonzero(values_of(made.state)["first"]) == 6


def spoilt(made: Bench, wrong: Callable[[int], bool]) -> list[dict[str, Array]]:
    """Let the loss of some training steps be no number; return the values before each step."""
    forward = made.net.forward
    seen: list[dict[str, Array]] = []

    def spoiling(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        found = forward(feeds, w)
        if torch.is_grad_enabled():
            if wrong(len(seen)):
                found = {"y": found["y"] * math.nan}
            seen.append(values_of(made.state))
        return found

    made.net.forward = spoiling
    return seen


def test_a_loss_that_is_no_number_goes_back_and_on_at_half_the_rate() -> None:
    made = bench()
    seen = spoilt(made, lambda step: step == 4)
    progress = made.run()
    # The second epoch began with step 3; it begins anew after step 4.
    assert not same(seen[4], seen[3])
    assert same(seen[5], seen[3])
    assert (progress.failures, progress.slower) == (1, 2)
    assert progress.notes == [
        "the loss was no number in epoch 1: training went on at half the rate"
    ]
    rates = [each["optimizer"]["param_groups"][0]["lr"] for each in made.kept]
    size = float(made.state.dense["first"].square().mean().sqrt())
    for each, rate in zip(made.kept, rates, strict=True):
        share = (each["done"] - 1) / 18
        assert rate == pytest.approx(0.1 * size * rate_at(share) / each["slower"])
    assert [each["slower"] for each in made.kept] == [1.0] + [2.0] * (len(rates) - 1)
    assert all(bool(np.isfinite(each).all()) for each in values_of(made.state).values())
    for path, mask in MASKS.items():
        assert bool((values_of(made.state)[path][~mask] == 0).all())


def test_a_training_that_always_runs_away_ends_with_the_values_that_it_began_with() -> None:
    made = bench()
    before = values_of(made.state)
    seen = spoilt(made, lambda step: True)
    progress = made.run()
    assert len(seen) == 4
    assert progress.failures == 4
    assert (
        progress.notes[:3]
        == ["the loss was no number in epoch 0: training went on at half the rate"] * 3
    )
    assert progress.notes[3] == "the loss was no number in epoch 0: training ended"
    assert same(values_of(made.state), before)


def test_a_training_that_runs_away_late_ends_with_its_best_values() -> None:
    made = bench()
    spoilt(made, lambda step: step >= 6)
    progress = made.run()
    assert progress.failures == 4
    assert progress.standing is not None
    found = made.judge.stand(made.state.current())
    assert found == progress.standing
    assert any(same(values_of(made.state), each["values"]) for each in made.kept)


def test_weights_that_fell_in_an_epoch_that_is_gone_back_from_stay_away() -> None:
    made = bench(masks={}, events=2)
    fall = falling(made, [3, 5, 7])
    made.training.fall = lambda step: fall(3 if step == 2 else 0)
    # The second event comes before step 9, which is the first of its epoch.
    seen = spoilt(made, lambda step: step == 10)
    made.run()
    flat = [each["first"].reshape(-1) for each in seen]
    assert np.flatnonzero(flat[8] == 0).tolist() == []
    assert [np.flatnonzero(each == 0).tolist() for each in flat[9:13]] == [[3, 5, 7]] * 4
    assert np.flatnonzero(values_of(made.state)["first"].reshape(-1) == 0).tolist() == [
        3,
        5,
        7,
    ]


def test_all_weights_that_have_to_fall_do_even_if_a_training_runs_away() -> None:
    made = bench(masks={}, events=6)
    made.training.fall = falling(made, list(range(12)))
    spoilt(made, lambda step: True)
    made.run()
    flat = values_of(made.state)["first"].reshape(-1)
    assert np.flatnonzero(flat == 0).tolist() == list(range(6))


def test_values_that_a_last_step_made_no_numbers_are_not_gone_back_to() -> None:
    """The loss of a step may be finite, and its gradient not."""
    made = bench(replace(COURSE, batch=18))
    before = values_of(made.state)
    forward = made.net.forward
    steps = [0]

    def overflowing(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        found = forward(feeds, w)["y"]
        if torch.is_grad_enabled():
            steps[0] += 1
            if steps[0] == 1:
                # The root of nothing is nothing; its slope is infinite.
                found = found + (0 * w["first"].sum()).sqrt()
        return {"y": found}

    made.net.forward = overflowing
    made.run()
    assert all(bool(np.isfinite(each).all()) for each in values_of(made.state).values())
    assert not same(values_of(made.state), before)


def saved(made: Bench, epochs: int) -> io.BytesIO:
    """Train until some epochs are over, and return all that is needed to go on."""
    buffer = io.BytesIO()
    calls = [0]

    def keep(progress: Progress, optimizer: dict[str, Any]) -> None:
        calls[0] += 1
        if calls[0] < epochs:
            return
        clock = progress.clock
        content = {
            "values": {path: each.detach() for path, each in made.state.values.items()},
            "masks": made.state.masks,
            "best": progress.best,
            "optimizer": optimizer,
            "order": progress.order.get_state(),
            "rest": [clock.done, progress.events, progress.slower, progress.at, progress.loss],
        }
        torch.save(content, buffer)
        made.kept.append({"standing": progress.standing})
        raise Stopped

    made.training.keep = keep
    with pytest.raises(Stopped):
        made.run()
    buffer.seek(0)
    return buffer


def go_on(made: Bench, buffer: io.BytesIO, stopped: Bench) -> Progress:
    """Go on with a training from where another one stopped."""
    content = torch.load(buffer, weights_only=True)
    made.state.masks.clear()
    made.state.masks.update(content["masks"])
    made.state.restore(content["values"])
    progress = made.training.begin()
    progress.best, progress.standing = content["best"], stopped.kept[-1]["standing"]
    progress.order.set_state(content["order"])
    progress.clock.done, progress.events, *rest = content["rest"]
    progress.slower, progress.at, progress.loss = rest
    return made.training.run((progress, content["optimizer"]))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("epochs", [1, 3, 5])
def test_a_training_that_is_gone_on_with_gives_the_bits_of_one_that_was_never_stopped(
    epochs: int, optimizer: str
) -> None:
    course = replace(COURSE, optimizer=optimizer, rate=0.05)
    x = drawn(3, 20, 3, 8, 8)

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {
            "y": torch.tanh(feeds["x"].mean((2, 3)) @ w["first"] + feeds["x"][:, 0, :4, 0])
        }

    def begun() -> Bench:
        ways: dict[str, Any] = {
            "augmenting": lambda order: Augmenting(("flip", "mix"), {"x": 1}, order)
        }
        net = Net(forward, {"first": drawn(1, 3, 4)})
        pool = pool_of(samples_of(x), 6)
        made = bench(course, masks={}, net=net, pool=pool, events=4, **ways)
        made.training.fall = by_size(made, 4)
        return made

    whole, stopped, later = begun(), begun(), begun()
    wanted = whole.run()
    buffer = saved(stopped, epochs)
    found = go_on(later, buffer, stopped)
    assert same(values_of(later.state), values_of(whole.state))
    assert np.count_nonzero(values_of(later.state)["first"]) == 6
    assert (found.clock.done, found.events) == (wanted.clock.done, wanted.events)
    assert (found.standing, found.loss, found.at) == (wanted.standing, wanted.loss, wanted.at)
    assert [each["done"] for each in later.kept] == [
        each["done"] for each in whole.kept[epochs:]
    ]


def test_a_training_that_had_ended_before_its_time_is_not_gone_on_with() -> None:
    course = replace(COURSE, epochs=30)
    whole, stopped, later = (bench(course, masks={}) for _ in range(3))
    wanted = whole.run()
    assert wanted.clock.share < 1
    found = go_on(later, saved(stopped, len(whole.kept)), stopped)
    assert (later.kept, found.clock.done) == ([], wanted.clock.done)


def test_a_budget_of_time_ends_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = [0.0]

    def passing() -> float:
        ticks[0] += 1
        return ticks[0]

    monkeypatch.setattr(courses, "time", SimpleNamespace(monotonic=passing))
    monkeypatch.setattr(distilling, "PATIENCE", 1.0)
    made = bench(replace(COURSE, epochs=None, budget=60.0), masks={}, events=5)
    made.training.fall = falling(made, list(range(12)))
    progress = made.run()
    assert progress.clock.share == 1
    assert progress.events == 5
    assert 0 < progress.clock.done < 60
    assert progress.standing is not None
    assert np.count_nonzero(values_of(made.state)["first"]) == 7


def test_weights_fall_even_if_time_is_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = [0.0]

    def passing() -> float:
        ticks[0] += 1000
        return ticks[0]

    monkeypatch.setattr(courses, "time", SimpleNamespace(monotonic=passing))
    made = bench(replace(COURSE, epochs=None, budget=60.0), masks={}, events=5)
    made.training.fall = falling(made, list(range(12)))
    progress = made.run()
    assert progress.clock.done == 0
    assert math.isnan(progress.loss)
    assert np.count_nonzero(values_of(made.state)["first"]) == 7
    assert progress.standing is not None

"""How a model stands by the samples that were held out, computed by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from onnxprune.errors import OnnxpruneError, UnsupportedError, UsageError
from onnxprune.recover.judging import Judge, Teacher
from onnxprune.recover.matching import Matched
from onnxprune.recover.state import State
from onnxprune.recoveries import Standing
from onnxprune.statistics.targets import Target
from tests.recover.made import SCORES, judge_of, pool_of, state_of
from tests.statistics.nets import Array, Net, drawn, samples_of

X = drawn(1, 20, 3)
LABELS = np.arange(20) * 3 % 4
WEIGHT, OTHER = drawn(2, 3, 4), drawn(3, 3, 4)
NUMBERS = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]
HELD, ANSWERS = X[NUMBERS], LABELS[NUMBERS]


def net(*outputs: str) -> Net:
    """One product; other names of its scores are outputs, too, the k-th times k + 1."""
    names = outputs or ("y",)

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        scores = feeds["x"] @ w["first"]
        return {name: scores * (at + 1) for at, name in enumerate(names)}

    return Net(forward, {"first": WEIGHT})


def made(
    net: Net,
    labels: Array | None = None,
    targets: Sequence[Target] = (SCORES,),
    fixed: int | None = None,
    **choices: Any,
) -> tuple[Judge, State]:
    state = state_of(net)
    pool = pool_of(samples_of(X, labels, fixed), 4, 0.5)
    assert pool.held == NUMBERS
    return judge_of(net, state, pool, Matched(list(targets)), **choices), state


def other() -> dict[str, Tensor]:
    return {"first": torch.from_numpy(OTHER)}


def off(scores: Array, dense: Array) -> float:
    return float(((scores - dense) ** 2).mean() / dense.var())


def entropy(scores: Array, labels: Array) -> float:
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return float(-np.log(shares[np.arange(len(labels)), labels]).mean())


def test_the_dense_model_is_no_way_from_itself() -> None:
    judge, _ = made(net())
    assert judge.settle() == Standing(0.0, 1.0, None)
    assert judge.count == 10


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_another_model_stands_as_its_outputs_on_what_was_held_out(batch: int) -> None:
    judge, _ = made(net(), LABELS, batch=batch)
    dense = judge.settle()
    found = judge.stand(other())
    choice, wanted = (HELD @ OTHER).argmax(1), (HELD @ WEIGHT).argmax(1)
    assert found.loss == pytest.approx(off(HELD @ OTHER, HELD @ WEIGHT), rel=1e-5)
    assert found.agreement == (choice == wanted).mean()
    assert found.accuracy == (choice == ANSWERS).mean()
    assert dense.accuracy == (wanted == ANSWERS).mean()
    assert found.agreement not in (0, 1)


def test_judging_changes_nothing() -> None:
    model = net()
    judge, state = made(model)
    judge.settle()
    judge.stand(other())
    assert np.array_equal(state.values["first"].detach(), WEIGHT)
    assert state.values["first"].grad is None


def test_a_model_that_is_changed_in_place_is_compared_with_what_it_was() -> None:
    judge, state = made(net())
    state.put("first", OTHER)
    assert judge.settle().loss == 0
    wanted = off(HELD @ OTHER, HELD @ WEIGHT)
    assert judge.stand(state.current()).loss == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("fixed", [3, 16])
def test_rows_that_fill_up_batches_of_fixed_size_are_no_decisions(fixed: int) -> None:
    judge, _ = made(net(), LABELS, fixed=fixed, label_weight=0.5)
    plain, _ = made(net(), LABELS, label_weight=0.5)
    assert judge.count == 10
    dense, whole = judge.settle(), plain.settle()
    assert (dense.agreement, dense.accuracy) == (1, whole.accuracy)
    # Of the dense model nothing but what labels add is left.
    assert dense.loss == pytest.approx(whole.loss, rel=1e-6)
    found, wanted = judge.stand(other()), plain.stand(other())
    assert (found.agreement, found.accuracy) == (wanted.agreement, wanted.accuracy)


@pytest.mark.parametrize("fixed", [3, 16])
def test_rows_that_fill_up_batches_of_fixed_size_are_no_part_of_distance_or_spread(
    fixed: int,
) -> None:
    judge, _ = made(net(), fixed=fixed)
    judge.settle()
    wanted = off(HELD @ OTHER, HELD @ WEIGHT)
    assert judge.stand(other()).loss == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("axis", [None, 1, -1])
def test_labels_add_their_cross_entropy_by_its_weight(axis: int | None) -> None:
    """Softmax and ArgMax may say that classes lie in the last dimension."""
    targets = [Target("y", "p", "scores", axis)]
    judge, _ = made(net(), LABELS, targets, label_weight=0.25)
    dense = judge.settle()
    found = judge.stand(other())
    assert dense.loss == pytest.approx(0.25 * entropy(HELD @ WEIGHT, ANSWERS), rel=1e-5)
    wanted = off(HELD @ OTHER, HELD @ WEIGHT) + 0.25 * entropy(HELD @ OTHER, ANSWERS)
    assert found.loss == pytest.approx(wanted, rel=1e-5)


def test_labels_of_probabilities_add_their_logarithms() -> None:
    """Where something is between the softmax and the output, or no softmax makes them."""

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": torch.softmax(feeds["x"] @ w["first"], 1)}

    model = Net(forward, {"first": WEIGHT})
    judge, _ = made(model, LABELS, [Target("y", "y", "probabilities")], label_weight=0.25)
    wanted = 0.25 * entropy(HELD @ WEIGHT, ANSWERS)
    # A little is added to probabilities, so that those of nothing have a logarithm.
    assert judge.settle().loss == pytest.approx(wanted, rel=1e-3)


def test_labels_without_a_weight_tell_only_the_accuracy() -> None:
    judge, _ = made(net(), LABELS)
    assert judge.settle().loss == 0
    assert judge.stand(other()).loss == pytest.approx(
        off(HELD @ OTHER, HELD @ WEIGHT), rel=1e-5
    )


def test_labels_are_about_the_first_output_and_all_outputs_agree_or_not() -> None:
    targets = [SCORES, Target("z", "z", "scores", 1)]
    model = net("y", "z")
    judge, _ = made(model, LABELS, targets, label_weight=1.0)
    judge.settle()

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": feeds["x"] @ w["first"], "z": 2 * feeds["x"] @ torch.from_numpy(WEIGHT)}

    model.forward = forward
    found = judge.stand(other())
    dense = HELD @ WEIGHT
    same = ((HELD @ OTHER).argmax(1) == dense.argmax(1)).mean()
    assert found.agreement == pytest.approx((same + 1) / 2)
    assert found.accuracy == ((HELD @ OTHER).argmax(1) == ANSWERS).mean()
    wanted = off(HELD @ OTHER, dense) / 2 + entropy(HELD @ OTHER, ANSWERS)
    assert found.loss == pytest.approx(wanted, rel=1e-5)


def test_outputs_without_classes_have_no_decisions() -> None:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": (feeds["x"] @ w["first"]).sum(1)}

    judge, _ = made(Net(forward, {"first": WEIGHT}), LABELS, [Target("y", "y")])
    judge.settle()
    found = judge.stand(other())
    assert (found.agreement, found.accuracy) == (None, None)
    wanted = off((HELD @ OTHER).sum(1), (HELD @ WEIGHT).sum(1))
    assert found.loss == pytest.approx(wanted, rel=1e-5)


def test_every_place_of_a_map_is_a_decision() -> None:
    labels = np.arange(40).reshape(20, 2) % 3
    x = drawn(4, 20, 3, 2)

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": feeds["x"] * w["first"][:, None]}

    model = Net(forward, {"first": np.ones(3)})
    state = state_of(model, [])
    pool = pool_of(samples_of(x, labels), 4, 0.5)
    with pytest.raises(UsageError, match="one for each row of scores"):
        judge_of(model, state, pool, label_weight=1.0).settle()
    judge = judge_of(model, state, pool)
    dense = judge.settle()
    assert dense.loss == 0
    assert dense.accuracy == (x[NUMBERS].argmax(1) == labels[NUMBERS]).mean()
    scale = np.array([5.0, 1.0, -1.0])
    found = judge.stand({"first": torch.from_numpy(scale)})
    choice = (x[NUMBERS] * scale[:, None]).argmax(1)
    assert found.agreement == (choice == x[NUMBERS].argmax(1)).mean()
    assert found.accuracy == (choice == labels[NUMBERS]).mean()


def test_labels_that_are_no_class_of_the_model_are_an_error_with_words() -> None:
    judge, _ = made(net(), LABELS + 1, label_weight=0.5)
    with pytest.raises(OnnxpruneError):
        judge.settle()


def test_what_torch_cannot_compute_is_said_of_the_samples() -> None:
    judge, _ = made(net())
    judge.settle()
    with pytest.raises(UnsupportedError, match="samples 1 to "):
        judge.stand({"first": torch.zeros(5, 4)})


def test_a_teacher_answers_with_its_own_values_and_without_gradients() -> None:
    model = net()
    teacher = Teacher(model, {"first": torch.from_numpy(WEIGHT)})
    with torch.no_grad():
        model.tensors["first"].zero_()
    found = teacher.answer({"x": torch.from_numpy(X)})["y"]
    assert np.allclose(found, X @ WEIGHT)
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("loss", "other", "better"),
    [
        (0.1, 0.2, True),
        (0.2, 0.2, False),
        (0.3, 0.2, False),
        (float("nan"), 0.2, False),
        (0.2, float("nan"), True),
        (float("nan"), float("nan"), False),
        (float("inf"), float("nan"), False),
        (0.2, float("inf"), True),
    ],
)
def test_what_is_closer_is_better_and_what_is_no_number_never_is(
    loss: float, other: float, better: bool
) -> None:
    assert Standing(loss).better_than(Standing(other)) is better

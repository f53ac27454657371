"""The diagonal Gauss-Newton matrix against Jacobians that are written out."""

import numpy as np
import pytest
import torch
from torch import Tensor

from onnxprune.errors import LimitError, UsageError
from onnxprune.statistics import curvature as module
from tests.statistics.nets import (
    Array,
    Net,
    collector,
    convolving,
    drawn,
    measured,
    samples_of,
    smooth,
)

X = drawn(7, 10, 3)
IMAGES = drawn(8, 10, 1, 5, 5)
LABELS = np.arange(10) % 3
PAIRS = pytest.mark.parametrize(("made", "x"), [(smooth, X), (convolving, IMAGES)])


def jacobians(net: Net, x: Array, path: str) -> tuple[Array, Array]:
    """Return d log p_c / dw as [samples, classes, weights], and p, sample by sample."""
    rows, shares = [], []
    for sample in x:

        def logarithms(weight: Tensor, sample: Array = sample) -> Tensor:
            scores = net.compute({"x": torch.from_numpy(sample[None])}, {path: weight})["y"]
            return (scores.exp() / scores.exp().sum()).log()[0]

        weight = net.tensors[path].detach()
        found = torch.autograd.functional.jacobian(logarithms, weight)
        rows.append(found.detach().reshape(3, -1).numpy())  # type: ignore[union-attr]
        shares.append(logarithms(weight).detach().exp().numpy())
    return np.stack(rows), np.stack(shares)


def exact(net: Net, x: Array, path: str) -> Array:
    rows, shares = jacobians(net, x, path)
    total = np.zeros(rows.shape[2])
    for sample in range(len(x)):
        for label in range(3):
            total += shares[sample, label] * rows[sample, label] ** 2
    return np.asarray(total / len(x))


@PAIRS
@pytest.mark.parametrize("batch", [10, 3, 1])
def test_the_exact_curvature_is_that_of_explicit_jacobians(
    made: type[Net], x: Array, batch: int
) -> None:
    net = made()  # type: ignore[call-arg]
    found = measured(net, samples_of(x, LABELS), "curvature", batch=batch, batches_per_step=10)
    for path in net.tensors:
        assert found[path].shape == net.tensors[path].shape
        wanted = exact(net, x, path)
        np.testing.assert_allclose(found[path].reshape(-1), wanted, rtol=1e-12, atol=1e-15)


def test_the_exact_curvature_asks_for_no_labels() -> None:
    measuring = collector(smooth(), samples_of(X))
    without = measuring.collect(["curvature"], None, 1)["curvature"]
    with_labels = measured(smooth(), samples_of(X, LABELS), "curvature")
    for path in without:
        assert np.array_equal(without[path], with_labels[path])
    assert measuring.notes == []


@PAIRS
def test_samples_one_by_one_give_what_they_give_at_once(made: type[Net], x: Array) -> None:
    mapping = collector(made(), samples_of(x, LABELS))  # type: ignore[call-arg]
    at_once = mapping.collect(["curvature"], None, 1)["curvature"]
    assert mapping._by_sample
    measuring = collector(made(), samples_of(x, LABELS))  # type: ignore[call-arg]
    measuring._by_sample = False
    one_by_one = measuring.collect(["curvature"], None, 1)["curvature"]
    for path in at_once:
        np.testing.assert_allclose(one_by_one[path], at_once[path], rtol=1e-12, atol=1e-16)


@PAIRS
def test_little_memory_changes_nothing(
    made: type[Net], x: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    much = measured(made(), samples_of(x, LABELS), "curvature")  # type: ignore[call-arg]
    for room in (1, 600):
        monkeypatch.setattr(module, "ROOM", room)
        little = measured(made(), samples_of(x, LABELS), "curvature")  # type: ignore[call-arg]
        for path in much:
            np.testing.assert_allclose(little[path], much[path], rtol=1e-12, atol=1e-16)


def baked(rows: int) -> Net:
    """A net with a batch size in it: one sample by itself gives something else, or nothing."""

    def forward(feeds: dict[str, Tensor], w: dict[str, Tensor]) -> dict[str, Tensor]:
        hidden = torch.tanh(feeds["x"].reshape(rows, 3) @ w["first"])
        return {"y": hidden @ w["second"]}

    return Net(forward, {"first": drawn(1, 3, 4), "second": drawn(3, 4, 3)})


def free() -> Net:
    def forward(feeds: dict[str, Tensor], w: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"y": torch.tanh(feeds["x"] @ w["first"]) @ w["second"]}

    return Net(forward, {"first": drawn(1, 3, 4), "second": drawn(3, 4, 3)})


def test_a_fixed_batch_is_gone_through_as_it_is() -> None:
    measuring = collector(baked(4), samples_of(X, LABELS, fixed=4), batches_per_step=3)
    found = measuring.collect(["curvature"], None, 1)["curvature"]
    assert not measuring._by_sample
    wanted = measured(free(), samples_of(X, LABELS), "curvature")
    for path in wanted:
        np.testing.assert_allclose(found[path], wanted[path], rtol=1e-12)


def test_samples_that_differ_by_themselves_are_not_measured_so() -> None:
    # Here the mean over all rows makes one sample something else than it is among others.
    def forward(feeds: dict[str, Tensor], w: dict[str, Tensor]) -> dict[str, Tensor]:
        x = feeds["x"]
        return {"y": x @ w["w"] + (x @ w["w"]).detach().mean(0)}

    measuring = collector(Net(forward, {"w": drawn(1, 3, 3)}), samples_of(X, LABELS))
    found = measuring.collect(["curvature"], None, 1)["curvature"]["w"]
    assert not measuring._by_sample
    weight = drawn(1, 3, 3)
    scores = X @ weight + (X @ weight).mean(0)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    # d log p_c / dw_ij = x_i (1[j = c] - p_j), whose mean square over c is x_i² p_j (1 - p_j).
    wanted = np.einsum("ni,nj->ij", X**2, shares * (1 - shares)) / len(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_empirical_curvature_squares_the_gradients_of_the_labels() -> None:
    net = smooth()
    found = measured(net, samples_of(X, LABELS), "curvature", curvature="empirical")
    for path in net.tensors:
        rows, _ = jacobians(net, X, path)
        wanted = (rows[np.arange(10), LABELS] ** 2).mean(0)
        np.testing.assert_allclose(found[path].reshape(-1), wanted, rtol=1e-12, atol=1e-15)


def test_empirical_curvature_without_labels_says_what_stands_for_them() -> None:
    measuring = collector(smooth(), samples_of(X), curvature="empirical")
    measuring.collect(["curvature"], None, 1)
    assert measuring.notes == ["no labels: the dense model's own decisions stand for them"]


def test_drawn_curvature_is_the_exact_one_on_average() -> None:
    net = smooth()
    x = np.repeat(X, 100, axis=0)
    found = measured(
        net, samples_of(x), "curvature", curvature="mc", batch=200, batches_per_step=5
    )
    for path in net.tensors:
        rows, shares = jacobians(net, X, path)
        squares = rows**2
        wanted = np.einsum("nc,ncw->nw", shares, squares)
        # The variance of the mean of 100 draws for each of ten samples.
        variance = np.einsum("nc,ncw->nw", shares, squares**2) - wanted**2
        spread = np.sqrt(variance.sum(0) / 100) / 10
        distance = np.abs(found[path].reshape(-1) - wanted.mean(0))
        assert (distance <= 4.5 * spread + 1e-12).all()
        assert (distance > 1e-9).any()


def test_draws_depend_on_the_seed_the_step_and_the_sample_but_not_on_batches() -> None:
    def drawn_with(step: int = 1, **choices: int) -> Array:
        return measured(
            smooth(),
            samples_of(X),
            "curvature",
            step,
            curvature="mc",
            **{"batches_per_step": 10, **choices},
        )["first"]

    first = drawn_with(seed=1)
    np.testing.assert_allclose(drawn_with(seed=1, batch=3), first, rtol=1e-12)
    assert not np.allclose(drawn_with(seed=2), first)
    assert not np.allclose(drawn_with(step=2, seed=1), first)


def test_positions_of_one_sample_share_its_weight() -> None:
    """Two positions with three classes: the loss is a mean over them, and so is its curvature."""
    net = Net(lambda feeds, w: {"y": feeds["x"] @ w["w"]}, {"w": drawn(1, 3, 3)})
    x, labels = drawn(2, 4, 2, 3), np.zeros((4, 2), np.int64)
    found = measured(net, samples_of(x, labels), "curvature")["w"]
    apart = measured(net, samples_of(x.reshape(8, 3), labels.reshape(8)), "curvature")["w"]
    np.testing.assert_allclose(found, apart, rtol=1e-12)


def test_single_precision_is_near_double() -> None:
    net = Net(
        smooth().forward,
        {path: each.detach().numpy().astype("f4") for path, each in smooth().tensors.items()},
    )
    x = X.astype(np.float32)
    found = measured(net, samples_of(x, LABELS), "curvature", precision="float32")
    wanted = measured(smooth(), samples_of(X, LABELS), "curvature")
    for path in wanted:
        assert found[path].dtype == np.float64
        np.testing.assert_allclose(found[path], wanted[path], rtol=1e-4, atol=1e-7)


def test_batch_statistics_have_no_curvature_of_single_samples() -> None:
    with pytest.raises(UsageError) as caught:
        measured(smooth(), samples_of(X, LABELS), "curvature", bn="batch")
    assert caught.value.message == (
        "--bn batch: the curvature is of each sample by itself, which has no batch"
    )


def test_too_many_classes_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    with pytest.raises(LimitError) as caught:
        measured(smooth(), samples_of(X, LABELS), "curvature")
    assert caught.value.message == (
        "--curvature exact takes one gradient for each of the 3 values that a sample gives,"
        " 2 at most"
    )
    measured(smooth(), samples_of(X, LABELS), "curvature", curvature="mc")

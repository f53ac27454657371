"""Gradients and Hessian products against references written out by hand or taken densely."""

import numpy as np
import pytest
import torch
from torch import Tensor

from onnxprune.errors import InputError, UnsupportedError
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
LABELS = np.arange(10) % 3


def softmax(scores: Array) -> Array:
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def by_hand(net: Net, x: Array, labels: Array) -> dict[str, Array]:
    """Return the gradient of the smooth net's mean cross-entropy, by the chain rule."""
    w = {path: each.detach().numpy() for path, each in net.tensors.items()}
    hidden = np.tanh(x @ w["first"] + w["bias"])
    error = (softmax(hidden @ w["second"].T) - np.eye(3)[labels]) / len(x)
    before = (error @ w["second"]) * (1 - hidden**2)
    return {"first": x.T @ before, "bias": before.sum(0), "second": error.T @ hidden}


def test_the_gradient_is_that_of_the_mean_cross_entropy_with_its_sign() -> None:
    net = smooth()
    found = measured(net, samples_of(X, LABELS), "gradient")
    for path, wanted in by_hand(net, X, LABELS).items():
        np.testing.assert_allclose(found[path], wanted, rtol=0, atol=1e-14)
        assert found[path].dtype == np.float64
    assert (found["first"] < 0).any()
    assert (found["first"] > 0).any()


@pytest.mark.parametrize("batch", [1, 3, 4, 7])
def test_each_sample_counts_alike_however_unequal_the_batches_are(batch: int) -> None:
    net = smooth()
    found = measured(net, samples_of(X, LABELS), "gradient", batch=batch, batches_per_step=10)
    for path, wanted in by_hand(net, X, LABELS).items():
        np.testing.assert_allclose(found[path], wanted, rtol=0, atol=1e-12)


def test_steps_measure_one_batch_after_another_and_begin_again() -> None:
    net = smooth()
    measuring = collector(net, samples_of(X, LABELS), batch=4)
    for step, (start, stop) in enumerate([(0, 4), (4, 8), (8, 10), (0, 4)], start=1):
        found = measuring.collect(["gradient"], None, step)["gradient"]
        wanted = by_hand(net, X[start:stop], LABELS[start:stop])
        np.testing.assert_allclose(found["first"], wanted["first"], rtol=0, atol=1e-14)


def test_the_gradient_at_a_mask_is_that_of_the_masked_weights_for_pruned_ones_too() -> None:
    net = smooth()
    before = {path: each.detach().clone() for path, each in net.tensors.items()}
    mask = drawn(9, 3, 4) > 0
    measuring = collector(net, samples_of(X, LABELS))
    found = measuring.collect(["gradient"], {"first": mask.reshape(-1)}, 1)["gradient"]
    masked = smooth()
    masked.tensors["first"].data[torch.from_numpy(~mask)] = 0
    wanted = by_hand(masked, X, LABELS)
    np.testing.assert_allclose(found["first"], wanted["first"], rtol=0, atol=1e-14)
    assert (found["first"][~mask] != 0).all()
    for path, each in net.tensors.items():
        assert torch.equal(each, before[path])
        assert each.grad is None
    dense = measuring.collect(["gradient"], None, 1)["gradient"]
    np.testing.assert_allclose(dense["first"], by_hand(net, X, LABELS)["first"], atol=1e-14)


def test_the_loss_is_the_mean_over_the_samples_of_the_step() -> None:
    net = smooth()
    measuring = collector(net, samples_of(X, LABELS), batch=4, batches_per_step=3)
    assert np.isnan(measuring.loss)
    measuring.collect(["gradient"], None, 1)
    w = {path: each.detach().numpy() for path, each in net.tensors.items()}
    shares = softmax(np.tanh(X @ w["first"] + w["bias"]) @ w["second"].T)
    wanted = -np.log(shares[np.arange(10), LABELS]).mean()
    assert measuring.loss == pytest.approx(wanted, abs=1e-14)


def dense_product(net: Net, x: Array, labels: Array) -> Array:
    """Return H·g of the loss at temperature 200, from the whole Hessian."""
    paths = list(net.tensors)
    shapes = [net.tensors[path].shape for path in paths]
    flat = torch.cat([net.tensors[path].detach().flatten() for path in paths])

    def loss(values: Tensor) -> Tensor:
        parts = values.split([shape.numel() for shape in shapes])
        tensors = {p: v.reshape(s) for p, v, s in zip(paths, parts, shapes, strict=True)}
        scores = net.compute({"x": torch.from_numpy(x)}, tensors)["y"] / 200
        shares = scores.exp() / scores.exp().sum(1, keepdim=True)
        return -shares[torch.arange(len(x)), torch.from_numpy(labels)].log().mean()

    hessian = torch.autograd.functional.hessian(loss, flat)
    slope = torch.autograd.functional.jacobian(loss, flat)
    return np.asarray((hessian @ slope).numpy())  # type: ignore[operator]


@pytest.mark.parametrize("batch", [10, 3])
def test_the_hessian_product_is_that_of_the_whole_hessian(batch: int) -> None:
    pairs = [(smooth(), X), (convolving(), drawn(8, 10, 1, 5, 5))]
    for net, x in pairs:
        found = measured(
            net, samples_of(x, LABELS), "hessian_gradient", batch=batch, batches_per_step=9
        )
        wanted = dense_product(net, x, LABELS)
        together = np.concatenate([found[path].reshape(-1) for path in net.tensors])
        np.testing.assert_allclose(together, wanted, rtol=1e-9, atol=1e-9 * abs(wanted).max())


def test_the_hessian_product_passes_through_attention() -> None:
    def fused(feeds: dict[str, Tensor], w: dict[str, Tensor]) -> dict[str, Tensor]:
        keys = (feeds["x"] @ w["keys"]).unsqueeze(1)
        seen = torch.nn.functional.scaled_dot_product_attention(keys, keys, keys)
        return {"y": seen.mean((1, 2))}

    def plain(feeds: dict[str, Tensor], w: dict[str, Tensor]) -> dict[str, Tensor]:
        keys = feeds["x"] @ w["keys"]
        shares = (keys @ keys.mT / 2).softmax(-1)
        return {"y": (shares @ keys).mean(1)}

    weights = {"keys": drawn(1, 3, 4)}
    x, labels = drawn(2, 5, 6, 3), np.arange(5) % 4
    found = measured(Net(fused, weights), samples_of(x, labels), "hessian_gradient")["keys"]
    wanted = dense_product(Net(plain, weights), x, labels)
    np.testing.assert_allclose(found.reshape(-1), wanted, rtol=1e-9, atol=1e-14)


def two_paths() -> Net:
    def forward(feeds: dict[str, Tensor], w: dict[str, Tensor]) -> dict[str, Tensor]:
        cut = (feeds["x"] @ w["idle"]).detach()
        return {"y": feeds["x"] @ w["used"] + cut.round()}

    return Net(forward, {"used": drawn(1, 3, 2), "idle": drawn(2, 3, 2)})


@pytest.mark.parametrize("name", ["gradient", "curvature", "hessian_gradient", "flow"])
def test_a_tensor_that_no_gradient_reaches_is_left_out_and_named(name: str) -> None:
    measuring = collector(two_paths(), samples_of(X, LABELS % 2))
    found = measuring.collect([name], None, 1)
    assert list(found[name]) == ["used"]
    assert measuring.notes == ["no gradient reaches 'idle': it is left alone"]
    measuring.collect([name], None, 2)
    assert len(measuring.notes) == 1


@pytest.mark.parametrize("name", ["gradient", "flow"])
def test_a_model_that_no_gradient_passes_is_refused(name: str) -> None:
    net = Net(lambda feeds, w: {"y": (feeds["x"] @ w["w"]).detach()}, {"w": drawn(1, 3, 2)})
    with pytest.raises(UnsupportedError) as caught:
        collector(net, samples_of(X, LABELS % 2)).collect([name], None, 1)
    assert caught.value.message == "no gradient reaches any tensor that could be pruned"


def test_a_loss_that_is_no_number_names_the_samples() -> None:
    x = X.copy()
    x[6] = np.inf
    measuring = collector(smooth(), samples_of(x, LABELS), batch=4, batches_per_step=3)
    measuring.module.tensors["first"].data[:] = 1
    measuring.module.tensors["first"].data[0] = -1
    with pytest.raises(InputError) as caught:
        measuring.collect(["gradient"], None, 1)
    assert caught.value.message == "the loss of samples 4 to 7 is nan"


def test_a_gradient_that_is_no_number_names_the_tensor() -> None:
    net = Net(
        lambda feeds, w: {"y": feeds["x"] @ w["plain"] + w["root"].sqrt()},
        {"plain": drawn(1, 3, 2), "root": np.array([0.0, 1.0])},
    )
    with pytest.raises(InputError) as caught:
        measured(net, samples_of(X, LABELS % 2), "gradient")
    assert caught.value.message == (
        "what is measured of 'root' on samples 0 to 9 is not finite"
    )

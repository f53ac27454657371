"""The mean squared error: answers of all kinds, and its Gauss-Newton curvature."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from onnxprune.errors import InputError
from onnxprune.statistics.losses import Loss
from tests.statistics.nets import Array, Net, collector, drawn, measured, samples_of

X = drawn(7, 10, 3)
NOTE = (
    "no labels: the dense model's own outputs stand for them, from which it is no distance"
    " away until it is pruned"
)


def linear(outputs: int = 2, bend: Any = lambda y: y) -> Net:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": bend(feeds["x"] @ w["w"])}

    return Net(forward, {"w": drawn(1, 3, outputs)})


def gradient(labels: Array, answers: Array, outputs: int) -> None:
    """Compare with 2/K of the errors, back through the weights."""
    weight = drawn(1, 3, outputs)
    wanted = X.T @ (X @ weight - answers) * 2 / outputs / len(X)
    samples = samples_of(X, labels)
    found = measured(
        linear(outputs), samples, "gradient", loss="mse", batch=4, batches_per_step=3
    )
    np.testing.assert_allclose(found["w"], wanted, rtol=1e-12)


def test_labels_are_what_values_should_be() -> None:
    labels = np.arange(20).reshape(10, 2) % 7
    gradient(labels, labels, 2)
    gradient(labels[:, 0], labels[:, :1], 1)


def test_a_label_of_several_outputs_is_a_class() -> None:
    labels = np.arange(10) % 3
    gradient(labels, np.eye(3)[labels], 3)


def test_without_labels_the_dense_model_is_the_answer() -> None:
    measuring = collector(linear(), samples_of(X), loss="mse")
    assert not measuring.collect(["gradient"], None, 1)["gradient"]["w"].any()
    assert measuring.notes == [NOTE]
    mask = np.array([[True, False]] * 3)
    found = measuring.collect(["gradient"], {"w": mask}, 1)["gradient"]["w"]
    weight = drawn(1, 3, 2)
    wanted = X.T @ (X @ (weight * mask - weight)) / len(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
    assert measuring.loss == pytest.approx(((X @ weight)[:, 1] ** 2).mean() / 2)


def test_the_curvature_is_that_of_the_squared_jacobians() -> None:
    net = linear(2, torch.tanh)
    slopes = 1 - np.tanh(X @ drawn(1, 3, 2)) ** 2
    # d tanh(x·w_k) / dw_jk = x_j (1 - tanh²), and 2/K = 1.
    wanted = np.einsum("nj,nk->jk", X**2, slopes**2) / len(X)
    for batch in (10, 3):
        found = measured(
            net, samples_of(X), "curvature", loss="mse", batch=batch, batches_per_step=4
        )
        np.testing.assert_allclose(found["w"], wanted, rtol=1e-12)


def test_the_drawn_curvature_is_that_on_average() -> None:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": torch.tanh(feeds["x"] @ w["w"]) @ w["out"]}

    net = Net(forward, {"w": drawn(1, 3, 2), "out": drawn(2, 2, 4)})
    x = np.repeat(X, 400, axis=0)
    exact = measured(net, samples_of(X), "curvature", loss="mse")["w"]
    drawn_ = measured(
        net,
        samples_of(x),
        "curvature",
        loss="mse",
        curvature="mc",
        batch=500,
        batches_per_step=8,
    )["w"]
    np.testing.assert_allclose(drawn_, exact, rtol=0.1)
    assert not np.allclose(drawn_, exact, rtol=1e-4)


def test_the_empirical_curvature_squares_the_gradient_of_each_sample() -> None:
    labels = np.arange(20).reshape(10, 2) % 7
    errors = X @ drawn(1, 3, 2) - labels
    wanted = (np.einsum("nj,nk->njk", X, errors) ** 2).mean(0)
    found = measured(
        linear(), samples_of(X, labels), "curvature", loss="mse", curvature="empirical"
    )
    np.testing.assert_allclose(found["w"], wanted, rtol=1e-12)


def test_the_hessian_product_needs_no_temperature() -> None:
    labels = np.arange(20).reshape(10, 2) % 7
    weight = drawn(1, 3, 2)
    slope = X.T @ (X @ weight - labels) / len(X)
    found = measured(linear(), samples_of(X, labels), "hessian_gradient", loss="mse")["w"]
    np.testing.assert_allclose(found, X.T @ X @ slope / len(X), rtol=1e-12)


def test_answers_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        measured(linear(), samples_of(X, np.zeros((10, 3), int)), "gradient", loss="mse")
    assert caught.value.message == (
        "answers of shape 10x3 for samples 0 to 9: output 'y' has values of shape 10x2"
    )


def test_expected_outputs_of_the_set_are_the_answers() -> None:
    measuring = collector(linear(), samples_of(X), loss="mse")
    loss: Loss = measuring._loss
    batch = next(iter(samples_of(X).batches(10)))
    batch.references["y"] = np.ones((10, 2), np.float32)
    measuring.collect(["gradient"], None, 1)
    fed = measuring._measurement({}, 1).fed(batch)
    assert fed.answers is not None
    assert fed.answers.tolist() == [[1.0, 1.0]] * 10
    assert loss.note(batch) is None

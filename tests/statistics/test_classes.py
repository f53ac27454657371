"""Cross-entropy: labels, what stands for them, and outputs that are probabilities."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from onnxprune.errors import InputError, UsageError
from onnxprune.outcomes import Port
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.statistics.targets import Target
from tests.statistics.nets import Array, Net, collector, drawn, measured, samples_of, smooth

X = drawn(7, 10, 3)
LABELS = np.arange(10) % 3
NOTE = "no labels: the dense model's own decisions stand for them"


def linear(outputs: int = 3, end: Any = lambda scores: scores, inputs: int = 3) -> Net:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": end(feeds["x"] @ w["w"])}

    return Net(forward, {"w": drawn(1, inputs, outputs)})


def gradient(net: Net, x: Array, labels: Array | None, **choices: Any) -> Array:
    return measured(net, samples_of(x, labels), "gradient", **choices)["w"]


def test_without_labels_the_dense_model_decides_once_and_for_all() -> None:
    net = smooth()
    w = {path: each.detach().numpy() for path, each in net.tensors.items()}
    decided = (np.tanh(X @ w["first"] + w["bias"]) @ w["second"].T).argmax(1)
    mask = {"second": drawn(9, 3, 4) > 0}
    measuring = collector(net, samples_of(X), batch=4, batches_per_step=3)
    with_labels = collector(smooth(), samples_of(X, decided), batch=4, batches_per_step=3)
    for step, masks in enumerate([mask, None, mask], start=1):
        found = measuring.collect(["gradient"], masks, step)["gradient"]
        wanted = with_labels.collect(["gradient"], masks, step)["gradient"]
        assert np.array_equal(found["first"], wanted["first"])
    assert measuring.notes == [NOTE]
    assert with_labels.notes == []


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (lambda scores: scores.softmax(1), "unknown"),
        (lambda scores: scores.softmax(1), "probabilities"),
        (lambda scores: scores.softmax(1), "shares"),
        (lambda scores: scores.log_softmax(1), "unknown"),
        (lambda scores: scores.log_softmax(1), "scores"),
    ],
)
@pytest.mark.parametrize("name", ["gradient", "curvature", "hessian_gradient"])
def test_probabilities_give_what_their_scores_give(end: Any, kind: str, name: str) -> None:
    samples = samples_of(X, LABELS)
    found = collector(linear(end=end), samples, Target("y", "y", kind))
    wanted = measured(linear(), samples, name)["w"]
    np.testing.assert_allclose(found.collect([name], None, 1)[name]["w"], wanted, rtol=1e-9)


def test_a_probability_of_zero_is_no_error() -> None:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": (feeds["x"] @ w["w"] * 1e4).softmax(1)}

    found = gradient(Net(forward, {"w": drawn(1, 3, 3)}), X, LABELS)
    assert np.isfinite(found).all()


def test_shares_that_do_not_add_up_are_refused() -> None:
    net = linear(end=torch.sigmoid)
    with pytest.raises(UsageError) as caught:
        collector(net, samples_of(X, LABELS), Target("y", "y", "shares")).collect(
            ["gradient"], None, 1
        )
    assert caught.value.message == (
        "the values of output 'y' do not add up to 1: they are no probabilities of classes"
    )
    assert caught.value.hint == "--loss mse and --loss module:function go with any output"


@pytest.mark.parametrize(("end", "shape"), [(lambda y: y, "10x1"), (lambda y: y[:, 0], "10")])
def test_one_value_is_no_choice_of_classes(end: Any, shape: str) -> None:
    with pytest.raises(UsageError) as caught:
        gradient(linear(1, end), X, LABELS * 0)
    assert caught.value.message == (
        f"cross-entropy is of two classes or more, output 'y' of shape {shape} has one"
    )


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_outside_the_classes_is_named(label: int) -> None:
    labels = LABELS.copy()
    labels[6] = label
    with pytest.raises(InputError) as caught:
        gradient(linear(), X, labels, batch=4, batches_per_step=3)
    assert caught.value.message == f"label {label} of sample 6: output 'y' has classes 0 to 2"


def test_labels_that_do_not_fit_are_counted() -> None:
    with pytest.raises(InputError) as caught:
        gradient(linear(), X, np.zeros((10, 2), np.int64))
    assert caught.value.message == (
        "20 labels for samples 0 to 9: output 'y' has 10 places for them"
    )


def mean_cross_entropy(scores: Tensor, labels: Array) -> Tensor:
    """Return the mean of -log p over rows of scores."""
    rows = scores.reshape(-1, scores.shape[-1])
    shares = rows.exp() / rows.exp().sum(1, keepdim=True)
    return -shares[torch.arange(len(rows)), torch.from_numpy(labels.reshape(-1))].log().mean()


@pytest.mark.parametrize("images", [True, False])
@pytest.mark.parametrize("labelled", [True, False])
def test_every_position_of_images_and_sequences_has_its_class(
    images: bool, labelled: bool
) -> None:
    x = drawn(2, 4, 2, 5, 3)[:, :, :, :] if images else drawn(2, 4, 5, 3)
    weight = drawn(1, 3, 3)
    scores = torch.from_numpy(x) @ torch.from_numpy(weight).requires_grad_()
    labels = drawn(3, *x.shape[:-1]).argsort(-1) % 3
    if not labelled:
        labels = scores.detach().argmax(-1).numpy()
    leaf = torch.from_numpy(weight).requires_grad_()
    mean_cross_entropy(torch.from_numpy(x) @ leaf, labels).backward()

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        y = feeds["x"] @ w["w"]
        return {"y": y.movedim(-1, 1) if images else y}

    found = gradient(Net(forward, {"w": weight}), x, labels if labelled else None)
    assert leaf.grad is not None
    np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-10, atol=1e-15)


def test_labels_tell_which_dimension_is_the_classes() -> None:
    """Scores of 3 classes at 5 steps, with the classes in the middle where none are expected."""
    x, weight = drawn(2, 4, 5, 3), drawn(1, 3, 3)
    labels = drawn(3, 4, 5).argsort(-1) % 3
    leaf = torch.from_numpy(weight).requires_grad_()
    mean_cross_entropy(torch.from_numpy(x) @ leaf, labels).backward()
    net = Net(lambda feeds, w: {"y": (feeds["x"] @ w["w"]).mT}, {"w": weight})
    assert leaf.grad is not None
    np.testing.assert_allclose(gradient(net, x, labels), leaf.grad.numpy(), rtol=1e-10)


def test_the_axis_that_the_graph_names_is_taken() -> None:
    x, weight = drawn(2, 4, 3, 3), drawn(1, 3, 3)
    labels = drawn(3, 4, 3).argsort(-1)
    leaf = torch.from_numpy(weight).requires_grad_()
    mean_cross_entropy((torch.from_numpy(x) @ leaf).mT, labels).backward()
    net = Net(lambda feeds, w: {"y": feeds["x"] @ w["w"]}, {"w": weight})
    found = collector(net, samples_of(x, labels), Target("y", "y", "scores", 1))
    assert leaf.grad is not None
    np.testing.assert_allclose(
        found.collect(["gradient"], None, 1)["gradient"]["w"], leaf.grad.numpy(), rtol=1e-10
    )


def test_rows_that_fill_up_a_fixed_batch_do_not_count() -> None:
    fixed = measured(linear(), samples_of(X, LABELS, fixed=4), "gradient", batches_per_step=3)[
        "w"
    ]
    np.testing.assert_allclose(fixed, gradient(linear(), X, LABELS), rtol=1e-12)


def test_a_sample_that_is_a_whole_run_counts_as_one() -> None:
    """Three runs of four rows: the batch axis is not the first, so each sample is a run."""
    x = drawn(2, 3, 4, 3)
    labels = np.arange(12).reshape(3, 4) % 3
    samples = open_samples(
        {"x": x, "labels": labels}, Reading(), (Port("x", "float64", (4, 3)),)
    )
    assert samples.whole
    for name in ("gradient", "curvature"):
        found = measured(linear(), samples, name, batches_per_step=3)["w"]
        apart = samples_of(x.reshape(12, 3), labels.reshape(12))
        wanted = measured(linear(), apart, name)["w"]
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_an_output_without_a_row_per_sample_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        gradient(linear(end=lambda y: y.sum(0, keepdim=True)), X, LABELS)
    assert caught.value.message == (
        "output 'y' of shape 1x3 has no row for each of 10 samples"
    )


def test_a_model_without_floats_has_no_loss() -> None:
    with pytest.raises(InputError) as caught:
        gradient(linear(end=lambda y: y.argmax(1)), X, LABELS)
    assert caught.value.message == "no output of the model is of floats: no loss can be of it"

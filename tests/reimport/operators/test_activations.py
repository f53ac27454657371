"""Activations: onnx's node tests, ONNX Runtime beside them, and gradients."""

from typing import Any

import pytest
import torch

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import (
    apply,
    cases,
    gradients_hold,
    run_case,
    same_as_runtime,
    sample,
)

PLAIN: list[tuple[str, dict[str, Any]]] = [
    ("Relu", {}),
    ("LeakyRelu", {"alpha": 0.3}),
    ("Elu", {"alpha": 0.7}),
    ("Celu", {"alpha": 0.7}),
    ("Selu", {}),
    ("Selu", {"alpha": 1.5, "gamma": 0.5}),
    ("Sigmoid", {}),
    ("HardSigmoid", {}),
    ("HardSigmoid", {"alpha": 0.9, "beta": 0.1}),
    ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    ("HardSwish", {}),
    ("Tanh", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("Erf", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Mish", {}),
    ("ThresholdedRelu", {"alpha": 0.4}),
    ("Shrink", {"bias": 0.2, "lambd": 0.4}),
]
SHARES = ["Softmax", "LogSoftmax", "Hardmax"]
RANDOM = [
    "test_training_dropout",
    "test_training_dropout_default",
    "test_training_dropout_default_mask",
    "test_training_dropout_mask",
]
NAMES = sorted({name for name, _ in PLAIN})


@pytest.mark.parametrize(
    "case", cases([*NAMES, *SHARES, "PRelu", "Clip", "Dropout", "Swish"], without=RANDOM)
)
def test_node(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize(("name", "settings"), PLAIN)
def test_an_activation_is_that_of_the_runtime(name: str, settings: dict[str, Any]) -> None:
    # More than 20, where torch's softplus becomes a straight line, included.
    same_as_runtime(name, sample(5, 50, low=-4, high=4), **settings)
    same_as_runtime(name, torch.tensor([-30.0, 0.0, 19.9, 30.0]), **settings)


@pytest.mark.parametrize(("name", "settings"), PLAIN)
def test_gradients(name: str, settings: dict[str, Any]) -> None:
    gradients_hold(name, sample(3, 4, low=-2, high=2), twice=True, **settings)


def test_attributes_of_the_oldest_versions() -> None:
    x = torch.tensor([-1.0, 1.0])
    for name in ("Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "Tanh"):
        old = apply(name, x, consumed_inputs=[0], opset=1)
        assert torch.equal(old, apply(name, x))
    old, new = apply("Selu", x, consumed_inputs=[0], opset=1), apply("Selu", x, opset=6)
    assert old[1].item() == pytest.approx(1.0507, abs=1e-7)
    assert new[1].item() == pytest.approx(1.0507010, abs=1e-7)


@pytest.mark.parametrize("shape", [[1], [3, 1, 1], [3, 4, 2], [2]])
def test_slopes_broadcast_as_in_the_runtime(shape: list[int]) -> None:
    x, slope = sample(2, 3, 4, 2), sample(*shape, seed=1)
    same_as_runtime("PRelu", x, slope)
    gradients_hold("PRelu", x[:1], slope, twice=True)


def test_slopes_are_of_channels_before_opset_7() -> None:
    x, slope = torch.tensor([[[-1.0, -1.0], [-1.0, 1.0]]]), torch.tensor([2.0, 3.0])
    found = apply("PRelu", x, slope, consumed_inputs=[0, 0], opset=1)
    assert found.tolist() == [[[-2, -2], [-3, 1]]]


@pytest.mark.parametrize("alpha", [1.0, 1.7])
def test_swish(alpha: float) -> None:
    x = sample(3, 4, low=-3, high=3)
    torch.testing.assert_close(apply("Swish", x, alpha=alpha), x * torch.sigmoid(alpha * x))
    gradients_hold("Swish", x, alpha=alpha, twice=True)


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_shares_change_their_meaning_with_opset_13(
    name: str, opset: int, axis: int | None
) -> None:
    settings = {} if axis is None else {"axis": axis}
    same_as_runtime(name, sample(2, 3, 4), opset=opset, **settings)


def test_gradients_of_shares() -> None:
    for name in ("Softmax", "LogSoftmax"):
        gradients_hold(name, sample(2, 3), axis=1, twice=True)
        gradients_hold(name, sample(2, 3, 2), opset=9, twice=True)


def test_values_are_clipped_by_inputs_or_attributes() -> None:
    x, low, high = torch.tensor([-2.0, 0.5, 2.0]), torch.tensor(-1.0), torch.tensor(1.0)
    assert apply("Clip", x) is x
    assert apply("Clip", x, low, None).tolist() == [-1, 0.5, 2]
    assert apply("Clip", x, None, high).tolist() == [-2, 0.5, 1]
    assert apply("Clip", x, min=-1.0, max=1.0, opset=6).tolist() == [-1, 0.5, 1]
    assert apply("Clip", x, max=1.0, consumed_inputs=[0], opset=1).tolist() == [-2, 0.5, 1]
    same_as_runtime("Clip", x, high, low)  # the upper bound wins
    gradients_hold("Clip", x[None], low, high)


def test_clipping_has_a_gradient_within_its_range_alone() -> None:
    x, low, high = (
        torch.tensor([-2.0, 0.0, 0.5, 6.0, 7.0]),
        torch.tensor(0.0),
        torch.tensor(6.0),
    )
    x.requires_grad_()
    (slope,) = torch.autograd.grad(apply("Clip", x, low, high).sum(), x)
    assert slope.tolist() == [0, 0, 1, 0, 0]
    gradients_hold("Clip", x.detach() + 0.1, low, high, fixed=[1, 2], twice=True)


def test_what_is_no_number_stays_so() -> None:
    nothing = torch.tensor([float("nan")])
    assert apply("Clip", nothing, torch.tensor(0.0), torch.tensor(6.0)).isnan().all()


def test_whole_numbers_are_clipped() -> None:
    x, low, high = torch.tensor([1, 5, 9]), torch.tensor(3), torch.tensor(7)
    assert apply("Clip", x, low, high).tolist() == [3, 5, 7]


def test_dropout_passes_on_what_a_runtime_would() -> None:
    x = sample(2, 2)
    assert apply("Dropout", x, ratio=0.9, opset=7) is x
    assert apply("Dropout", x, torch.tensor(0.9), torch.tensor(False), seed=1) is x
    assert apply("Dropout", x, torch.tensor(0.0), torch.tensor(True)) is x
    y, mask = apply("Dropout", x, outputs=2)
    assert y is x
    assert mask.tolist() == [[True, True], [True, True]]
    assert apply("Dropout", x, outputs=2, opset=7)[1].dtype == x.dtype


@pytest.mark.parametrize("case", [each for each in cases(["Dropout"]) if each.id in RANDOM])
def test_dropout_that_drops_is_refused(case: Any) -> None:
    with pytest.raises(UnsupportedError) as found:
        run_case(case)
    message = "Dropout in training mode gives other values in every run"
    assert found.value.message == message


def test_dropout_of_the_oldest_versions_says_whether_it_drops() -> None:
    x = sample(2, 2)
    assert apply("Dropout", x, is_test=1, opset=6) is x
    with pytest.raises(UnsupportedError, match="Dropout in training mode"):
        apply("Dropout", x, opset=6)

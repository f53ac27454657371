"""Fused products and activations, beside ONNX Runtime, and their gradients."""

from typing import Any

import pytest
import torch
from torch.nn.functional import gelu

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import apply, gradients_hold, same_as_runtime, sample

MICROSOFT = "com.microsoft"


@pytest.mark.parametrize("left", ["", "transA", "transBatchA", "transA transBatchA"])
@pytest.mark.parametrize("right", ["", "transB", "transBatchB", "transB transBatchB"])
def test_matrices_may_be_stored_transposed_in_every_way(left: str, right: str) -> None:
    a, b = _stored(sample(2, 3, 4, 5), left), _stored(sample(2, 3, 5, 2, seed=1), right)
    settings: dict[str, Any] = dict.fromkeys((left + " " + right).split(), 1)
    same_as_runtime("FusedMatMul", a, b, alpha=0.5, domain=MICROSOFT, **settings)


def _stored(x: torch.Tensor, words: str) -> torch.Tensor:
    """Undo what the attributes of these names do."""
    names = [word.rstrip("AB") for word in words.split()]
    x = x.transpose(-1, -2) if "trans" in names else x
    return (x.movedim(-2, 0) if "transBatch" in names else x).contiguous()


def test_a_vector_is_not_transposed() -> None:
    same_as_runtime("FusedMatMul", sample(4), sample(4, 5), transA=1, domain=MICROSOFT)
    same_as_runtime("TransposeMatMul", sample(4, 3), sample(4, 5), transA=1, domain=MICROSOFT)


@pytest.mark.parametrize(
    ("activation", "parameters"),
    [
        ("Relu", None),
        ("Sigmoid", None),
        ("Tanh", None),
        ("HardSwish", None),
        ("LeakyRelu", [0.2]),
        ("HardSigmoid", [0.3, 0.4]),
        ("Clip", [-0.5, 0.7]),
    ],
)
def test_a_fused_convolution_bends_its_sum(
    activation: str, parameters: list[float] | None
) -> None:
    x, w, b = sample(1, 4, 5, 5), sample(6, 2, 3, 3, seed=1), sample(6, seed=2)
    more = {} if parameters is None else {"activation_params": parameters}
    settings = {"activation": activation, "group": 2, "domain": MICROSOFT} | more
    same_as_runtime("FusedConv", x, w, b, pads=[1, 1, 0, 0], **settings)


def test_a_fused_convolution_adds_another_input() -> None:
    x, w, z = sample(1, 4, 5, 5), sample(6, 4, 3, 3, seed=1), sample(1, 6, 3, 3, seed=2)
    same_as_runtime("FusedConv", x, w, None, z, activation="Relu", domain=MICROSOFT)


@pytest.mark.parametrize(
    ("activation", "settings"),
    [
        ("Relu", {}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("Softplus", {}),
        ("Softsign", {}),
        ("LeakyRelu", {"alpha": 0.2}),
        ("Elu", {"alpha": 0.3}),
        ("ThresholdedRelu", {"alpha": 0.3}),
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("Selu", {"alpha": 1.5, "gamma": 1.1}),
    ],
)
def test_a_fused_gemm_bends_its_sum(activation: str, settings: dict[str, float]) -> None:
    a, b, c = sample(4, 3), sample(5, 4, seed=1), sample(5, seed=2)
    given = {f"activation_{key}": value for key, value in settings.items()}
    matrices = {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}
    same_as_runtime(
        "FusedGemm", a, b, c, activation=activation, domain=MICROSOFT, **given, **matrices
    )


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(UnsupportedError) as found:
        apply("FusedGemm", sample(2, 2), sample(2, 2), activation="Sine", domain=MICROSOFT)
    assert found.value.message == "FusedGemm with activation 'Sine' is not known"


@pytest.mark.parametrize("name", ["Gelu", "FastGelu", "QuickGelu"])
def test_activations_of_one_input(name: str) -> None:
    same_as_runtime(name, sample(3, 4, low=-3, high=3), domain=MICROSOFT)
    gradients_hold(name, sample(3, 4, low=-3, high=3), domain=MICROSOFT, twice=True)


def test_activations_with_a_bias() -> None:
    x, bias = sample(2, 3, 4, low=-3, high=3), sample(4, seed=1)
    same_as_runtime("QuickGelu", x, alpha=1.0, domain=MICROSOFT)
    for name in ("BiasGelu", "FastGelu"):
        same_as_runtime(name, x, bias, domain=MICROSOFT)
        gradients_hold(name, x, bias, domain=MICROSOFT)


def test_what_the_runtime_computes_on_other_devices_only() -> None:
    x, bias = sample(2, 3, 4), sample(4, seed=1)
    found = apply("BiasSplitGelu", x, bias, domain=MICROSOFT)
    total = x + bias
    torch.testing.assert_close(found, total[..., :2] * gelu(total[..., 2:]))
    w, b = sample(4, 5), sample(5, seed=1)
    found = apply("GemmFastGelu", x, w, b, domain=MICROSOFT)
    torch.testing.assert_close(found, gelu(x @ w + b, approximate="tanh"))


def test_gradients() -> None:
    a, b, c = sample(2, 3), sample(4, 2, seed=1), sample(4, seed=2)
    settings = {"transA": 1, "transB": 1, "alpha": 0.5, "domain": MICROSOFT}
    gradients_hold("FusedMatMul", a, b, twice=True, **settings)
    gradients_hold("FusedGemm", a, b, c, activation="Tanh", twice=True, **settings)
    x, w, z = sample(1, 1, 3), sample(2, 1, 2, seed=1), sample(1, 2, 2, seed=2)
    gradients_hold(
        "FusedConv", x, w, None, z, activation="Sigmoid", domain=MICROSOFT, twice=True
    )

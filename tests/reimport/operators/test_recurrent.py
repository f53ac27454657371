from typing import Any

import pytest
import torch
from torch import Tensor, tensor

from onnxprune.errors import InputError, UnsupportedError
from tests.reimport.nodes import (
    apply,
    cases,
    gradients_hold,
    run_case,
    same_as_runtime,
    sample,
)

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
TORCH_ORDER = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}
"""ONNX's gates among those of torch."""
HIDDEN = 3


def weights(kind: str, directions: int = 1) -> list[Tensor]:
    rows = GATES[kind] * HIDDEN
    w = sample(directions, rows, 2, seed=1)
    r, b = sample(directions, rows, HIDDEN, seed=2), sample(directions, 2 * rows, seed=3)
    return [w, r, b]


def states(kind: str, directions: int = 1, batch: int = 2) -> list[Tensor]:
    count = 2 if kind == "LSTM" else 1
    return [sample(directions, batch, HIDDEN, seed=4 + i) for i in range(count)]


@pytest.mark.parametrize("case", cases(["LSTM", "GRU", "RNN"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [None, [4, 2]])
@pytest.mark.parametrize("clip", [None, 0.3])
def test_it_computes_what_the_runtime_does(
    kind: str, direction: str, lengths: list[int] | None, clip: float | None
) -> None:
    count = 2 if direction == "bidirectional" else 1
    ends = tensor(lengths, dtype=torch.int32) if lengths else None
    settings = {"clip": clip} if clip else {}
    same_as_runtime(
        kind,
        sample(4, 2, 2),
        *weights(kind, count),
        ends,
        *states(kind, count),
        outputs=3 if kind == "LSTM" else 2,
        direction=direction,
        hidden_size=HIDDEN,
        **settings,
    )


@pytest.mark.parametrize("reset_last", [0, 1])
@pytest.mark.parametrize("biased", [True, False])
def test_a_gru_resets_before_or_after_it_multiplies(reset_last: int, biased: bool) -> None:
    w, r, b = weights("GRU")
    same_as_runtime(
        "GRU",
        sample(4, 2, 2),
        w,
        r,
        b if biased else None,
        outputs=2,
        hidden_size=HIDDEN,
        linear_before_reset=reset_last,
    )


@pytest.mark.parametrize("coupled", [0, 1])
@pytest.mark.parametrize("clip", [{}, {"clip": 0.4}])
def test_an_lstm_may_look_at_its_cell(coupled: int, clip: dict[str, float]) -> None:
    same_as_runtime(
        "LSTM",
        sample(4, 2, 2),
        *weights("LSTM"),
        None,
        *states("LSTM"),
        sample(1, 3 * HIDDEN, seed=6),
        outputs=3,
        hidden_size=HIDDEN,
        input_forget=coupled,
        **clip,
    )


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("Affine", ([0.5], [0.1])),
        ("Elu", ([0.5], None)),
        ("Elu", (None, None)),
        ("HardSigmoid", ([0.3], [0.4])),
        ("HardSigmoid", (None, None)),
        ("LeakyRelu", ([0.3], None)),
        ("LeakyRelu", (None, None)),
        ("Relu", (None, None)),
        ("ScaledTanh", ([0.5], [0.7])),
        ("Sigmoid", (None, None)),
        ("Softplus", (None, None)),
        ("Softsign", (None, None)),
        ("ThresholdedRelu", ([0.3], None)),
    ],
)
def test_activations_are_those_of_the_runtime(name: str, numbers: Any) -> None:
    alpha, beta = numbers
    settings: dict[str, Any] = {"activations": [name]}
    settings |= {"activation_alpha": alpha} if alpha else {}
    settings |= {"activation_beta": beta} if beta else {}
    x, kept = sample(3, 2, 2), weights("RNN")
    same_as_runtime("RNN", x, *kept, outputs=2, hidden_size=HIDDEN, **settings)


def test_numbers_go_to_the_activations_that_take_them() -> None:
    same_as_runtime(
        "LSTM",
        sample(3, 2, 2),
        *weights("LSTM"),
        outputs=3,
        hidden_size=HIDDEN,
        activations=["HardSigmoid", "Tanh", "Affine"],
        activation_alpha=[0.3, 0.6],
        activation_beta=[0.4, 0.2],
    )


def test_each_direction_has_its_activations() -> None:
    same_as_runtime(
        "GRU",
        sample(3, 2, 2),
        *weights("GRU", 2),
        outputs=2,
        hidden_size=HIDDEN,
        direction="bidirectional",
        activations=["Sigmoid", "Relu", "HardSigmoid", "Tanh"],
    )


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_weights_get_the_gradients_of_torch_in_the_order_of_onnx(kind: str) -> None:
    net = getattr(torch.nn, kind)(2, HIDDEN, bidirectional=True)
    x, count = sample(4, 2, 2), GATES[kind]
    settings = {"linear_before_reset": 1} if kind == "GRU" else {}

    def in_order(value: Tensor) -> Tensor:
        gates = value.detach().chunk(count)
        return torch.cat([gates[place] for place in TORCH_ORDER[kind]])

    def stacked(name: str) -> Tensor:
        both = [in_order(getattr(net, name + end)) for end in ("", "_reverse")]
        return torch.stack(both).requires_grad_()

    w, r = stacked("weight_ih_l0"), stacked("weight_hh_l0")
    b = torch.cat([stacked("bias_ih_l0"), stacked("bias_hh_l0")], 1).detach().requires_grad_()
    found = apply(kind, x, w, r, b, direction="bidirectional", **settings)[0]
    expected = net(x)[0]
    torch.testing.assert_close(found.permute(0, 2, 1, 3).flatten(2), expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    assert w.grad is not None
    assert b.grad is not None
    torch.testing.assert_close(w.grad[1], in_order(net.weight_ih_l0_reverse.grad))
    torch.testing.assert_close(b.grad[0, count * HIDDEN :], in_order(net.bias_hh_l0.grad))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("settings", [{}, {"clip": 5.0}])
def test_a_layer_has_its_gradients_twice(kind: str, settings: dict[str, float]) -> None:
    more: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    inputs = [sample(2, 1, 2), *weights(kind), None, *states(kind, batch=1)]
    gradients_hold(kind, *inputs, output=0, twice=True, **settings, **more)


def test_padding_gets_no_gradient() -> None:
    x = sample(3, 2, 2).requires_grad_()
    y, last = apply("GRU", x, *weights("GRU"), tensor([3, 1]))
    (y.sum() + last.sum()).backward()
    assert x.grad is not None
    assert x.grad[1:, 1].abs().max() == 0
    assert x.grad[1:, 0].abs().min() > 0


@pytest.mark.parametrize("clip", [{}, {"clip": 50.0}])
def test_batches_may_come_first(clip: dict[str, float]) -> None:
    x, kept = sample(4, 2, 2), weights("LSTM", 2)
    begin = states("LSTM", 2)
    settings: dict[str, Any] = {"direction": "bidirectional", **clip}
    y, h, c = apply("LSTM", x, *kept, None, *begin, **settings)
    turned = [each.transpose(0, 1) for each in begin]
    found = apply("LSTM", x.transpose(0, 1), *kept, None, *turned, layout=1, **settings)
    torch.testing.assert_close(found[0], y.permute(2, 0, 1, 3))
    torch.testing.assert_close(found[1], h.transpose(0, 1))
    torch.testing.assert_close(found[2], c.transpose(0, 1))


def test_lengths_of_whole_sequences_change_nothing() -> None:
    x, kept = sample(3, 2, 2), weights("GRU")
    found = apply("GRU", x, *kept, tensor([3, 3]))
    torch.testing.assert_close(found, apply("GRU", x, *kept))


def test_weights_of_other_directions_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        apply("RNN", sample(3, 2, 2), *weights("RNN"), direction="bidirectional")
    assert str(caught.value) == "1 directions of weights for 'bidirectional'"


@pytest.mark.parametrize(
    ("activations", "message"),
    [
        (["Cosine"], "activation 'Cosine' of a recurrent layer is not known"),
        (["Affine"], "activation 'Affine' of a recurrent layer has no numbers"),
    ],
)
def test_activations_that_are_in_doubt_are_refused(
    activations: list[str], message: str
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        apply("RNN", sample(3, 2, 2), *weights("RNN"), activations=activations)
    assert str(caught.value) == message


def test_activations_for_nobody_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        apply("GRU", sample(3, 2, 2), *weights("GRU"), activations=["Sigmoid"] * 3)
    assert str(caught.value) == "3 activations for 1 directions of 2"

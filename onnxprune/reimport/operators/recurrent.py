"""Computes recurrent layers: by torch's own where it has the settings, else step by step.

Weights stay in ONNX's order of gates and are put into torch's on the way, so that gradients and
masks have the file's layout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onnxprune.errors import InputError
from onnxprune.reimport.operators.cells import (
    Cell,
    Direction,
    States,
    make_activations,
    run_steps,
    share_out,
    step_gru,
    step_lstm,
    step_rnn,
)
from onnxprune.reimport.registry import operator

LSTM_ORDER = [0, 2, 3, 1]
GRU_ORDER = [1, 0, 2]
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer's inputs, steps first, and what all kinds of layer have in common.

    Args:
        weights: [directions, gates * hidden, input]; `recurrent`: of the state.
        biases: [directions, 2 * gates * hidden]; None for none.
        lengths: of the sequences; None where all are whole.
        states: initial ones, [directions, batch, hidden] each.
        batch_first: how the node wants its results.
    """

    x: Tensor
    weights: Tensor
    recurrent: Tensor
    biases: Tensor | None
    lengths: Tensor | None
    states: States
    direction: str
    batch_first: bool

    @property
    def reverse(self) -> bool:
        """Whether the only direction is backwards."""
        return self.direction == "reverse"


def _read(
    inputs: tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None],
    states: list[Tensor | None],
    direction: str,
    layout: int,
) -> Layer:
    x, weights, recurrent, biases, lengths = inputs
    if DIRECTIONS.get(direction) != weights.shape[0]:
        raise InputError(f"{weights.shape[0]} directions of weights for '{direction}'")
    x = x.transpose(0, 1) if layout else x
    shape = (weights.shape[0], x.shape[1], recurrent.shape[2])
    ready = [
        x.new_zeros(shape) if each is None else each.transpose(0, 1) if layout else each
        for each in states
    ]
    if lengths is not None and bool((lengths == x.shape[0]).all()):
        lengths = None
    return Layer(x, weights, recurrent, biases, lengths, tuple(ready), direction, bool(layout))


def _native_weights(layer: Layer, order: list[int]) -> list[Tensor]:
    count = len(order)

    def ordered(stacked: Tensor) -> Tensor:
        gates = stacked.chunk(count, 1)
        return torch.cat([gates[place] for place in order], 1) if count > 1 else stacked

    parts = [ordered(layer.weights), ordered(layer.recurrent)]
    if layer.biases is not None:
        parts += [ordered(half) for half in layer.biases.chunk(2, 1)]
    return [part[place] for place in range(layer.weights.shape[0]) for part in parts]


def _run_native(function: Callable[..., Any], layer: Layer, order: list[int]) -> Any:
    x = layer.x.flip(0) if layer.reverse else layer.x
    states = layer.states if len(layer.states) > 1 else layer.states[0]
    weights, both = _native_weights(layer, order), layer.direction == "bidirectional"
    has_biases = layer.biases is not None
    # Training is said so that cuDNN keeps what the backward pass needs; there is no dropout.
    y, *last = function(x, states, weights, has_biases, 1, 0.0, True, both, False)
    y = torch.unflatten(y, 2, (layer.weights.shape[0], -1)).transpose(1, 2)
    return _arrange(layer, y.flip(0) if layer.reverse else y, last)


def _run_slowly(cell: Cell, layer: Layer, directions: list[Direction]) -> Any:
    lengths = layer.lengths.to(layer.x.device) if layer.lengths is not None else None
    runs = [
        run_steps(
            cell,
            direction,
            layer.x,
            tuple(state[place] for state in layer.states),
            lengths,
            backwards=layer.reverse or place == 1,
        )
        for place, direction in enumerate(directions)
    ]
    last = [torch.stack([states[i] for _, states in runs]) for i in range(len(layer.states))]
    return _arrange(layer, torch.stack([y for y, _ in runs], 1), last)


def _arrange(layer: Layer, y: Tensor, last: list[Tensor]) -> tuple[Tensor, ...]:
    if not layer.batch_first:
        return (y, *last)
    return (y.permute(2, 0, 1, 3), *[state.transpose(0, 1) for state in last])


def _directions(
    layer: Layer,
    activations: list[str],
    numbers: tuple[list[float] | None, list[float] | None],
    each: int,
    **settings: Any,
) -> list[Direction]:
    peepholes: Tensor | None = settings.pop("peepholes", None)
    count = layer.weights.shape[0]
    functions = share_out(make_activations(activations, *numbers), count, each)
    return [
        Direction(
            layer.weights[place],
            layer.recurrent[place],
            layer.biases[place] if layer.biases is not None else None,
            functions[place],
            peepholes=peepholes[place] if peepholes is not None else None,
            **settings,
        )
        for place in range(count)
    ]


def _are(activations: list[str] | None, *defaults: str) -> bool:
    if activations is None:
        return True
    names = [name.lower() for name in activations]
    return names == list(defaults) * (len(names) // len(defaults))


@operator("LSTM")
def run_lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    initial_h: Tensor | None = None,
    initial_c: Tensor | None = None,
    p: Tensor | None = None,
    *,
    activations: list[str] | None = None,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    output_sequence: int = 0,
) -> Any:
    """Compute a layer of long short-term memory: all hidden states, the last, the last cell."""
    layer = _read((x, w, r, b, lengths), [initial_h, initial_c], direction, layout)
    plain = _are(activations, "sigmoid", "tanh", "tanh") and not (clip or input_forget)
    if plain and p is None and layer.lengths is None:
        return _run_native(torch.lstm, layer, LSTM_ORDER)
    directions = _directions(
        layer,
        activations or ["Sigmoid", "Tanh", "Tanh"],
        (activation_alpha, activation_beta),
        3,
        clip=clip,
        peepholes=p,
        coupled=bool(input_forget),
    )
    return _run_slowly(step_lstm, layer, directions)


@operator("GRU")
def run_gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activations: list[str] | None = None,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 0,
) -> Any:
    """Compute a layer of gated recurrent units: all hidden states and the last."""
    layer = _read((x, w, r, b, lengths), [initial_h], direction, layout)
    plain = _are(activations, "sigmoid", "tanh") and linear_before_reset and not clip
    if plain and layer.lengths is None:
        return _run_native(torch.gru, layer, GRU_ORDER)
    directions = _directions(
        layer,
        activations or ["Sigmoid", "Tanh"],
        (activation_alpha, activation_beta),
        2,
        clip=clip,
        linear_before_reset=bool(linear_before_reset),
    )
    return _run_slowly(step_gru, layer, directions)


@operator("RNN")
def run_rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    initial_h: Tensor | None = None,
    *,
    activations: list[str] | None = None,
    activation_alpha: list[float] | None = None,
    activation_beta: list[float] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    output_sequence: int = 0,
) -> Any:
    """Compute a plain recurrent layer: all hidden states and the last."""
    layer = _read((x, w, r, b, lengths), [initial_h], direction, layout)
    if layer.lengths is None and not clip:
        if _are(activations, "tanh"):
            return _run_native(torch.rnn_tanh, layer, [0])
        if _are(activations, "relu"):
            return _run_native(torch.rnn_relu, layer, [0])
    directions = _directions(
        layer, activations or ["Tanh"], (activation_alpha, activation_beta), 1, clip=clip
    )
    return _run_slowly(step_rnn, layer, directions)

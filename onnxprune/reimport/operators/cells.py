"""Runs recurrent layers step by step: every setting that torch's own layers do not have."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from onnxprune.errors import InputError, UnsupportedError

Activation = Callable[[Tensor], Tensor]
States = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """One direction of a layer.

    Args:
        weights: of the input, [gates * hidden, input]; `recurrent`: of the state.
        biases: of input and state, [2 * gates * hidden]; None for none.
        activations: of the gates and what follows, in ONNX's order.
        clip: bounds what goes into an activation.
        peepholes: of an LSTM's gates i, o, f.
        coupled: whether an LSTM forgets what it does not take in.
        linear_before_reset: whether a GRU multiplies before it resets.
    """

    weights: Tensor
    recurrent: Tensor
    biases: Tensor | None
    activations: list[Activation]
    clip: float | None = None
    peepholes: Tensor | None = None
    coupled: bool = False
    linear_before_reset: bool = False

    def bounded(self, value: Tensor) -> Tensor:
        """Bound what goes into an activation."""
        return value.clamp(-self.clip, self.clip) if self.clip else value


Cell = Callable[[Direction, Tensor, States], States]
"""Computes a step from its input, already multiplied with the weights, and the states."""


def run_steps(
    cell: Cell,
    direction: Direction,
    x: Tensor,
    states: States,
    lengths: Tensor | None,
    *,
    backwards: bool,
) -> tuple[Tensor, States]:
    """Return the hidden states of all steps, zeros behind a sequence's end, and the last ones."""
    first = _halves(direction)[0]
    inputs = functional.linear(x, direction.weights, first).unbind()
    steps = range(len(inputs))
    found: list[Tensor] = []
    for step in reversed(steps) if backwards else steps:
        new = cell(direction, inputs[step], states)
        if lengths is None:
            found.append(new[0])
        else:
            inside = (step < lengths).unsqueeze(1)
            found.append(torch.where(inside, new[0], 0.0))
            pairs = zip(new, states, strict=True)
            new = tuple(torch.where(inside, now, before) for now, before in pairs)
        states = new
    return torch.stack(found[::-1] if backwards else found), states


def step_rnn(direction: Direction, x: Tensor, states: States) -> States:
    """Compute one step of a plain recurrent layer."""
    (hidden,) = states
    value = x + functional.linear(hidden, direction.recurrent, _halves(direction)[1])
    return (direction.activations[0](direction.bounded(value)),)


def step_lstm(direction: Direction, x: Tensor, states: States) -> States:
    """Compute one step of an LSTM, whose gates are i, o, f, c."""
    hidden, cell = states
    gate, candidate, output = direction.activations
    value = x + functional.linear(hidden, direction.recurrent, _halves(direction)[1])
    i, o, f, c = value.chunk(4, 1)
    holes = direction.peepholes
    pi, po, pf = holes.chunk(3) if holes is not None else (None, None, None)
    taken = gate(direction.bounded(_look(i, pi, cell)))
    kept = 1 - taken if direction.coupled else gate(direction.bounded(_look(f, pf, cell)))
    cell = kept * cell + taken * candidate(direction.bounded(c))
    shown = gate(direction.bounded(_look(o, po, cell)))
    # ONNX Runtime does not bound the cell, though the standard may be read so.
    return shown * output(cell), cell


def step_gru(direction: Direction, x: Tensor, states: States) -> States:
    """Compute one step of a GRU, whose gates are z, r, h."""
    (hidden,) = states
    gate, candidate = direction.activations
    second, size = _halves(direction)[1], hidden.shape[1]
    xz, xh = torch.split(x, [2 * size, size], 1)
    rz, rh = torch.split(direction.recurrent, [2 * size, size])
    bz, bh = torch.split(second, [2 * size, size]) if second is not None else (None, None)
    z, r = gate(direction.bounded(xz + functional.linear(hidden, rz, bz))).chunk(2, 1)
    if direction.linear_before_reset:
        inner = r * functional.linear(hidden, rh, bh)
    else:
        inner = functional.linear(r * hidden, rh, bh)
    new = candidate(direction.bounded(xh + inner))
    return ((1 - z) * new + z * hidden,)


def _halves(direction: Direction) -> tuple[Tensor | None, Tensor | None]:
    if direction.biases is None:
        return None, None
    first, second = direction.biases.chunk(2)
    return first, second


def _look(value: Tensor, peephole: Tensor | None, cell: Tensor) -> Tensor:
    return value if peephole is None else value + peephole * cell


def _affine(x: Tensor, alpha: float, beta: float) -> Tensor:
    return alpha * x + beta


def _scaled_tanh(x: Tensor, alpha: float, beta: float) -> Tensor:
    return alpha * torch.tanh(beta * x)


def _hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def _leaky_relu(x: Tensor, alpha: float) -> Tensor:
    return functional.leaky_relu(x, alpha)


def _thresholded_relu(x: Tensor, alpha: float) -> Tensor:
    return torch.where(x >= alpha, x, 0.0)


def _elu(x: Tensor, alpha: float) -> Tensor:
    return functional.elu(x, alpha)


PLAIN: dict[str, Activation] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
}
NUMBERED: dict[str, tuple[Callable[..., Tensor], list[float | None]]] = {
    "affine": (_affine, [None, None]),
    "elu": (_elu, [1.0]),
    "hardsigmoid": (_hard_sigmoid, [0.2, 0.5]),
    "leakyrelu": (_leaky_relu, [0.01]),
    "scaledtanh": (_scaled_tanh, [None, None]),
    "thresholdedrelu": (_thresholded_relu, [None]),
}
"""Functions with the values of alpha and beta; None where standard and runtime disagree."""


def make_activations(
    names: list[str], alphas: list[float] | None, betas: list[float] | None
) -> list[Activation]:
    """Return functions by their names; those that take numbers take the next ones."""
    given = [iter(alphas or []), iter(betas or [])]
    found: list[Activation] = []
    for name in names:
        key = name.lower()
        if key in PLAIN:
            found.append(PLAIN[key])
            continue
        if key not in NUMBERED:
            raise UnsupportedError(f"activation '{name}' of a recurrent layer is not known")
        function, defaults = NUMBERED[key]
        numbers = [next(each, usual) for each, usual in zip(given, defaults, strict=False)]
        if None in numbers:
            raise UnsupportedError(f"activation '{name}' of a recurrent layer has no numbers")
        found.append(_with_numbers(function, numbers))
    return found


def _with_numbers(function: Callable[..., Tensor], numbers: list[float | None]) -> Activation:
    def compute(x: Tensor) -> Tensor:
        return function(x, *numbers)

    return compute


def share_out(found: list[Activation], directions: int, each: int) -> list[list[Activation]]:
    """Give every direction its activations; one set serves for both."""
    if len(found) == each:
        return [found] * directions
    if len(found) != each * directions:
        raise InputError(f"{len(found)} activations for {directions} directions of {each}")
    return [found[place : place + each] for place in range(0, len(found), each)]

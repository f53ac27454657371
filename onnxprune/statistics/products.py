"""The functions of torch that multiply matrices: which operand is multiplied with what.

Any tensor in the shape of an operand can stand for it: its numbers are arranged as the rows of
matrices, each of which comes with the columns that the function multiplies it with.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from onnxprune.statistics.columns import Plain, Windows

CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED = (*CONVOLUTION[:5], "output_padding", "groups", "dilation")
RECURRENT = ("input", "hx", "params", "has_biases", "num_layers", "dropout", "train")
BATCHES = ("bidirectional", "batch_first")
DOTS = "..."


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A matrix [outputs, inputs], the columns it is multiplied with, and what by, besides."""

    matrix: Tensor
    columns: Plain | Windows
    factor: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """A tensor that a function multiplies, and how whatever stands for it is arranged."""

    tensor: Tensor
    arrange: Callable[[Tensor], Iterator[Part]]


Arguments = tuple[Any, ...]
Named = Mapping[str, Any]
Product = Callable[[Arguments, Named, Any], list[Operand]]
"""(arguments, those by keyword, result) -> the operands that may be weights."""


def _bound(names: Sequence[str], args: Arguments, kwargs: Named) -> dict[str, Any]:
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _numbers(value: int | Sequence[int], rank: int) -> list[int]:
    """Return one number per dimension."""
    if isinstance(value, int):
        return [value] * rank
    return list(value) * rank if len(value) == 1 else list(value)


def _convolution(args: Arguments, kwargs: Named, result: Any) -> list[Operand]:
    given = _bound(CONVOLUTION, args, kwargs)
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        return []
    return [Operand(given["weight"], partial(_slide, given))]


def _slide(given: Named, w: Tensor) -> Iterator[Part]:
    """Arrange [outputs, inputs of a group, kernel]."""
    groups, rank = given.get("groups", 1), w.dim() - 2
    strides, padding, dilations = (
        _numbers(given.get(name, usual), rank)
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    channels = given["input"].detach().chunk(groups, 1)
    for x, kernel in zip(channels, w.chunk(groups), strict=True):
        windows = Windows(
            x, w.shape[2:], strides, dilations, padding, padding, apart=[1] * rank
        )
        yield Part(kernel.flatten(1), windows)


def _transposed_convolution(args: Arguments, kwargs: Named, result: Any) -> list[Operand]:
    given = _bound(TRANSPOSED, args, kwargs)
    return [Operand(given["weight"], partial(_spread, given))]


def _spread(given: Named, w: Tensor) -> Iterator[Part]:
    """Arrange [inputs, outputs of a group, kernel]: turned round, it slides over zeros, too."""
    groups, rank = given.get("groups", 1), w.dim() - 2
    strides, padding, extra, dilations = (
        _numbers(given.get(name, usual), rank)
        for name, usual in (
            ("stride", 1),
            ("padding", 0),
            ("output_padding", 0),
            ("dilation", 1),
        )
    )
    reach = [(size - 1) * gap for size, gap in zip(w.shape[2:], dilations, strict=True)]
    begins = [span - less for span, less in zip(reach, padding, strict=True)]
    ends = [begin + more for begin, more in zip(begins, extra, strict=True)]
    channels = given["input"].detach().chunk(groups, 1)
    for x, kernel in zip(channels, w.chunk(groups), strict=True):
        turned = kernel.transpose(0, 1).flip(list(range(2, w.dim())))
        windows = Windows(x, w.shape[2:], [1] * rank, dilations, begins, ends, apart=strides)
        yield Part(turned.flatten(1), windows)


def _linear(args: Arguments, kwargs: Named, result: Any) -> list[Operand]:
    given = _bound(("input", "weight"), args, kwargs)
    x, w = given["input"].detach(), given["weight"].detach()
    return [
        Operand(given["input"], partial(_left, _turned(w))),
        _applied(x, given["weight"]),
    ]


def _product(
    names: Sequence[str], args: Arguments, kwargs: Named, result: Any
) -> list[Operand]:
    given = _bound(names, args, kwargs)
    left, right = (given[name] for name in names[-2:])
    alpha = float(given.get("alpha", 1))

    def scaled(arrange: Callable[[Tensor], Iterator[Part]], w: Tensor) -> Iterator[Part]:
        return (replace(part, factor=alpha) for part in arrange(w))

    return [
        Operand(left, partial(scaled, partial(_left, right.detach()))),
        Operand(right, partial(scaled, partial(_right, left.detach()))),
    ]


def _left(x: Tensor, w: Tensor) -> Iterator[Part]:
    """Arrange the left operand of w @ x."""
    return _right(_turned(x), _turned(w))


def _turned(x: Tensor) -> Tensor:
    return x.mT if x.dim() > 1 else x


def _right(x: Tensor, w: Tensor) -> Iterator[Part]:
    """Arrange the right operand of x @ w, a matrix for each place in a batch of its own."""
    w = w if w.dim() > 1 else w.unsqueeze(1)
    x = x if x.dim() > 1 else x.unsqueeze(0)
    rank = max(x.dim(), w.dim()) - 2
    w = w.reshape(*[1] * (rank + 2 - w.dim()), *w.shape)
    x = x.reshape(*[1] * (rank + 2 - x.dim()), *x.shape)
    own = [dim for dim in range(rank) if w.shape[dim] != 1]
    shared = [dim for dim in range(rank) if w.shape[dim] == 1]
    x = x.expand([w.shape[dim] if dim in own else x.shape[dim] for dim in range(rank + 2)])
    order = [*own, *shared, rank + 1, rank]
    return _pairs(x.permute(order), w.permute(order), len(own), len(shared))


def _pairs(x: Tensor, w: Tensor, batch: int, samples: int, inputs: int = 1) -> Iterator[Part]:
    """Pair matrices with columns.

    Args:
        x: [batch ..., samples ..., inputs ..., places ...].
        w: [batch ..., ones and outputs ..., inputs ...].
        batch: how many dimensions count matrices; `samples`, `inputs`: the same.
        samples: see above.
        inputs: see above.
    """
    count = math.prod(x.shape[:batch])
    ends = batch + samples + inputs
    features = math.prod(x.shape[batch + samples : ends])
    shape = (count, math.prod(x.shape[batch : batch + samples]), features)
    columns = x.reshape(*shape, math.prod(x.shape[ends:]))
    matrices = w.reshape(count, math.prod(w.shape[batch : w.dim() - inputs]), features)
    for place in range(count):
        yield Part(matrices[place], Plain(columns[place]))


def _einsum(args: Arguments, kwargs: Named, result: Any) -> list[Operand]:
    equation, *operands = args
    joined, arrow, kept = equation.replace(" ", "").partition("->")
    terms = joined.split(",")
    if not arrow:
        once = [letter for letter in joined if letter.isalpha() and joined.count(letter) == 1]
        kept = (DOTS if DOTS in joined else "") + "".join(once)
    return [
        Operand(operand, partial(_contract, terms, kept, operands, place))
        for place, operand in enumerate(operands)
    ]


def _contract(
    terms: Sequence[str], kept: str, operands: Sequence[Tensor], place: int, w: Tensor
) -> Iterator[Part]:
    """Arrange one operand of an equation; the others are multiplied with each other first."""
    own = terms[place]
    rest = ",".join([*terms[:place], *terms[place + 1 :]])
    others = [each.detach() for number, each in enumerate(operands) if number != place]
    alone = set(own) - set(rest) - set(kept)
    if DOTS in own or len(set(own)) < len(own) or alone:
        return
    inputs = [letter for letter in own if letter not in kept]
    batch = [letter for letter in own if letter in rest and letter in kept]
    outputs = [letter for letter in own if letter not in rest]
    free = [letter for letter in kept if letter.isalpha() and letter not in own]
    dots = DOTS if DOTS in rest and DOTS in kept else ""
    if not inputs:
        return
    x = torch.einsum(f"{rest}->{''.join([*batch, dots, *inputs, *free])}", *others)
    samples = x.dim() - len(batch) - len(inputs) - len(free)
    w = w.permute([own.index(letter) for letter in [*batch, *outputs, *inputs]])
    matched = x.shape[: len(batch)] + x.shape[len(batch) + samples :][: len(inputs)]
    if matched != w.shape[: len(batch)] + w.shape[len(batch) + len(outputs) :]:
        return  # one that is spread over the other
    yield from _pairs(x, w, len(batch), samples, len(inputs))


def _recurrent(args: Arguments, kwargs: Named, result: Any) -> list[Operand]:
    """Return weights of input and state: states are what a layer gave the step before."""
    given = _bound((*RECURRENT, *BATCHES), args, kwargs)
    sets, each = 1 + given["bidirectional"], 4 if given["has_biases"] else 2
    if len(given["params"]) != sets * each or given["batch_first"]:
        return []
    x, y = given["input"].detach(), result[0].detach()
    states = given["hx"] if isinstance(given["hx"], Tensor) else given["hx"][0]
    operands = []
    for place, found in enumerate(y.chunk(sets, 2)):
        first = states[place : place + 1].detach()
        before = torch.cat([found[1:], first] if place else [first, found[:-1]])
        weights = given["params"][place * each :]
        operands += [_applied(x, weights[0]), _applied(before, weights[1])]
    return operands


def _applied(x: Tensor, weight: Tensor) -> Operand:
    """Return a weight [outputs, inputs] that is multiplied with the last dimension of x."""
    return Operand(weight, lambda stand: _right(x, _turned(stand)))


PRODUCTS: dict[str, Product] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(
        ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed_convolution
    ),
    "linear": _linear,
    **dict.fromkeys(("matmul", "__matmul__"), partial(_product, ("input", "other"))),
    **dict.fromkeys(("mm", "bmm"), partial(_product, ("input", "mat2"))),
    "addmm": partial(_product, ("input", "mat1", "mat2")),
    "baddbmm": partial(_product, ("input", "batch1", "batch2")),
    "einsum": _einsum,
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
}
"""By a function's name, how its operands are found."""

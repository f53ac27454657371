"""What becomes of constant channels in operators that move, pool and sum."""

import numpy as np
from onnx import numpy_helper

from onnxprune.structure.registry import settles
from onnxprune.structure.steady.known import UNKNOWN, Known, Look, apply, combine, only_zero
from onnxprune.structure.values import Given, Origin, Part, Same
from onnxprune.types import Array


def moved(look: Look, origins: tuple[Origin, ...]) -> Known:
    """Return what is known of an output whose values are those of inputs."""
    made = tuple(_origin(look, origin) for origin in origins)
    wholes = {look.known(index).whole for index in _sources(look)}
    return Known(wholes.pop() if len(wholes) == 1 else UNKNOWN, made)


def _sources(look: Look) -> list[int]:
    several = look.node.op_type == "Concat"
    return list(range(len(look.inputs))) if several else [0]


def _origin(look: Look, origin: Origin) -> Array | None:
    if isinstance(origin, str):
        return None
    if isinstance(origin, Given):
        return (
            None if origin.axis.size is None else np.full(origin.axis.size, look.known().whole)
        )
    if isinstance(origin, Same):
        return look.known(origin.input).along(origin.axis)
    return np.concatenate([_part(look, part) for part in origin])


def _part(look: Look, part: Part) -> Array:
    if part.input < 0:
        return np.full(len(part.positions), part.fill)
    found = look.known(part.input).along(part.axis)
    if found is None:
        return np.full(len(part.positions), look.known(part.input).whole)
    table = found[part.positions]
    if not table.size:
        return np.zeros(0)
    return np.where((table == table[:, :1]).all(1), table[:, 0], UNKNOWN)


def padded(look: Look, known: Known) -> Known:
    """Keep channels that hold what is put around them."""
    if look.get("mode", b"constant") != b"constant":
        return known
    given = look.known(2).whole if look.has(2) else float(look.get("value", 0.0))
    return apply(known, lambda values: np.where(values == given, values, UNKNOWN))


def joined(look: Look, known: Known) -> Known:
    """Keep channels that hold the same in all that is put together along another axis."""
    place = int(look.get("axis", 0)) % max(len(known.axes), 1)
    others = combine(look, _equal)
    axes = zip(known.axes, others.axes, strict=True)
    made = tuple(own if at == place else other for at, (own, other) in enumerate(axes))
    return Known(known.whole, made)


def _equal(*sides: Array) -> Array:
    same = np.logical_and.reduce([side == sides[0] for side in sides])
    return np.where(same, sides[0], UNKNOWN)


AMENDING = {"Pad": padded, "Concat": joined}
"""What else has to hold in operators that move values."""


@settles("ConstantOfShape")
def constant_of_shape(look: Look) -> Known:
    """Hold one number everywhere."""
    value = look.get("value", None)
    number = 0.0 if value is None else float(numpy_helper.to_array(value).ravel()[0])
    return Known(number, (None,) * len(look.outputs[0]))


@settles("MaxPool", "GlobalMaxPool", "GlobalAveragePool")
def pool(look: Look) -> Known:
    """Keep each channel's number."""
    return _without_pixels(look.known(), len(look.outputs[0]))


@settles("AveragePool", "LpPool", "GlobalLpPool", "Resize", "Upsample")
def average(look: Look) -> Known:
    """Keep zeros."""
    return apply(_without_pixels(look.known(), len(look.outputs[0])), only_zero)


def _without_pixels(known: Known, rank: int) -> Known:
    axes = (*known.axes[:2], *(None,) * (rank - 2))
    return Known(known.whole, axes[:rank])


@settles("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")
def sums(look: Look) -> Known:
    """Keep zeros."""
    return apply(_reduced(look), only_zero)


@settles("ReduceMean", "ReduceMax", "ReduceMin")
def reduce(look: Look) -> Known:
    """Keep each channel's number."""
    return _reduced(look)


def _reduced(look: Look) -> Known:
    """Find each output's axis among the input's, which it is one of."""
    shape = look.shapes[0]
    known = look.known()
    made: list[Array | None] = []
    for axis in look.outputs[0]:
        places = [at for at, each in enumerate(shape) if each is axis]
        made.append(known.along(places[0]) if places else None)
    return Known(known.whole, tuple(made))

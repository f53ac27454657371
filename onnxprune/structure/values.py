"""What is known of a value while its channels are followed: axes, their labels, numbers."""

from dataclasses import dataclass

from onnxprune.types import Array


class UnfollowableError(Exception):
    """Channels cannot be followed through a node; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One axis of a value.

    Args:
        size: how long it is; None where that is not known.
        labels: the channel of each position; None where positions are no channels.
        why: why they are none.
    """

    size: int | None
    labels: Array | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """One whole number of a shape: known, or the length of an axis, or both."""

    value: int | None
    axis: Axis | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One value of the graph.

    Args:
        axes: its axes; None where their number is not known.
        numbers: the whole numbers that it holds, if it is a small tensor of them.
        why: why nothing is known of it.
    """

    axes: tuple[Axis, ...] | None
    numbers: Array | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Positions of an output's axis that come from an input's axis.

    Args:
        input: the node's input; -1 where the positions hold `fill`.
        axis: its axis.
        positions: for each position of the output, those of the input that lie in it.
        fill: see above.
        labels: the channels of the positions that hold `fill`.
    """

    input: int
    axis: int
    positions: Array
    fill: float = 0.0
    labels: Array | None = None


Parts = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Same:
    """An output's axis that is an input's axis."""

    input: int
    axis: int


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """An output's axis that is none of the inputs', or as long as another value's axis."""

    axis: Axis


Origin = Same | Given | Parts | str
"""Where an axis comes from; a text says why its positions are no channels."""


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Outputs whose values are those of inputs at other positions.

    Args:
        outputs: for each output and axis, where its positions come from.
    """

    outputs: tuple[tuple[Origin, ...], ...]


@dataclass(frozen=True, slots=True)
class Operand:
    """One axis of a node's input, by the name of the value."""

    name: str
    axis: int


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A place where a sum goes over channels: what is zero on one side may go.

    Args:
        labels: the channels.
        operands: the axes that are multiplied with each other.
        node: what the node is called.
    """

    labels: Array
    operands: tuple[Operand, ...]
    node: str


@dataclass(frozen=True, slots=True, eq=False)
class Count:
    """How many of some channels are left, over a divisor."""

    labels: Array
    divisor: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """The place of a channel among those that are left; it vanishes with the channel."""

    labels: Array
    position: int


Item = int | Count | Picked


@dataclass(frozen=True, slots=True, eq=False)
class Repair:
    """A node's constant that tells of channels, and what it is when some are gone.

    Args:
        node: the node, by its place in the graph.
        target: the index of an input, or the name of an attribute.
        items: its numbers.
        before: what they are now; None where the node leaves them out.
        scalar: whether it is one number, not a list.
        drop: an attribute that it takes the place of.
    """

    node: int
    target: int | str
    items: tuple[Item, ...]
    before: tuple[int, ...] | None
    scalar: bool = False
    drop: str = ""

"""Changes to a message that know how protobuf writes it: lengths stay right unless they lie."""

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz import values
from tests.fuzz.tensor_changes import OF_TENSORS
from tests.fuzz.trees import (
    BYTES,
    FIXED32,
    FIXED64,
    KINDS,
    TENSOR,
    VARINT,
    Field,
    Message,
    messages,
)

LARGEST = 200_000
"""No input is made longer by repeating what is in it."""

REPEATS = (2, 2, 3, 3, 9, 9, 70, 400, 5000)
WIDTHS = (2, 3, 5, 9, 10, 11)


class Donors:
    """Fields and messages of all models in a corpus, by what they are."""

    def __init__(self, roots: Sequence[Message]) -> None:
        self._fields: dict[tuple[str, int], list[Field]] = {}
        self._numbers: dict[str, list[int]] = {}
        for root in roots:
            for message in messages(root):
                for each in message.fields:
                    self._fields.setdefault((message.kind, each.number), []).append(each)
        for kind, number in self._fields:
            self._numbers.setdefault(kind, []).append(number)

    def field(self, chance: Random, kind: str, number: int | None = None) -> Field | None:
        """Draw a field of a message of this kind, with this number if one is asked for."""
        if number is None:
            numbers = self._numbers.get(kind)
            if not numbers:
                return None
            number = chance.choice(numbers)
        found = self._fields.get((kind, number))
        return chance.choice(found) if found else None


Change = Callable[[Random, Message, int, Donors], Message | None]
"""(chance, a message, the index of one of its fields, donors) -> the changed message."""


def changed(chance: Random, root: Message, donors: Donors) -> Message:
    """Change a message, or one of those in it, a few times."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        root = _changed_within(chance, root, donors)
    return root


def _changed_within(chance: Random, message: Message, donors: Donors) -> Message:
    """Go down to some message, which is changed."""
    inner = [n for n, each in enumerate(message.fields) if isinstance(each.value, Message)]
    # A node in a graph is one of many; the graph's few other parts count as much.
    numbers = sorted({message.fields[index].number for index in inner})
    if inner and chance.random() < 0.8:
        weights = [_weight(message, number) for number in numbers]
        number = chance.choices(numbers, weights)[0]
        index = chance.choice([n for n in inner if message.fields[n].number == number])
        old = message.fields[index]
        assert isinstance(old.value, Message)
        new = old.changed(value=_changed_within(chance, old.value, donors))
        return message.with_field(index, new)
    return _changed_here(chance, message, donors)


def _weight(message: Message, number: int) -> float:
    size = sum(1 + each.size for each in message.fields if each.number == number)
    return float(size**0.5)


def _changed_here(chance: Random, message: Message, donors: Donors) -> Message:
    if not message.fields:
        return _inserted(chance, message, 0, donors) or message
    number = chance.choice(sorted({each.number for each in message.fields}))
    places = [n for n, each in enumerate(message.fields) if each.number == number]
    for _ in range(6):
        if message.kind == TENSOR and chance.random() < 0.3:
            return chance.choice(OF_TENSORS)(chance, message)
        made = chance.choice(CHANGES)(chance, message, chance.choice(places), donors)
        if made is not None:
            return made
    return message


def _value(chance: Random, message: Message, index: int, donors: Donors) -> Message | None:
    """Give a field another value of its own kind."""
    field = message.fields[index]
    value = field.value
    new: int | bytes
    if isinstance(value, int):
        new = values.number(chance, value)
    elif isinstance(value, Message):
        return None
    elif field.wire != BYTES:
        new = chance.choice(values.FLOATS) * (len(value) // 4)
    elif message.kind and field.number in KINDS[message.kind].texts:
        new = values.text(chance, value)
    else:
        new = values.damaged(chance, value)
    return message.with_field(index, field.changed(value=new))


def _other_text(
    chance: Random, message: Message, index: int, donors: Donors
) -> Message | None:
    """Give a text the value of another one beside it: names meet that should not."""
    field = message.fields[index]
    texts = [each.value for each in message.fields if isinstance(each.value, bytes)]
    if not isinstance(field.value, bytes) or field.wire != BYTES or len(texts) < 2:
        return None
    return message.with_field(index, field.changed(value=chance.choice(texts)))


def _wire(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    """Write a value as another wire type."""
    field = message.fields[index]
    wire = chance.choice((VARINT, FIXED64, BYTES, FIXED32, 3, 4, 6, 7))
    content = field.content
    value: int | bytes = content
    if wire == VARINT:
        value = int.from_bytes(content[:8], "little")
    elif wire in (FIXED64, FIXED32):
        value = content.ljust(8, b"\0")[: 8 if wire == FIXED64 else 4]
    elif wire != BYTES:
        value = b""
    return message.with_field(index, field.changed(wire=wire, value=value))


def _number(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    """Call a field by another number."""
    known = list(KINDS[message.kind].fields) if message.kind else [1, 2, 3]
    new = chance.choice([*known, *known, 0, 15, 16, 19_000, (1 << 29) - 1, 1 << 29, 1 << 32])
    return message.with_field(index, message.fields[index].changed(number=new))


def _duplicated(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    field = message.fields[index]
    fields = list(message.fields)
    fields.insert(chance.randrange(len(fields) + 1), field)
    return message.with_fields(fields)


def _repeated(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    field = message.fields[index]
    count = min(chance.choice(REPEATS), 1 + LARGEST // (1 + len(field.encoded)))
    return message.with_field(index, *[field] * count)


def _deleted(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    return message.with_field(index)


def _swapped(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    fields = list(message.fields)
    other = chance.randrange(len(fields))
    fields[index], fields[other] = fields[other], fields[index]
    return message.with_fields(fields)


def _shuffled(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    fields = list(message.fields)
    chance.shuffle(fields)
    return message.with_fields(fields)


def _replaced(chance: Random, message: Message, index: int, donors: Donors) -> Message | None:
    """Take the same field from another model."""
    donor = donors.field(chance, message.kind, message.fields[index].number)
    return None if donor is None else message.with_field(index, donor)


def _inserted(chance: Random, message: Message, index: int, donors: Donors) -> Message | None:
    """Add a field that a message of this kind has in another model."""
    donor = donors.field(chance, message.kind)
    if donor is None:
        return None
    at = chance.randrange(len(message.fields) + 1)
    return message.with_fields([*message.fields[:at], donor, *message.fields[at:]])


def _shortened(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    """Leave out all fields from one on."""
    return message.with_fields(message.fields[:index])


def _broken_off(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    """End a field anywhere; the lengths around it know."""
    field = message.fields[index]
    content = values.cut(chance, field.content)
    return message.with_field(index, field.changed(wire=BYTES, value=content))


def _damaged(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    """Change bytes of a field, tags and lengths in it included."""
    field = message.fields[index]
    content = values.damaged(chance, field.content)
    return message.with_field(index, field.changed(wire=BYTES, value=content))


def _lying(chance: Random, message: Message, index: int, donors: Donors) -> Message | None:
    """Let a length say more or less than there is."""
    field = message.fields[index]
    if field.wire != BYTES:
        return None
    lie = chance.choice((-3, -1, 1, 2, 5, 100, 1 << 20, 1 << 31, 1 << 32, 1 << 63))
    return message.with_field(index, field.changed(lie=lie))


def _overlong(chance: Random, message: Message, index: int, donors: Donors) -> Message:
    """Write a tag, a length or a number in more bytes than it needs."""
    widths = [1, 1]
    widths[chance.randrange(2)] = chance.choice(WIDTHS)
    return message.with_field(index, message.fields[index].changed(widths=tuple(widths)))


def _nested(chance: Random, message: Message, index: int, donors: Donors) -> Message | None:
    """Put a message into one of its own kind, as often as it may go or more."""
    ways = NESTS.get(message.kind)
    if ways is None:
        return None
    count = chance.choice((1, 1, 2, 10, 24, 33, 60, 120))
    for _ in range(count):
        message = chance.choice(ways)(message)
        if (
            len(message.encoded) + message.size > LARGEST
        ):  # known here, so never to be recursed
            break
    return message


def _in_branch(graph: Message) -> Message:
    text = Field(1, BYTES, b"then_branch"), Field(20, VARINT, 5)
    attribute = Message("AttributeProto", (*text, Field(6, BYTES, graph)))
    node = (Field(2, BYTES, b"y"), Field(4, BYTES, b"If"), Field(5, BYTES, attribute))
    return graph.with_fields((Field(1, BYTES, Message("NodeProto", node)), *_plain(graph)))


def _in_graphs(graph: Message) -> Message:
    attribute = Message("AttributeProto", (Field(11, BYTES, graph), Field(1, BYTES, b"body")))
    node = Message("NodeProto", (Field(4, BYTES, b"Odd"), Field(5, BYTES, attribute)))
    return graph.with_fields((*_plain(graph), Field(1, BYTES, node)))


def _plain(graph: Message) -> list[Field]:
    """Return a few fields that do not grow with what is put into the graph."""
    return [each for each in graph.fields if not each.size and len(each.content) < 60][:3]


def _in_sequence(kind: Message) -> Message:
    inner = Message("TypeProto.Sequence", (Field(1, BYTES, kind),))
    return kind.with_fields((Field(4, BYTES, inner),))


def _in_map(kind: Message) -> Message:
    inner = Message("TypeProto.Map", (Field(1, VARINT, 7), Field(2, BYTES, kind)))
    return kind.with_fields((Field(5, BYTES, inner),))


NESTS: dict[str, list[Callable[[Message], Message]]] = {
    "GraphProto": [_in_branch, _in_graphs],
    "TypeProto": [_in_sequence, _in_map],
}
CHANGES: list[Change] = [
    *(_value, _value, _value, _value, _other_text, _other_text),
    *(_wire, _number, _duplicated, _duplicated, _repeated, _deleted, _deleted),
    *(_swapped, _shuffled, _replaced, _replaced, _inserted, _inserted),
    *(_shortened, _broken_off, _damaged, _lying, _overlong, _nested),
]

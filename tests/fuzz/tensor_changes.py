"""Changes that know what a tensor's fields mean: shapes, types, where its data lie."""

from random import Random

from tests.fuzz import values
from tests.fuzz.trees import BYTES, VARINT, Field, Message

TYPES = range(28)
KEYS = (b"location", b"offset", b"length", b"checksum", b"basepath", b"")
DATA = (4, 5, 7, 9, 10, 11)


def _dims(chance: Random, message: Message) -> Message:
    """Give a tensor another shape, often one of as many elements."""
    sizes = [each.value for each in message.fields if each.number == 1]
    plain = [size for size in sizes if isinstance(size, int)]
    way = chance.randrange(4)
    if way == 0:
        plain = plain[::-1]
    elif way == 1 and len(plain) > 1:
        plain = [plain[0] * plain[1] & (1 << 64) - 1, *plain[2:]]
    elif way == 2:
        plain.insert(chance.randrange(len(plain) + 1), chance.choice((1, 1, 0, (1 << 64) - 1)))
    else:
        plain = [values.number(chance, size) for size in plain]
    rest = [each for each in message.fields if each.number != 1]
    if chance.random() < 0.2:
        packed = b"".join(Field(0, VARINT, size).encoded[1:] for size in plain)
        return message.with_fields([Field(1, BYTES, packed), *rest])
    return message.with_fields([*(Field(1, VARINT, size) for size in plain), *rest])


def _data_type(chance: Random, message: Message) -> Message:
    rest = [each for each in message.fields if each.number != 2]
    return message.with_fields([Field(2, VARINT, chance.choice(TYPES)), *rest])


def _data_field(chance: Random, message: Message) -> Message:
    """Move the data of a tensor into another field."""
    number = chance.choice((4, 5, 6, 7, 9, 10, 11))
    fields = [
        each.changed(number=number) if each.number in DATA else each for each in message.fields
    ]
    return message.with_fields(fields)


def _split_data(chance: Random, message: Message) -> Message:
    """Write data in two parts, which protobuf joins where there may be several."""
    fields: list[Field] = []
    for each in message.fields:
        if each.number in DATA and isinstance(each.value, bytes):
            at = chance.randrange(0, len(each.value) + 1, 4 if len(each.value) % 4 == 0 else 1)
            fields += [
                each.changed(value=each.value[:at]),
                each.changed(value=each.value[at:]),
            ]
        else:
            fields.append(each)
    return message.with_fields(fields)


def _external(chance: Random, message: Message) -> Message:
    """Let a tensor say something else of where its data are."""
    key, said = chance.choice(KEYS), chance.choice(values.TEXTS)
    pair = (Field(1, BYTES, key), Field(2, BYTES, said))
    entry = Field(13, BYTES, Message("StringStringEntryProto", pair))
    fields = [each for each in message.fields if chance.random() < 0.9 or each.number == 13]
    if chance.random() < 0.3:
        fields = [each for each in fields if each.number not in (*DATA, 14)]
        fields.append(Field(14, VARINT, 1))
    return message.with_fields([*fields, entry])


OF_TENSORS = [_dims, _dims, _data_type, _data_field, _split_data, _external]

"""Pickles changed operation by operation, texts of headers and tables word by word."""

import pickletools
import re
from functools import lru_cache
from random import Random
from struct import pack

from tests.fuzz import values

GLOBALS = [
    *("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch Size"),
    *("torch._utils _rebuild_tensor_v3", "torch.jit._pickle restore_type_tag", "torch device"),
    *("collections OrderedDict", "torch FloatStorage", "torch HalfStorage", "torch float32"),
    *(
        "torch.storage UntypedStorage",
        "__torch__.Module",
        "builtins complex",
        "__builtin__ set",
    ),
    *("builtins eval", "os system", "posix system", "torch NoStorage", " ", "torch Storage"),
    *("a.b.c d.e", "\x1b[31m \n", "torch qint8", "torch per_tensor_affine", "torch.nn Linear"),
]
PIECES = [
    *(
        b"(",
        b")",
        b"]",
        b"}",
        b"N",
        b"\x88",
        b"\x89",
        b"0",
        b"2",
        b"t",
        b"l",
        b"d",
        b"a",
        b"e",
    ),
    *(
        b"s",
        b"u",
        b"R",
        b"b",
        b"Q",
        b"P",
        b"\x81",
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x93",
        b"\x94",
    ),
    *(b"q\0", b"h\0", b"h\xff", b"r\0\0\0\0", b"j\xff\xff\xff\x7f", b"o", b"1", b"\x92"),
    *(b"]q\0h\0a", b"}q\1X\1\0\0\0ah\1s", b"(" * 500, b"]" * 500, b"(" * 300 + b"t" * 300),
    *(
        b"\x85" * 300,
        b".",
        b"\x80\2",
        b"\x80\5",
        b"\x95" + bytes(8),
        b"I12\n",
        b"L9L\n",
        b"F1\n",
    ),
    *(
        b"S'a'\n",
        b"Va\\ud800\n",
        b"p0\n",
        b"g0\n",
        b"\x8c\1a",
        b"\x8e" + bytes(8),
        b"B\0\0\0\0",
    ),
    *(b"G" + bytes(8), b"J\xff\xff\xff\xff", b"\x8a\x09" + b"\xff" * 8 + b"\0", b"\x8a\0"),
    *(b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\xff", b"I01\n", b"I" + b"9" * 5000 + b"\n"),
]
STARTS = {"BININT1": b"K", "BININT2": b"M", "BININT": b"J", "LONG1": b"\x8a"}


@lru_cache(maxsize=200)
def operations(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Take a sound pickle apart: the name and the bytes of each operation."""
    try:
        found = [(each.name, at) for each, _, at in pickletools.genops(data)]
    except ValueError:
        return (("", data),)
    ends = [at for _, at in found[1:]] + [len(data)]
    return tuple(
        (name, data[at:end])
        for (name, at), end in zip(found, ends, strict=True)
        if at is not None
    )


def pickle_changed(chance: Random, data: bytes) -> bytes:
    """Change a few operations of a pickle."""
    made = list(operations(data))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        if not made:
            break
        index = chance.randrange(len(made))
        name, piece = made[index]
        way = chance.randrange(10)
        if way < 4:
            made[index] = name, _argument(chance, name, piece)
        elif way == 4:
            del made[index]
        elif way == 5:
            made.insert(chance.randrange(len(made)), made[index])
        elif way == 6:
            other = chance.randrange(len(made))
            made[index], made[other] = made[other], made[index]
        elif way == 7:
            made.insert(index, ("", chance.choice(PIECES)))
        elif way == 8:
            made[index] = "", _global(chance)
        else:
            made[index] = made[chance.randrange(len(made))]
    joined = b"".join(piece for _, piece in made)
    return values.damaged(chance, joined) if chance.random() < 0.1 else joined


def _argument(chance: Random, name: str, piece: bytes) -> bytes:
    if name in STARTS:
        old = int.from_bytes(piece[1:9], "little")
        return _integer(values.number(chance, old))
    if name in ("BINUNICODE", "SHORT_BINUNICODE"):
        text = values.text(chance, piece[5:])
        return b"X" + pack("<I", len(text)) + text
    if name == "GLOBAL":
        return _global(chance)
    if name in ("BINPUT", "BINGET"):
        return piece[:1] + bytes([chance.randrange(256)])
    return values.damaged(chance, piece)


def _integer(value: int) -> bytes:
    signed = value - (1 << 64) if value >= 1 << 63 else value
    if -(1 << 31) <= signed < 1 << 31:
        return b"J" + pack("<i", signed)
    return b"\x8a\x09" + signed.to_bytes(9, "little", signed=True)


def _global(chance: Random) -> bytes:
    module, _, name = chance.choice(GLOBALS).partition(" ")
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


WORDS = [
    *("<f4", "|O", "<f8", ">i4", "<U4", "<U0", "V8", "|S3", "<m8[s]", "<c16", "O", "|b1", "f"),
    *("[('a', '<f4')]", "[('a', '|O')]", "('<f4', (2,))", "{}", "None", "True", "False", "()"),
    *(
        "(3,)",
        "(0,)",
        "(-1, 4)",
        "(2, 3)",
        "(1,) * 4",
        "(1099511627776,)",
        "(2**40,)",
        "(1.0,)",
    ),
    *(
        "(True,)",
        "1e999",
        "nan",
        "'x'",
        "__import__('os')",
        "lambda: 0",
        "[" * 300,
        "(" * 3000,
    ),
    *(
        "{'descr'",
        "'shape'",
        "'fortran_order'",
        "'more'",
        "\\ud800",
        "\0",
        "#",
        "\n",
        ";",
        "\x0c",
    ),
    *(
        "0",
        "1",
        "-1",
        "9" * 25,
        "9" * 5000,
        "0x7f",
        "1_0",
        "0777",
        "1j",
        "1L",
        "+",
        "~1",
        "~" * 999,
    ),
    *(
        '{"as_int": -1}',
        '"as_int"',
        "null",
        "true",
        '""',
        '"\\u0000"',
        "[]",
        "1e400",
        "-0",
        "NaN",
    ),
    *(
        '"sizes"',
        '"dtype"',
        '"path_name"',
        '"../x"',
        '"use_pickle"',
        '{"a":' * 2000,
        "[" * 60_000,
    ),
]
TOKEN = re.compile(r"[\w.]+|'[^']*'|\"[^\"]*\"|\s+|[^\w\s]")


def text_changed(chance: Random, data: bytes) -> bytes:
    """Change a few words of a text."""
    words = TOKEN.findall(data.decode("utf-8", "surrogateescape"))
    for _ in range(chance.choice((1, 1, 2, 4))):
        if not words:
            break
        index = chance.randrange(len(words))
        way = chance.randrange(6)
        if way < 3:
            words[index] = chance.choice(WORDS)
        elif way == 3:
            words[index] = words[chance.randrange(len(words))]
        elif way == 4:
            del words[index]
        else:
            words.insert(index, chance.choice(WORDS))
    made = "".join(words).encode("utf-8", "surrogateescape")
    return values.damaged(chance, made) if chance.random() < 0.15 else made


def array_changed(chance: Random, data: bytes) -> bytes:
    """Change a file of numpy's: its header, mostly so that it is as long as it says."""
    way = chance.randrange(10)
    if way == 0:
        return values.damaged(chance, data)
    if way == 1:
        return values.cut(chance, data)
    if way == 2:
        return data + chance.randbytes(chance.choice((1, 4, 64)))
    start = 10 if data[6:7] == b"\1" else 12
    length = int.from_bytes(data[8:start], "little")
    header = text_changed(chance, data[start : start + length])[:200_000]
    version = chance.choice((1, 1, 1, 2, 3, 3, 0, 4, 255))
    said = values.number(chance, len(header), 16) if chance.random() < 0.1 else len(header)
    width = 2 if version == 1 else 4
    said &= (1 << 8 * width) - 1
    head = b"\x93NUMPY" + bytes([version, 0]) + said.to_bytes(width, "little")
    return head + header + data[start + length :]

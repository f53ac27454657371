"""Numbers, texts and bytes that have broken readers of files before, and damage to bytes."""

from random import Random

NUMBERS = [
    *(
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        9,
        10,
        16,
        17,
        21,
        22,
        23,
        25,
        26,
        27,
        64,
        65,
        99,
        127,
        128,
        255,
    ),
    *(1023, 1024, 4096, 4097, 65_535, 65_536, (1 << 24) - 1, 1 << 30),
    *((1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 40) + 1, 1 << 62, (1 << 62) + 8),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 128, (1 << 64) - 4, (1 << 64) - 2, (1 << 64) - 1),
]
SMALL = (0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 32, 64)
TEXTS = [
    *(
        b"",
        b"w",
        b"x",
        b"y",
        b".",
        b"..",
        b"../w.bin",
        b"a/../w.bin",
        b"/etc/passwd",
        b"w.bin",
    ),
    *(b"C:\\w.bin", b"..\\w", b"nul\0l", b"\n", b"a\nb", b"\r", b"\x1b[31m", b"\x9b", b"[/]"),
    *(b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x80\xae", "層".encode(), b"::error::w"),
    *(b"0", b"1", b"8", b"-1", b"+1", b" 1", b"1_0", b"1e3", b"0x10", b"9" * 30, b"9" * 5000),
    *("\u0664".encode(), "²".encode(), b"nan", b"abc", b"function:F/", b"#2", b"%s{0}"),
    *(b"location", b"offset", b"length", b"checksum", b"__class__", b"*/_ORT_MEM_ADDR_/*"),
    *(b"If", b"Loop", b"Scan", b"Constant", b"Gemm", b"MatMul", b"Conv", b"ConvTranspose"),
    *(b"LSTM", b"Einsum", b"Gather", b"QLinearConv", b"MatMulInteger", b"DequantizeLinear"),
    *(b"Identity", b"Cast", b"Transpose", b"Reshape", b"Flatten", b"Squeeze", b"Unsqueeze"),
    *(b"Slice", b"Split", b"Concat", b"Mul", b"Add", b"BatchNormalization", b"F"),
    *(b"ai.onnx", b"com.microsoft", b"my", b"local", b"ij,jk->ik", b"...,->.", b"->", b"ii,i"),
    *(b"perm", b"axis", b"axes", b"shape", b"group", b"transA", b"transB", b"value", b"body"),
    *(b"value_floats", b"value_ints", b"equation", b"block_size", b"then_branch"),
    *(b"n" * 300, b"n" * 4096, b"n" * 4097),
]
FLOATS = [
    *(b"\0\0\0\0", b"\0\0\0\x80", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff"),
    *(b"\xff\xff\x7f\x7f", b"\1\0\0\0", b"\0\0\x80\x3f"),
]


def number(chance: Random, old: int, bits: int = 64) -> int:
    """Draw a number, often one that is near another."""
    way = chance.randrange(6)
    if way == 0:
        new = old + chance.choice((-2, -1, 1, 2))
    elif way == 1:
        new = old ^ 1 << chance.randrange(bits)
    elif way == 2:
        new = chance.choice(SMALL)
    elif way == 3:
        new = old * chance.choice((0, 2, 3, -1, 1 << 8, 1 << 32))
    else:
        new = chance.choice(NUMBERS)
    return new & (1 << bits) - 1


def text(chance: Random, old: bytes) -> bytes:
    """Draw a text, or change one."""
    way = chance.randrange(8)
    if way < 4:
        return chance.choice(TEXTS)
    if way == 4:
        return old[: chance.randrange(len(old) + 1)]
    if way == 5:
        return old + chance.choice(TEXTS)
    return damaged(chance, old) if way == 6 else old * chance.choice((0, 2, 3, 40))


def damaged(chance: Random, data: bytes) -> bytes:
    """Change, take away or add a few bytes."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        if not made:
            return bytes(made)
        at = chance.randrange(len(made))
        way = chance.randrange(6)
        if way < 3:
            made[at] = chance.choice((0, 0xFF, 0x80, made[at] ^ 1 << chance.randrange(8)))
        elif way == 3:
            del made[at : at + chance.choice((1, 1, 2, 4, 30))]
        elif way == 4:
            made[at:at] = chance.randbytes(chance.choice((1, 2, 4, 9)))
        else:
            piece = made[at : at + chance.choice((2, 8, 40))]
            to = chance.randrange(len(made))
            made[to:to] = piece
    return bytes(made)


def cut(chance: Random, data: bytes) -> bytes:
    """Leave out the end."""
    return data[: chance.randrange(len(data))] if data else data

"""Small archives and pickles in torch's manner, good and bad, and modules that are unusual."""

import io
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onnxprune.errors import OnnxpruneError
from onnxprune.formats.files import open_regular
from onnxprune.formats.torch_archive import TorchArchive
from onnxprune.formats.torch_content import kind_of, stored_tensors
from onnxprune.formats.torch_pickle import StoredView

ENTRY, HEADER, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
FLAGS, METHOD, CRC, PACKED, SIZE, OFFSET = 8, 10, 16, 20, 24, 42
"""Where fields are in an entry of an archive's directory."""


@contextmanager
def archive(path: Path) -> Iterator[TorchArchive]:
    """Open an archive."""
    source = open_regular(path)
    try:
        yield TorchArchive(source)
    finally:
        source.close()


def static(path: Path) -> tuple[str, dict[str, StoredView]]:
    """Find out all that is found out without loading a file."""
    with archive(path) as opened:
        kind = kind_of(opened)
        return kind, stored_tensors(opened, kind)


def refusal(path: Path, read: Callable[[Path], object] = static) -> OnnxpruneError | None:
    """Return the error that a file is refused with; any other exception is a failure."""
    try:
        read(path)
    except OnnxpruneError as error:
        return error
    return None


class Unseekable(io.RawIOBase):
    """What an archive can only be written to from its beginning to its end."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


def zipped(
    members: Mapping[str, bytes],
    kind: int = zipfile.ZIP_STORED,
    described: bool = False,
    large: bool = False,
) -> bytes:
    """Return an archive of Python's.

    Args:
        members: their content by name.
        kind: how they are packed.
        described: whether their checksums stand behind them.
        large: whether they could be large.
    """
    target = Unseekable() if described else io.BytesIO()
    with zipfile.ZipFile(target, "w", kind) as made:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = kind
            with made.open(info, "w", force_zip64=large) as member:
                member.write(content)
    return target.content if isinstance(target, Unseekable) else target.getvalue()


def entry_of(content: bytes, name: str) -> int:
    """Return where the directory of an archive has a member."""
    at = content.find(ENTRY)
    while content[at + 46 : at + 46 + len(name)] != name.encode():
        at = content.index(ENTRY, at + 4)
    return at


def header_of(content: bytes, name: str) -> int:
    """Return where a member begins."""
    (at,) = struct.unpack_from("<I", content, entry_of(content, name) + OFFSET)
    return int(at)


def overwritten(content: bytes, at: int, value: bytes) -> bytes:
    """Write bytes over others."""
    return content[:at] + value + content[at + len(value) :]


def entry_changed(content: bytes, name: str, field: int, value: bytes) -> bytes:
    """Let the directory say something else of a member."""
    return overwritten(content, entry_of(content, name) + field, value)


def repacked(path: Path, changed: Mapping[str, bytes | None]) -> None:
    """Write an archive again, with some members changed, and some left out."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    folder = next(iter(content)).partition("/")[0]
    content |= {f"{folder}/{name}": value for name, value in changed.items()}
    path.write_bytes(
        zipped({name: data for name, data in content.items() if data is not None})
    )


def damaged(content: bytes, count: int, first: int = 0) -> Iterator[bytes]:
    """Change a few bytes from a place on, in ever other ways that are always the same."""
    chance = random.Random(0)
    for _ in range(count):
        made = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            at = chance.randrange(first, len(made))
            made[at] = chance.choice((0, 0xFF, made[at] ^ 1 << chance.randrange(8)))
        yield bytes(made)


def whole(*body: bytes) -> bytes:
    """Return a pickle."""
    return b"\x80\x02" + b"".join(body) + b"."


def plain(value: Any) -> bytes:
    """Return what a pickle has for a number, a text, or a list of these."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 2)
    pickler.fast = True  # without putting anything aside
    pickler.dump(value)
    return buffer.getvalue()[2:-1]


def row(*values: bytes) -> bytes:
    """Return what a pickle has for a tuple."""
    return b"(" + b"".join(values) + b"t"


def named(name: str) -> bytes:
    """Return what a pickle has for something that it names."""
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def called(name: str, *arguments: bytes) -> bytes:
    """Return what a pickle has for a call."""
    return named(name) + row(*arguments) + b"R"


def table(**values: bytes) -> bytes:
    """Return what a pickle has for a dictionary."""
    return b"}(" + b"".join(plain(name) + value for name, value in values.items()) + b"u"


def script(**attributes: bytes) -> bytes:
    """Return what a pickle has for a module of a script."""
    return named("__torch__.Module") + b")\x81" + table(**attributes) + b"b"


def storage(key: str = "0", size: int = 6, kind: str = "Float") -> bytes:
    """Return what a pickle has for a storage."""
    words = (plain("storage"), named(f"torch.{kind}Storage"), plain(key), plain("cpu"))
    return row(*words, plain(size)) + b"Q"


def tensor(
    shape: tuple[int, ...] = (2, 3),
    stride: tuple[int, ...] = (3, 1),
    offset: int = 0,
    values: bytes | None = None,
) -> bytes:
    """Return what a pickle has for a tensor."""
    return called(
        "torch._utils._rebuild_tensor_v2",
        storage() if values is None else values,
        plain(offset),
        row(*map(plain, shape)),
        row(*map(plain, stride)),
        plain(False),
        called("collections.OrderedDict"),
    )


def script_file(path: Path, content: bytes, **members: bytes) -> Path:
    """Write an archive that is a script by its members, with a pickle in it."""
    made = {"data.pkl": content, "code/__torch__.py": b"", "constants.pkl": whole(b")")}
    made |= {"data/0": bytes(24), "version": b"3\n"} | members
    path.write_bytes(zipped({f"model/{name}": data for name, data in made.items()}))
    return path


class Calls:
    """Makes a pickle that calls something when Python reads it."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Colour(Enum):
    """An attribute that is none of the usual ones."""

    RED = 1


class Attributes(nn.Module):
    """Attributes of all kinds that scripts know."""

    table: dict[str, Tensor]
    numbered: dict[int, Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 8)
        self.listed = [torch.ones(2), torch.zeros(2)]
        self.table = {"a": torch.ones(3)}
        self.numbered = {4: torch.ones(5)}
        self.colour = Colour.RED
        self.complex = 1 + 2j
        self.device = torch.device("cpu")
        self.small = torch.zeros(4).to(torch.float8_e4m3fn)
        self.register_buffer("sparse", torch.eye(8).to_sparse())
        self.register_buffer("empty", torch.zeros(0, 3))

    def forward(self, x: Tensor) -> Tensor:
        if self.colour is Colour.RED:
            x = x + self.listed[0].sum()
        return self.linear(x + self.table["a"].sum() + self.numbered[4].sum())


class Quantized(nn.Module):
    """A layer whose weight is packed."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings(action="ignore"):
            self.linear = torch.ao.nn.quantized.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Restores(nn.Module):
    """Code of its own that runs when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]
        print("code ran")

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Fails(nn.Module):
    """Code of its own that fails when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]
        raise ValueError("not today")

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Views(nn.Module):
    """Tensors that share their values: tied, transposed, and parts of one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 6, bias=False)
        self.tied = nn.Linear(4, 6, bias=False)
        self.tied.weight = self.linear.weight
        self.register_buffer("turned", self.linear.weight.detach().t())
        self.register_buffer("rows", self.linear.weight.detach()[2:4])

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.tied(x) + x @ self.turned + (x @ self.rows.t()).sum()

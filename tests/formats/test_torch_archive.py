"""Archives: members where they are, their checksums, and what is refused before it is read."""

import random
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from onnxprune.errors import InputError, LimitError, OnnxpruneError, UnsafeError
from onnxprune.formats import torch_archive
from onnxprune.formats.torch_archive import TorchArchive, checksum_of
from tests.formats import torch_nets as nets
from tests.formats.torch_made import (
    CRC,
    END,
    ENTRY,
    FLAGS,
    HEADER,
    METHOD,
    OFFSET,
    PACKED,
    SIZE,
    Views,
    archive,
    damaged,
    entry_changed,
    entry_of,
    header_of,
    overwritten,
    refusal,
    script_file,
    static,
    tensor,
    whole,
    zipped,
)

MEMBERS = {"m/a": b"first" * 9, "m/b/c": bytes(64), "m/d": b"", "m/e": b"last"}
ROWS = torch.ones(1, 4)


def unsigned(content: bytes) -> bytes:
    """Leave out the mark of what stands behind the only member."""
    made = content.replace(b"PK\x07\x08", b"")
    (start,) = struct.unpack_from("<I", made, len(made) - 6)
    return overwritten(made, len(made) - 6, struct.pack("<I", start - 4))


WRITERS: dict[str, Callable[[Path], object]] = {
    "jit.save": lambda path: nets.traced(path, nn.Linear(4, 8), ROWS),
    "jit.save of views": lambda path: nets.traced(path, Views(), ROWS),
    "torch.save": lambda path: torch.save({"a": ROWS, "empty": ROWS[:0]}, path),
    "export.save": lambda path: nets.program(path, nn.Linear(4, 8), ROWS),
    "stored": lambda path: path.write_bytes(zipped(MEMBERS)),
    "deflated": lambda path: path.write_bytes(zipped(MEMBERS, zipfile.ZIP_DEFLATED)),
    "described": lambda path: path.write_bytes(zipped(MEMBERS, described=True)),
    "large": lambda path: path.write_bytes(zipped(MEMBERS, large=True)),
    "large, described": lambda path: path.write_bytes(
        zipped(MEMBERS, described=True, large=True)
    ),
    "described without a mark": lambda path: path.write_bytes(
        unsigned(zipped({"m/a": b"only"}, described=True))
    ),
    "before something else": lambda path: path.write_bytes(zipped(MEMBERS) + b"signature"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_members_are_what_zipfile_finds(writer: str, tmp_path: Path) -> None:
    WRITERS[writer](tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    with archive(tmp_path / "model.pt") as opened, zipfile.ZipFile(tmp_path / "model.pt") as z:
        infos = z.infolist()
        assert [opened.folder + name for name in opened.members] == z.namelist()
        for info, member in zip(infos, opened.members.values(), strict=True):
            assert member.size == info.file_size
            assert opened.read(member.name) == z.read(info)
            assert member.stored == (info.compress_type == zipfile.ZIP_STORED)
            assert len(set(member.sums)) == 2
            for at in member.sums:
                assert content[at : at + 4] == struct.pack("<I", info.CRC)
            if member.stored:
                assert content[member.start : member.start + member.size] == z.read(info)
                assert checksum_of(opened.source.descriptor, member) == info.CRC


@pytest.mark.parametrize("writer", WRITERS)
def test_overwritten_members_are_whole_once_their_checksums_are_corrected(
    writer: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    WRITERS[writer](path)
    content = path.read_bytes()
    with archive(path) as opened:
        stored = [member for member in opened.members.values() if member.stored]
    for member in stored:
        new = b"\x07" * member.size
        content = overwritten(content, member.start, new)
        for at in member.sums:
            content = overwritten(content, at, struct.pack("<I", zlib.crc32(new)))
    path.write_bytes(content)
    with zipfile.ZipFile(path) as z:
        assert z.testzip() is None
    with archive(path) as opened:
        assert [opened.read(each.name) for each in stored] == [b"\7" * m.size for m in stored]


def test_a_checksum_is_that_of_all_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_archive, "BLOCK", 7)
    (tmp_path / "a").write_bytes(zipped(MEMBERS))
    with archive(tmp_path / "a") as opened:
        for name, member in opened.members.items():
            found = checksum_of(opened.source.descriptor, member)
            assert found == zlib.crc32(MEMBERS[f"m/{name}"])


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        (["m/a", "m/b"], "m/"),
        (["m/a", "n/b"], ""),
        (["m/a", "mb"], ""),
        (["a"], ""),
        (["a", "ab"], ""),
        ([], ""),
        (["m/", "m/a"], "m/"),
    ],
)
def test_the_folder_is_that_of_all_members(
    names: list[str], folder: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(zipped(dict.fromkeys(names, b"x")))
    with archive(tmp_path / "a") as opened:
        assert opened.folder == folder
        assert list(opened.members) == [
            name.removeprefix(folder) for name in names if not name.endswith("/")
        ]


def twice() -> bytes:
    return zipped({"m/a": b"1", "m/b": b"2"}).replace(b"m/b", b"m/a")


def at_the_same_place() -> bytes:
    made = zipped(MEMBERS)
    return entry_changed(made, "m/e", OFFSET, struct.pack("<I", header_of(made, "m/a")))


def in_the_directory() -> bytes:
    made = zipped({"m/a": b"1"})
    for field in (PACKED, SIZE):
        made = entry_changed(made, "m/a", field, struct.pack("<I", 20))
    return made


def in_the_values_of_another(described: bool) -> bytes:
    """Let the header of one member, or what is behind one, be among the values of another."""
    inner = zipped({"m/b": b""}, described=described)
    inner = inner[: inner.index(ENTRY)] + (bytes(8) if described else b"")
    made = zipped({"m/a": inner, "m/b": b""}, described=described)
    return entry_changed(made, "m/b", OFFSET, struct.pack("<I", made.index(inner)))


def described_by_a_neighbour() -> bytes:
    """Let what stands behind one member be the beginning of the next."""
    made = zipped({"m/a": b"1234", "m/b": HEADER})
    (header,) = struct.unpack("<I", HEADER)
    made = entry_changed(made, "m/a", CRC, struct.pack("<I", header))
    return entry_changed(made, "m/a", FLAGS, b"\x08\0")


def large_ends(directory: int, start: int) -> bytes:
    """Give a directory a size or a beginning that no file has."""
    made = zipped(MEMBERS)
    at = made.index(END)
    numbers = (44, 45, 45, 0, 0, 4, 4, directory, start)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", *numbers)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    ends = overwritten(made[at:], 8, b"\xff" * 12)
    return made[:at] + record + locator + ends


REFUSED: dict[str, tuple[Callable[[], bytes], type[OnnxpruneError], str]] = {
    "no archive": (lambda: b"PK\x03\x04" + bytes(99), InputError, "not a whole zip"),
    "two of one name": (twice, UnsafeError, "two members of the archive have one name"),
    "a name that ends early": (
        lambda: zipped({"m/a": b"", "m/aXb": b""}).replace(b"aXb", b"a\0b"),
        UnsafeError,
        "have one name",
    ),
    "a name above": (lambda: zipped({"m/../x": b""}), UnsafeError, "a name that leaves it"),
    "a name from above": (lambda: zipped({"../m/x": b""}), UnsafeError, "that leaves it"),
    "an absolute name": (lambda: zipped({"/etc/x": b""}), UnsafeError, "that leaves it"),
    "a backslash": (lambda: zipped({"m\\..\\x": b""}), UnsafeError, "that leaves it"),
    "encrypted": (
        lambda: entry_changed(zipped(MEMBERS), "m/a", FLAGS, b"\1\0"),
        InputError,
        "encrypted",
    ),
    "patched": (
        lambda: entry_changed(zipped(MEMBERS), "m/a", FLAGS, b"\x20\0"),
        InputError,
        "packed in an unknown way",
    ),
    "bzip2": (lambda: zipped(MEMBERS, zipfile.ZIP_BZIP2), InputError, "an unknown way"),
    "unknown": (
        lambda: entry_changed(zipped(MEMBERS), "m/a", METHOD, b"\x63\0"),
        InputError,
        "packed in an unknown way",
    ),
    "at the same place": (at_the_same_place, UnsafeError, "shares bytes with another member"),
    "in the directory": (in_the_directory, UnsafeError, "'a' in the archive shares bytes"),
    "among values": (
        lambda: in_the_values_of_another(False),
        UnsafeError,
        "'b' in the archive shares bytes",
    ),
    "among values, described": (
        lambda: in_the_values_of_another(True),
        UnsafeError,
        "'b' in the archive shares bytes",
    ),
    "described by a neighbour": (described_by_a_neighbour, UnsafeError, "shares bytes"),
    "larger than it is": (
        lambda: entry_changed(zipped(MEMBERS), "m/e", SIZE, b"\x09\0\0\0"),
        InputError,
        "'e' in the archive is not whole",
    ),
    "smaller than it is": (
        lambda: entry_changed(zipped(MEMBERS), "m/e", SIZE, b"\x01\0\0\0"),
        InputError,
        "'e' in the archive is not whole",
    ),
    "past the end": (
        lambda: entry_changed(zipped(MEMBERS), "m/e", OFFSET, b"\0\0\xff\x7f"),
        InputError,
        "'e' in the archive is not whole",
    ),
    "no header": (
        lambda: entry_changed(zipped(MEMBERS), "m/e", OFFSET, b"\1\0\0\0"),
        InputError,
        "'e' in the archive is not whole",
    ),
    "before the beginning": (
        lambda: overwritten(zipped(MEMBERS), -6 + len(zipped(MEMBERS)), b"\0\1\0\0"),
        InputError,
        "'a' in the archive is not whole",
    ),
    "behind something else": (
        lambda: HEADER + zipped(MEMBERS),
        InputError,
        "not a whole zip archive",
    ),
    "without a name": (
        lambda: zipped({"m/a": b"", "b": b""}).replace(b"b", b"\0"),
        InputError,
        "a member of the archive has no name",
    ),
    "far away": (
        lambda: large_ends(210, 2**64 - 1),
        InputError,
        "not a whole zip archive",
    ),
    "without end": (lambda: large_ends(2**64 - 1, 0), InputError, "not a whole zip archive"),
    "another checksum behind": (
        lambda: zipped({"m/a": b"12345"}, described=True).replace(
            b"PK\x07\x08" + struct.pack("<I", zlib.crc32(b"12345")), b"PK\x07\x08abcd"
        ),
        InputError,
        "'a' in the archive is not whole",
    ),
    "no checksum behind": (
        lambda: entry_changed(zipped(MEMBERS), "m/a", FLAGS, b"\x08\0"),
        InputError,
        "'a' in the archive is not whole",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_honest_writer_makes_is_refused(case: str, tmp_path: Path) -> None:
    make, kind, message = REFUSED[case]
    (tmp_path / "model.pt").write_bytes(make())
    with pytest.raises(kind) as raised, archive(tmp_path / "model.pt"):
        pass
    assert type(raised.value) is kind
    assert message in str(raised.value)


def test_more_members_than_any_model_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_archive, "MEMBERS", 3)
    (tmp_path / "model.pt").write_bytes(zipped(MEMBERS))
    with pytest.raises(LimitError, match=r"^4 members in one archive \(max 3\)$"):
        static(tmp_path / "model.pt")


def peak(path: Path, name: str | None = None) -> tuple[OnnxpruneError | None, int]:
    """Return the error that a file, or a member of it, is refused with, and the memory."""

    def read(path: Path) -> None:
        with archive(path) as opened:
            if name is not None:
                opened.read(name)

    tracemalloc.start()
    error = refusal(path, read)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return error, memory


def zeros(size: int) -> bytes:
    return zipped({"m/data.pkl": bytes(size)}, zipfile.ZIP_DEFLATED)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(zeros(100 << 20))
    error, memory = peak(tmp_path / "model.pt", "data.pkl")
    assert isinstance(error, LimitError)
    assert error.message.startswith("the archive unpacks to 104,857,600 bytes from 1")
    assert error.message.endswith(" (at most 100 times as many)")
    assert memory < 1 << 20


def test_a_bomb_that_says_that_it_is_small_is_not_unpacked(tmp_path: Path) -> None:
    made = zeros(100 << 20)
    made = entry_changed(made, "m/data.pkl", SIZE, struct.pack("<I", 1000))
    (tmp_path / "model.pt").write_bytes(made)
    error, memory = peak(tmp_path / "model.pt", "data.pkl")
    assert isinstance(error, InputError)
    assert error.message == "'data.pkl' in the archive is damaged"
    assert memory < 1 << 20


def test_many_small_members_can_be_a_bomb_together(tmp_path: Path) -> None:
    made = {f"m/{number}": bytes(1 << 20) for number in range(65)}
    (tmp_path / "model.pt").write_bytes(zipped(made, zipfile.ZIP_DEFLATED))
    assert isinstance(peak(tmp_path / "model.pt")[0], LimitError)


def test_what_is_well_packed_is_no_bomb(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(zeros(10 << 20))
    assert peak(tmp_path / "model.pt")[0] is None


def test_a_member_larger_than_it_may_be_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(zipped({"m/a": b"12345"}))
    with archive(tmp_path / "model.pt") as opened:
        assert opened.read("a", 5) == b"12345"
        with pytest.raises(LimitError, match=r"^'a' in the archive takes 5 bytes$"):
            opened.read("a", 4)


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_member_is_told_when_it_is_read(kind: int, tmp_path: Path) -> None:
    made = zipped({"m/a": bytes(range(250)) * 4}, kind)
    path = tmp_path / "model.pt"
    for at in range(made.index(ENTRY) // 2, made.index(ENTRY), 5):
        path.write_bytes(overwritten(made, at, bytes([made[at] ^ 0x55])))
        with archive(path) as opened, pytest.raises(InputError, match="'a' in the archive is"):
            opened.read("a")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small file of each kind."""
    path = tmp_path_factory.mktemp("samples") / "model.pt"
    torch.manual_seed(0)
    made = {}
    for name, write in {
        "script": lambda: nets.traced(path, nn.Linear(4, 8), ROWS),
        "program": lambda: nets.program(path, nn.Linear(4, 8), ROWS),
        "checkpoint": lambda: torch.save(nn.Linear(4, 8).state_dict(), path),
        "own": lambda: script_file(path, whole(tensor())),
    }.items():
        write()
        made[name] = path.read_bytes()
    return made


KINDS = pytest.mark.parametrize("kind", ["script", "program", "checkpoint", "own"])


@KINDS
def test_a_file_cut_anywhere_is_refused(
    kind: str, samples: dict[str, bytes], tmp_path: Path
) -> None:
    content = samples[kind]
    for end in range(0, len(content), 3):
        (tmp_path / "model.pt").write_bytes(content[:end])
        error = refusal(tmp_path / "model.pt")
        assert isinstance(error, InputError), end


@KINDS
@pytest.mark.parametrize("part", ["anywhere", "in the directory"])
def test_damaged_bytes_never_end_in_a_bug(
    kind: str, part: str, samples: dict[str, bytes], tmp_path: Path
) -> None:
    content = samples[kind]
    first = 0 if part == "anywhere" else content.index(ENTRY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of what it finds, too
        for made in damaged(content, 300, first):
            (tmp_path / "model.pt").write_bytes(made)
            refusal(tmp_path / "model.pt")


def test_directories_of_numbers_at_random_never_end_in_a_bug(tmp_path: Path) -> None:
    chance = random.Random(1)
    content = zipped(MEMBERS, described=True)
    fields = {FLAGS: 2, METHOD: 2, CRC: 4, PACKED: 4, SIZE: 4, 28: 2, 30: 2, 32: 2, OFFSET: 4}
    for _ in range(500):
        made = content
        for _ in range(chance.randint(1, 3)):
            at = chance.choice(list(fields))
            value = chance.choice(
                (0, 1, 7, 99, 0x7FFFFFFF, 0xFFFFFFFF, chance.getrandbits(32))
            )
            name = chance.choice(list(MEMBERS))
            made = overwritten(
                made,
                entry_of(content, name) + at,
                struct.pack("<I", value)[: fields[at]],
            )
        (tmp_path / "model.pt").write_bytes(made)
        refusal(tmp_path / "model.pt", _members)


def _members(path: Path) -> None:
    with archive(path) as opened:
        _read_all(opened)


def _read_all(opened: TorchArchive) -> None:
    for name in opened.members:
        refusal(Path(name), lambda path: opened.read(str(path)))

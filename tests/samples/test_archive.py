"""Arrays in files: read lazily, in any order and type, and refused where they are broken."""

import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.errors import InputError, LimitError, UnsafeError, UnsupportedError
from onnxprune.samples import archive
from onnxprune.samples.archive import Archive, read_npy
from tests.samples.made import (
    Array,
    floats,
    header,
    npy_bytes,
    npz,
    opened,
    port,
    read,
    refusal,
    zipped,
)

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
KINDS = pytest.mark.parametrize("kind", [STORED, DEFLATED], ids=["stored", "compressed"])


def rows(table: Archive, size: int) -> list[Array]:
    return [piece["x"] for piece in table.pieces(size)]


@KINDS
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i8", ">i8", "|u1", "|b1", "<f2", "<U3"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_pieces_are_what_numpy_loads(
    tmp_path: Path, kind: int, dtype: str, order: str
) -> None:
    array = np.asarray(np.arange(30).reshape(5, 3, 2) % 2, dtype, order=order)
    table = Archive(zipped(tmp_path / "set.npz", {"x.npy": npy_bytes(array)}, kind))
    table.take({"x"})
    for _ in range(2):
        assert np.array_equal(np.concatenate(rows(table, 2)), array)


@given(count=st.integers(1, 9), size=st.integers(1, 12), compress=st.booleans())
def test_any_pieces_join_to_the_array(
    tmp_path_factory: pytest.TempPathFactory, count: int, size: int, compress: bool
) -> None:
    path = npz(tmp_path_factory.mktemp("set"), compress=compress, x=floats(count, 3))
    table = Archive(path)
    table.take({"x"})
    found = rows(table, size)
    assert np.array_equal(np.concatenate(found), floats(count, 3))
    assert [len(piece) for piece in found[:-1]] == [size] * (len(found) - 1)


def is_mapped(array: object) -> bool:
    while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def test_stored_arrays_are_mapped_and_compressed_ones_are_not(tmp_path: Path) -> None:
    for compress in (False, True):
        table = Archive(npz(tmp_path, compress=compress, x=floats(4, 2)))
        table.take({"x"})
        assert [is_mapped(piece) for piece in rows(table, 3)] == [not compress] * 2


def test_an_array_file_is_mapped_in_either_order(tmp_path: Path) -> None:
    for number, array in enumerate((floats(4, 2), np.asfortranarray(floats(4, 2)))):
        np.save(tmp_path / f"{number}.npy", array)
        found = read_npy(tmp_path / f"{number}.npy")
        assert is_mapped(found)
        assert np.array_equal(found, array)


@KINDS
def test_a_set_larger_than_memory_would_do(tmp_path: Path, kind: int) -> None:
    array = np.random.default_rng(0).integers(0, 4, (2000, 10_000)).astype(np.uint8)
    path = zipped(tmp_path / "set.npz", {"x.npy": npy_bytes(array)}, kind)
    total = int(array.sum(dtype=np.int64))
    size = array.nbytes
    del array
    tracemalloc.start()
    try:
        table = Archive(path)
        table.take({"x"})
        found = sum(int(piece["x"].sum(dtype=np.int64)) for piece in table.pieces(20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == total
    assert peak < size / 10


def test_only_what_is_used_is_unpacked(tmp_path: Path) -> None:
    damaged = npy_bytes(floats(3, 2))[:-1] + b"?"
    path = zipped(tmp_path / "set.npz", {"x.npy": npy_bytes(floats(3, 2)), "y.npy": damaged})
    assert np.array_equal(read(opened(path)), floats(3, 2))


def test_rows_are_aligned_wherever_the_member_lies(tmp_path: Path) -> None:
    for length in range(1, 5):
        members = {"x.npy": npy_bytes(floats(3, 2)), "n" * length: b"?" * length}
        path = zipped(tmp_path / "set.npz", dict(sorted(members.items())))
        feeds = next(opened(path).batches(2)).feeds["x"]
        assert feeds.flags.aligned
        assert feeds.flags.c_contiguous


def test_an_archive_with_large_file_fields_is_read(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as target:
        with target.open("x.npy", "w", force_zip64=True) as member:
            member.write(npy_bytes(floats(3, 2)))
        target.comment = b"x" * 500
    assert np.array_equal(read(opened(path)), floats(3, 2))


def test_what_is_no_array_is_passed_over(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.npz", {"a.txt": b"hello", "x.npy": npy_bytes(floats(3, 2))})
    assert opened(path).notes == ()


@KINDS
def test_a_wrong_checksum_is_found(tmp_path: Path, kind: int) -> None:
    path = zipped(tmp_path / "set.npz", {"x.npy": npy_bytes(floats(5000, 2))}, kind)
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 16] ^= 1
    path.write_bytes(data)
    # The local header has it, too, but the central one counts.
    error = refusal(path)
    assert isinstance(error, InputError)
    assert error.message.startswith(f"{path}: ")
    expected = "'x' is damaged: its checksum is wrong" if kind == STORED else "Bad CRC-32"
    assert expected in error.message


def test_changed_values_of_a_stored_array_are_found(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.npz", {"x.npy": npy_bytes(floats(5000, 2))})
    data = path.read_bytes().replace(floats(5000, 2)[3000].tobytes(), b"\1" * 8)
    path.write_bytes(data)
    samples = opened(path)
    with pytest.raises(InputError) as caught:
        list(samples.batches(7))
    assert caught.value.message == f"{path}: 'x' is damaged: its checksum is wrong"


def test_every_way_of_cutting_a_file_short_is_an_input_error(tmp_path: Path) -> None:
    for compress in (False, True):
        whole = npz(tmp_path, compress=compress, x=floats(9, 2)).read_bytes()
        for length in range(0, len(whole), 7):
            path = tmp_path / "short.npz"
            path.write_bytes(whole[:length])
            error = refusal(path)
            assert isinstance(error, InputError), length
            assert error.message.startswith(f"{path}: ")


def test_no_changed_byte_escapes_as_another_error(tmp_path: Path) -> None:
    for compress in (False, True):
        whole = npz(tmp_path, compress=compress, x=floats(9, 2)).read_bytes()
        for place in range(len(whole)):
            path = tmp_path / "changed.npz"
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
            try:
                read(opened(path))
            except (InputError, UnsafeError, LimitError, UnsupportedError) as error:
                assert error.message.startswith(f"{path}: ")


def test_a_cut_array_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy_bytes(floats(3, 2))[:-4])
    error = refusal(path)
    assert error.message == f"{path}: 'x' has 20 bytes, its shape needs 24"
    assert isinstance(error, InputError)


@KINDS
def test_a_header_that_lies_is_refused(tmp_path: Path, kind: int) -> None:
    data = header((1 << 20, 2)) + bytes(16)
    path = zipped(tmp_path / "set.npz", {"x.npy": data}, kind)
    assert refusal(path).message == f"{path}: 'x' has 16 bytes, its shape needs 8,388,608"


def test_objects_are_unsafe_even_where_nothing_uses_them(tmp_path: Path) -> None:
    path = npz(tmp_path, x=floats(3, 2), y=np.array([{}, {}], object))
    error = refusal(path)
    assert (type(error), error.message) == (
        UnsafeError,
        f"{path}: 'y' holds pickled objects",
    )


@pytest.mark.parametrize("name", ["../x", "a/../../x", ".."])
def test_a_name_that_leaves_the_archive_is_unsafe(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "set.npz", {f"{name}.npy": npy_bytes(floats(3, 2))})
    error = refusal(path)
    assert (type(error), error.message) == (
        UnsafeError,
        f"{path}: an array named '{name}', which leaves the archive",
    )


def test_names_with_slashes_are_names(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.npz", {"/in/x:0.npy": npy_bytes(floats(3, 2))})
    samples = opened(path, port("/in/x:0"))
    assert np.array_equal(read(samples, name="/in/x:0"), floats(3, 2))


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(path, "w") as target,
    ):
        target.writestr("x.npy", npy_bytes(floats(3, 2)))
        target.writestr("x.npy", npy_bytes(floats(3, 2)))
    assert refusal(path).message == f"{path}: two arrays named 'x'"


def test_an_encrypted_member_is_not_supported(tmp_path: Path) -> None:
    path = npz(tmp_path, x=floats(3, 2))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    error = refusal(path)
    assert (type(error), error.message) == (UnsupportedError, f"{path}: 'x' is encrypted")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_not_supported(tmp_path: Path, kind: int) -> None:
    path = zipped(tmp_path / "set.npz", {"x.npy": npy_bytes(floats(3, 2))}, kind)
    error = refusal(path)
    assert (type(error), error.message) == (
        UnsupportedError,
        f"{path}: 'x' is compressed in a way that numpy does not use",
    )


def test_an_array_that_unpacks_without_measure_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with (
        zipfile.ZipFile(path, "w", DEFLATED, compresslevel=9) as target,
        target.open("x.npy", "w") as member,
    ):
        member.write(header((300, 1 << 18)))
        for _ in range(300):
            member.write(bytes(1 << 20))
    error = refusal(path, port(shape=(None, None)))
    assert isinstance(error, LimitError)
    assert error.message.startswith(f"{path}: 'x' unpacks to 314,57")
    assert np.array_equal(Archive(path).columns["x"].shape, (300, 1 << 18))


def test_large_rows_and_large_arrays_in_fortran_order_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "WHOLE_LIMIT", 63)
    wide = npz(tmp_path, compress=True, x=floats(2, 16))
    error = refusal(wide, port(shape=(None, 16)))
    assert (type(error), error.message) == (
        LimitError,
        f"{wide}: 'x': one sample takes 64 bytes, more than 63",
    )
    turned = npz(tmp_path, compress=True, x=np.asfortranarray(floats(8, 2)))
    assert refusal(turned).message == f"{turned}: 'x': the array takes 64 bytes, more than 63"
    assert len(read(opened(npz(tmp_path, compress=True, x=floats(8, 2))))) == 8


def test_a_large_constant_is_refused(tmp_path: Path) -> None:
    data = header((), descr=f"<U{1 << 23}") + bytes(1 << 25)
    members = {"x.npy": npy_bytes(floats(3, 2)), "y.npy": data}
    path = zipped(tmp_path / "set.npz", members, DEFLATED)
    error = refusal(path)
    assert (type(error), error.message) == (
        LimitError,
        f"{path}: 'y' is one value of 33,554,432 bytes",
    )


def test_many_constants_are_no_more_than_a_large_one(tmp_path: Path) -> None:
    data = header((), descr=f"<U{1 << 20}") + bytes(1 << 22)
    members = {f"y{number}.npy": data for number in range(5)}
    few = zipped(tmp_path / "few.npz", dict(list(members.items())[:4]), DEFLATED)
    assert len(archive.Archive(few).constants) == 4
    many = zipped(tmp_path / "many.npz", members, DEFLATED)
    error = refusal(many)
    assert (type(error), error.message) == (
        LimitError,
        f"{many}: its single values take more than 16,777,216 bytes",
    )


def test_empty_sets_are_refused(tmp_path: Path) -> None:
    for compress in (False, True):
        path = npz(tmp_path, compress=compress, x=floats(0, 2))
        assert refusal(path).message == f"{path}: the set has no samples"
    path = npz(tmp_path, compress=True, x=np.zeros((5, 0), np.float32))
    assert (
        refusal(path, port(shape=(None, None))).message
        == f"{path}: the samples hold no values"
    )
    empty = zipped(tmp_path / "empty.npz", {})
    assert refusal(empty).message == (
        f"{empty}: no array for the model's input 'x'; the set has none"
    )


def test_an_input_without_values_beside_one_with_some_is_fed(tmp_path: Path) -> None:
    for compress in (False, True):
        path = npz(tmp_path, compress=compress, x=floats(3, 2), past=np.zeros((3, 0, 4), "f4"))
        samples = opened(path, port(), port("past", (None, None, 4)))
        assert [b.feeds["past"].shape for b in samples.batches(2)] == [(2, 0, 4), (1, 0, 4)]


def test_passes_leave_no_file_open(tmp_path: Path) -> None:
    for number in range(30):
        npz(tmp_path, f"{number}.npz", x=floats(2, 2))
    samples = opened(tmp_path)
    list(samples.batches(2))
    names = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
    assert not [name for name in names if name.startswith(str(tmp_path))]


def test_a_file_that_changes_between_passes_is_refused(tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((5000, 2)).astype(np.float32)
    path = npz(tmp_path, compress=True, x=array)
    samples = opened(path)
    read(samples, 100)
    npz(tmp_path, compress=True, x=array[:4999])
    with pytest.raises(InputError) as caught:
        read(samples)
    assert caught.value.message == f"{path}: 'x' changed while it was read"
    stored = npz(tmp_path, "stored.npz", x=floats(6, 2))
    samples = opened(stored)
    stored.write_bytes(stored.read_bytes()[:100])
    with pytest.raises(InputError, match=r"stored.npz: "):
        read(samples)

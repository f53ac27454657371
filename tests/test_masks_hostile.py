"""Mask files that are not what they should be: an exit code, one line, nothing run."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnxprune.errors import OnnxpruneError
from onnxprune.masks import load
from tests.conftest import Ran

Run = Callable[..., Ran]
GOOD: dict[str, Any] = {
    "schema": 1,
    "source": "0" * 64,
    "tensors": [{"path": "a", "shape": [3, 4]}, {"path": "b", "shape": [20]}],
}


def npy(array: np.ndarray, **settings: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **settings)
    return stream.getvalue()


def bits(count: int) -> bytes:
    return npy(np.full(-(-count // 8), 0b10101010, np.uint8))


def archive(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return stream.getvalue()


def with_index(index: object, **members: bytes) -> bytes:
    text = index if isinstance(index, bytes) else json.dumps(index).encode()
    found = {"m0.npy": bits(12), "m1.npy": bits(20)}
    found |= {f"{name}.npy": content for name, content in members.items()}
    return archive(found | {"index.npy": npy(np.frombuffer(text, np.uint8))})


def changed(**fields: Any) -> bytes:
    return with_index(GOOD | fields)


def tensors(*made: object) -> bytes:
    return changed(tensors=list(made))


def header(text: str) -> bytes:
    """Write an array file with a header of our own and no data."""
    body = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


def patched(content: bytes, field: int, value: bytes) -> bytes:
    """Write bytes into every entry of the zip's directory and every local header."""
    out = bytearray(content)
    for sign, shift in ((b"PK\x01\x02", 0), (b"PK\x03\x04", -2)):
        at = out.find(sign)
        while at >= 0:
            place = at + field + shift
            out[place : place + len(value)] = value
            at = out.find(sign, at + 4)
    return bytes(out)


def twice() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as made:
            for _ in range(2):
                made.writestr("index.npy", npy(np.frombuffer(b"{}", np.uint8)))
    return stream.getvalue()


def bomb() -> bytes:
    """Claim in the directory that each member holds four GiB."""
    content = archive({f"m{number}.npy": b"x" for number in range(5)})
    out = bytearray(content)
    at = out.find(b"PK\x01\x02")
    while at >= 0:
        out[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
        at = out.find(b"PK\x01\x02", at + 4)
    return bytes(out)


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


OVER = '{"schema": 1, "source": "", "tensors": [{"path": "a", "shape": [Infinity]}]}'
CASES: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "no index": (lambda: archive({"m0.npy": bits(12)}), 3, "no member index"),
    "index is no JSON": (lambda: with_index(b"{"), 3, "its index is wrong"),
    "index is no text": (lambda: with_index(b"\xff\xfe"), 3, "its index is wrong"),
    "index is a list": (lambda: with_index([1]), 3, "its index is wrong"),
    "index is a number": (lambda: with_index(3), 3, "its index is wrong"),
    "index is deep": (lambda: with_index(b"[" * 200_000), 3, "its index is wrong"),
    "another schema": (lambda: changed(schema=2), 3, "schema 2, known is 1"),
    "no source": (lambda: with_index({"schema": 1, "tensors": []}), 3, "its index is wrong"),
    "tensors a number": (lambda: changed(tensors=3), 3, "its index is wrong"),
    "tensor a string": (lambda: tensors("a"), 3, "its index is wrong"),
    "no shape": (lambda: tensors({"path": "a"}), 3, "its index is wrong"),
    "shape a word": (lambda: tensors({"path": "a", "shape": ["x"]}), 3, "its index is wrong"),
    "shape endless": (lambda: with_index(OVER.encode()), 3, "its index is wrong"),
    "shape negative": (
        lambda: tensors({"path": "a", "shape": [-3, -4]}),
        3,
        "has a bad shape",
    ),
    "shape of many ranks": (lambda: tensors({"path": "a", "shape": [1] * 65}), 3, "bad shape"),
    "shape with no end": (
        lambda: tensors({"path": "a", "shape": [0, 1 << 39, 1 << 39]}),
        3,
        "bad shape",
    ),
    "a tensor twice": (lambda: changed(tensors=GOOD["tensors"][:1] * 2), 3, "given twice"),
    "shape too large": (lambda: tensors({"path": "a", "shape": [99]}), 3, "not have 99 bits"),
    "shape too small": (lambda: tensors({"path": "a", "shape": [4]}), 3, "not have 4 bits"),
    "shape enormous": (
        lambda: tensors({"path": "a", "shape": [1 << 20, 1 << 20]}),
        3,
        "bits",
    ),
    "a tensor more": (
        lambda: changed(tensors=[*GOOD["tensors"], {"path": "c", "shape": [8]}]),
        3,
        "no member m2",
    ),
    "member in a folder": (
        lambda: with_index(GOOD, **{"../../m9": b""}),
        4,
        "a path for a name",
    ),
    "member in a share": (lambda: with_index(GOOD, **{"..\\m9": b""}), 4, "a path for a name"),
    "a name twice": (twice, 3, "two members of one name"),
    "floats": (lambda: with_index(GOOD, m0=npy(np.ones(2))), 3, "the member m0 is damaged"),
    "a matrix": (
        lambda: with_index(GOOD, m0=npy(np.zeros((2, 1), np.uint8))),
        3,
        "the member m0 is damaged",
    ),
    "another format": (
        lambda: with_index(GOOD, m0=npy(np.zeros(2, np.uint8), version=(2, 0))),
        3,
        "the member m0 is damaged",
    ),
    "no array": (lambda: with_index(GOOD, m0=b"hello"), 3, "the member m0 is damaged"),
    "too many bytes": (lambda: with_index(GOOD, m0=bits(12) + b"x"), 3, "m0 is damaged"),
    "far too many": (lambda: with_index(GOOD, m0=bytes(1 << 20)), 3, "m0 is larger than"),
    "too few bytes": (lambda: with_index(GOOD, m0=bits(12)[:-1]), 3, "m0 is damaged"),
    "a lie about the size": (
        lambda: with_index(
            GOOD,
            m0=header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({10**15},)}}"),
        ),
        3,
        "the member m0 is damaged",
    ),
    "code in the header": (
        lambda: with_index(GOOD, m0=header("__import__('os').abort()")),
        3,
        "the member m0 is damaged",
    ),
    "encrypted": (
        lambda: patched(changed(), 8, b"\x01\x00"),
        3,
        "a member is encrypted or compressed in an unknown way",
    ),
    "unknown compression": (
        lambda: patched(changed(), 10, b"\x63\x00"),
        3,
        "in an unknown way",
    ),
    "other compression": (
        lambda: archive({"index.npy": npy(np.zeros(3, np.uint8))}, zipfile.ZIP_BZIP2),
        3,
        "in an unknown way",
    ),
    "wrong sums": (lambda: patched(changed(), 16, b"\x00\x00\x00\x00"), 3, "is damaged"),
    "a bomb": (bomb, 5, "it unpacks to "),
    "not whole": (lambda: changed()[:-30], 3, "not a whole zip file"),
    "only a start": (lambda: b"PK\x03\x04", 3, "not a whole zip file"),
}


def test_the_file_that_the_others_differ_from_is_good(tmp_path: Path) -> None:
    (tmp_path / "m.npz").write_bytes(changed())
    masks = load(tmp_path / "m.npz")
    assert {name: mask.shape for name, mask in masks.items()} == {"a": (3, 4), "b": (20,)}
    assert masks["a"].reshape(-1).tolist() == [True, False] * 6


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_mask_file_has_its_exit_code_and_one_line(
    name: str, run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, code, message = CASES[name]
    monkeypatch.chdir(tmp_path)
    Path("m.npz").write_bytes(make())
    with pytest.raises(OnnxpruneError) as refused:
        load("m.npz")
    assert refused.value.exit_code == code
    assert message in refused.value.message
    for words in (
        ["mask", "compare", "m.npz", "m.npz"],
        ["mask", "export", "m.npz", "-o", "x.npz"],
        [digits, "--allocation", "from:m.npz", "-o", "x.onnx", "--no-verify"],
    ):
        ran = run(*words)
        assert (ran.code, ran.out) == (code, ""), ran.err
        assert ran.err.startswith("onnxprune: error: m.npz: ")
        assert ran.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]


@pytest.mark.parametrize("name", ["index", "m0"])
def test_nothing_in_a_mask_file_is_run(name: str, run: Run, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    objects = np.array([Canary(canary)], dtype=object)
    content = with_index(GOOD, m0=npy(objects, allow_pickle=True))
    if name == "index":
        content = archive({"index.npy": npy(objects, allow_pickle=True)})
    (tmp_path / "m.npz").write_bytes(content)
    ran = run("mask", "compare", tmp_path / "m.npz", tmp_path / "m.npz")
    assert (ran.code, ran.out) == (3, "")
    assert f"the member {name} is damaged" in ran.err
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists()


SMALL = changed()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, len(SMALL) - 1), st.binary(max_size=6), st.integers(0, 6))
def test_damage_anywhere_is_an_error_of_ours_or_none(
    tmp_path: Path, place: int, new: bytes, gone: int
) -> None:
    file = tmp_path / "m.npz"
    file.write_bytes(SMALL[:place] + new + SMALL[place + gone :])
    try:
        masks = load(file)
    except OnnxpruneError as error:
        assert error.exit_code in (3, 4, 5)
        assert error.message.startswith(str(file))
    else:
        assert all(mask.dtype == bool for mask in masks.values())


@pytest.mark.parametrize("end", range(0, len(SMALL), 37))
def test_a_file_cut_short_is_bad_input(end: int, tmp_path: Path) -> None:
    (tmp_path / "m.npz").write_bytes(SMALL[:end])
    with pytest.raises(OnnxpruneError) as refused:
        load(tmp_path / "m.npz")
    assert refused.value.exit_code == 3

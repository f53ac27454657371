"""An array's header is believed only where numpy could have written it."""

import io

import numpy as np
import pytest

from onnxprune.bounds import limiting
from onnxprune.errors import InputError, LimitError, OnnxpruneError, UnsafeError
from onnxprune.samples.header import Header, check_length, read_header
from onnxprune.samples.table import Spec
from tests.samples.made import headed, header, npy_bytes


def parsed(data: bytes) -> Header:
    return read_header(io.BytesIO(data), "x")


def refusal(data: bytes) -> OnnxpruneError:
    with pytest.raises(OnnxpruneError) as caught:
        parsed(data)
    return caught.value


@pytest.mark.parametrize("version", [1, 2, 3])
def test_all_versions_of_the_header_are_read(version: int) -> None:
    found = parsed(header((2, 3), version=version))
    assert found == Header(Spec(np.dtype("<f4"), (2, 3)), fortran=False)


def test_what_numpy_writes_is_read_and_the_stream_is_at_the_values() -> None:
    for array in (np.ones((2, 3), ">i2"), np.asfortranarray(np.ones((2, 3))), np.array("ab")):
        stream = io.BytesIO(npy_bytes(array))
        found = read_header(stream, "x")
        assert found.spec == Spec.of(array)
        assert found.fortran == (array.ndim > 1 and not array.flags.c_contiguous)
        order = "F" if found.fortran else "C"
        assert stream.read() == array.tobytes(order)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "'x' is not an array as numpy writes it"),
        (b"hello world", "'x' is not an array as numpy writes it"),
        (b"\x93NUMPY\x01", "'x' is not an array as numpy writes it"),
        (b"\x93NUMPY\x01\x00\x10", "'x' has a header that numpy would not write"),
        (header((2,), version=9), "'x' has a header that numpy would not write"),
        (header((2,))[:-5], "'x' is cut short"),
        (headed(b"{'descr': " + b"(" * 3000), "'x' has a damaged header"),
        (headed(b" " * 70_000, 2), "'x' has a header that numpy would not write"),
        (headed(b"{}"), "'x' has a damaged header"),
        (headed(b"[1, 2]"), "'x' has a damaged header"),
        (headed(b"__import__('os')"), "'x' has a damaged header"),
        (headed(b"{'\\d': 1}"), "'x' has a damaged header"),
        (headed(b"a\0b"), "'x' has a damaged header"),
        (header("12"), "'x' has a damaged header"),
        (header((2.0,)), "'x' has a damaged header"),
        (header((True,)), "'x' has a damaged header"),
        (header((2,), fortran=1), "'x' has a damaged header"),
        (header((2,), descr=None), "'x' has a damaged header"),
        (header((2,), descr="nonsense"), "'x' has a damaged header"),
        (header((-1, 4)), "'x' has an impossible shape"),
        (header((1 << 40, 1 << 40)), "'x' has an impossible shape"),
        (header((1 << 60, 0)), "'x' has an impossible shape"),
        (header((1,) * 65), "'x' has an impossible shape"),
        (header((2,), descr="<U0"), "'x' holds nothing but empty text"),
    ],
)
def test_a_damaged_header_is_refused(data: bytes, message: str) -> None:
    error = refusal(data)
    assert (type(error), error.message) == (InputError, message)


@pytest.mark.parametrize("descr", ["|O", [("a", "<f4"), ("b", "|O")]])
def test_pickled_objects_are_unsafe(descr: object) -> None:
    error = refusal(header((2,), descr=descr))
    assert (type(error), error.message) == (UnsafeError, "'x' holds pickled objects")


def test_a_bare_pickle_is_unsafe() -> None:
    error = refusal(b"\x80\x04\x95\x0c\x00\x00")
    assert (type(error), error.message) == (
        UnsafeError,
        "'x' is pickled, which can run code",
    )


def test_an_array_has_as_many_bytes_as_its_header_says() -> None:
    for size, found in ((4, 12), (4, 20), (1 << 24, 1 << 23)):
        with pytest.raises(InputError) as caught:
            check_length(parsed(header((size,))), found, "x")
        needed = f"its shape needs {4 * size:,}"
        assert caught.value.message == f"'x' has {found:,} bytes, {needed}"


def test_a_header_that_claims_far_more_than_there_is_is_over_a_limit() -> None:
    found = parsed(header((1 << 40,)))
    with pytest.raises(LimitError) as caught:
        check_length(found, 16, "x")
    assert caught.value.message == (
        "'x' makes 4,398,046,511,104 bytes from 16 (at most 8 times as many)"
    )
    assert caught.value.hint == "--max-amplification allows more"
    with limiting(max_amplification=1e12), pytest.raises(InputError, match="has 16 bytes"):
        check_length(found, 16, "x")

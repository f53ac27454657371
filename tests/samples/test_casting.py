"""Values become the input's type only if asked for, and only if none changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxprune.errors import InputError
from tests.samples.made import Array, opened, port, read, refusal


def cast(array: Array, dtype: str) -> Array:
    return read(opened({"x": array}, port(shape=(None,), dtype=dtype), cast=True))


def test_another_type_is_refused_with_both_named() -> None:
    error = refusal({"x": np.zeros((2, 2))})
    assert error.message == "'x' is float64, the model's input 'x' takes float32"
    assert error.hint == "--cast converts it"


def test_bytes_for_floats_may_be_pixels() -> None:
    error = refusal({"x": np.zeros((2, 2), np.uint8)})
    assert error.hint == (
        "--mean, --std or --layout prepare pixels, --cast takes the numbers as they are"
    )


def test_byte_order_is_no_other_type() -> None:
    found = read(opened({"x": np.array([[1, 2]], ">f4")}))
    assert found.dtype == np.dtype("=f4")
    assert found.dtype.isnative
    assert found.tolist() == [[1, 2]]
    text = read(opened({"x": np.array(["ab", "c"], ">U2")}, port(shape=(None,), dtype="str")))
    assert text.dtype.isnative
    assert text.tolist() == ["ab", "c"]


@pytest.mark.parametrize(
    ("values", "dtype", "wrong"),
    [
        (np.array([1, 300]), "uint8", "300"),
        (np.array([1, -1], np.int8), "uint8", "-1"),
        (np.array([1 << 63], np.uint64), "int64", "9223372036854775808"),
        (np.array([-1]), "uint64", "-1"),
        (np.array([1.0, np.nan]), "int32", "nan"),
        (np.array([0.5]), "int32", "0.5"),
        (np.array([2]), "bool", "2"),
        (np.array([(1 << 24) + 1]), "float32", "16777217"),
        (np.array([(1 << 53) + 1]), "float64", "9007199254740993"),
        (np.array([1e5]), "float16", "100000.0"),
        (np.array([1e39]), "float32", "1e+39"),
    ],
)
def test_a_cast_that_changes_values_is_refused(values: Array, dtype: str, wrong: str) -> None:
    error = refusal({"x": values}, port(shape=(None,), dtype=dtype), cast=True)
    assert isinstance(error, InputError)
    assert error.message == f"--cast would change values of 'x': {wrong} cannot be {dtype}"


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([0, 255]), "uint8"),
        (np.array([1.0, -2.0]), "int64"),
        (np.array([True, False]), "float32"),
        (np.array([0.1, np.nan, np.inf]), "float32"),
        (np.array([0, 1]), "bool"),
    ],
)
def test_a_cast_that_keeps_values_is_done(values: Array, dtype: str) -> None:
    found = cast(values, dtype)
    assert found.dtype == np.dtype(dtype)
    assert np.allclose(found, values, rtol=1e-6, equal_nan=True)


@given(
    hnp.arrays(
        st.sampled_from(["i1", "u1", "i4", "i8", "u8", "f4", "f8"]),
        3,
        elements={"allow_nan": False},
    ),
    st.sampled_from(["int8", "uint8", "int32", "int64", "uint64"]),
)
def test_what_is_cast_to_integers_has_the_same_values(values: Array, dtype: str) -> None:
    limits = np.iinfo(dtype)
    fits = all(
        float(each).is_integer() and limits.min <= int(each) <= limits.max
        for each in values.tolist()
    )
    if fits:
        assert cast(values, dtype).tolist() == [int(each) for each in values.tolist()]
    else:
        assert (
            "would change"
            in refusal({"x": values}, port(shape=(None,), dtype=dtype), cast=True).message
        )


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "b"]),
        np.array([b"a", b"b"]),
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, np.complex64),
        np.zeros(2, "datetime64[s]"),
    ],
)
def test_what_is_no_number_is_refused_even_with_cast(array: Array) -> None:
    error = refusal({"x": array}, port(shape=(None,)), cast=True)
    assert isinstance(error, InputError)
    assert error.message == f"'x' is {array.dtype}, the model's input 'x' takes float32"
    assert error.hint is None

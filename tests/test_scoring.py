"""Methods are held to their contract; whole tensors and pieces give the same scores."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import onnxprune.scoring
from onnxprune.errors import InputError, OnnxpruneError, UsageError
from onnxprune.registry import Entry, find
from onnxprune.scoring import rank
from onnxprune.selection import CHUNK, Ranking
from tests.tensors_made import Array, Tensors, normal


def ranking(function: Callable[..., Any], values: Array, **settings: Any) -> Ranking:
    """Rank one tensor by a function that is a user's method."""
    entry = Entry("mine", "method", function, "Score.", "", (), {}, "global", **settings)
    made = Tensors({"w": values})
    return rank(made.weights[0], made.values, entry, {}, 0)


def leave(_: Array) -> Array:
    raise SystemExit(0)


def empty(_: Array) -> Array:
    raise MemoryError


BROKEN: dict[str, tuple[Callable[..., Any], type[OnnxpruneError], str]] = {
    "shape": (
        lambda w: w[0],
        UsageError,
        "method mine returned (4,) for 'w', wanted scores of shape (3, 4)",
    ),
    "list": (lambda w: w.tolist(), UsageError, "method mine returned list for 'w'"),
    "nothing": (lambda w: None, UsageError, "method mine returned NoneType for 'w'"),
    "complex": (lambda w: w * 1j, UsageError, "scores of type complex64 for 'w'"),
    "objects": (lambda w: w.astype(object), UsageError, "scores of type object for 'w'"),
    "error": (
        lambda w: w @ w,
        UsageError,
        "method mine failed on 'w': ValueError: matmul",
    ),
    "exit": (leave, UsageError, "method mine failed on 'w': SystemExit: 0"),
    "nan": (lambda w: w * np.nan, InputError, "method mine scored 'w' with NaN or Inf"),
    "inf": (lambda w: w / 0.0 + 1, InputError, "method mine scored 'w' with NaN or Inf"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_method_is_held_to_its_contract(name: str) -> None:
    function, kind, message = BROKEN[name]
    with pytest.raises(kind) as refused:
        ranking(function, normal("w", 3, 4)).bins()
    assert type(refused.value) is kind
    assert message in refused.value.message


def test_a_lack_of_memory_is_not_the_method_s_fault() -> None:
    with pytest.raises(MemoryError):
        ranking(empty, normal("w", 3, 4)).bins()


@pytest.mark.parametrize(
    "dtype", [bool, np.int8, np.uint64, np.float16, np.float32, np.float64]
)
def test_any_real_numbers_are_scores(dtype: type) -> None:
    scores = np.arange(12).reshape(3, 4) % 2
    cut = ranking(lambda w: scores.astype(dtype), normal("w", 3, 4)).cut(7)
    assert (cut.value, cut.ties) == (1.0, 1)


def test_scores_may_be_negative() -> None:
    values = normal("w", 30, 40)
    made = ranking(lambda w: w, values, elementwise=True)
    cut = made.cut(300)
    assert cut.value == np.sort(values.reshape(-1))[299]
    assert cut.ties == 1


def test_numbers_that_are_none_in_the_file_are_named_as_such() -> None:
    values = normal("w", 3, 4)
    values[1, 2] = np.nan
    for function in (lambda w: w * 2, np.abs):
        with pytest.raises(InputError, match=r"'w': NaN at \[1,2\]"):
            ranking(function, values).bins()


def test_a_method_sees_outputs_as_rows_and_its_scores_go_back_to_their_places() -> None:
    values = normal("w", 5, 2, 3, 3)
    seen = []

    def by_row(matrix: Array) -> Array:
        seen.append(matrix)
        return np.abs(matrix) / np.abs(matrix).sum(axis=1, keepdims=True)

    made = ranking(by_row, values)
    scores = made.read(0, values.size).reshape(values.shape)
    assert seen[0].shape == (5, 18)
    np.testing.assert_array_equal(seen[0], values.transpose(0, 2, 3, 1).reshape(5, 18))
    expected = np.abs(values) / np.abs(values).sum(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert len(seen) == 1


def test_whole_tensors_are_scored_again_where_they_are_too_large_to_keep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = normal("w", 600, 900)
    assert values.size > 2 * CHUNK
    calls = []

    def counted(matrix: Array) -> Array:
        calls.append(matrix.shape)
        return np.abs(matrix)

    small, again = ranking(counted, values), ranking(counted, values)
    cut = small.cut(1000)
    assert calls == [(600, 900)]
    monkeypatch.setattr(onnxprune.scoring, "KEEP_SCORES", 1000)
    assert again.cut(1000) == cut
    assert len(calls) == 3


def test_pieces_of_random_scores_are_those_of_the_whole() -> None:
    values = normal("w", 600, 900)
    made = Tensors({"w": values})
    source = rank(made.weights[0], made.values, find("random"), {}, 5)
    whole = np.concatenate(list(source.chunks()))
    np.testing.assert_array_equal(np.concatenate(list(source.chunks())), whole)
    parts = [
        source.scores_of(start, values.reshape(-1)[start : start + CHUNK])
        for start in range(0, values.size, CHUNK)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    expected = np.random.default_rng([5, zlib.crc32(b"w")])
    np.testing.assert_array_equal(whole, expected.random(values.size))

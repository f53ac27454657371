"""Functions that yield samples: called for each pass, and held to what they said first."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.errors import InputError, UsageError
from tests.samples.made import Array, batches, floats, opened, port, read, refusal

Yielding = Callable[[], Iterable[Mapping[str, Any]]]


def yielding(*parts: Any) -> Yielding:
    def made() -> Iterator[Any]:
        yield from parts

    return made


def test_batches_are_cut_from_each_dictionary() -> None:
    samples = opened(yielding({"x": floats(3, 2)}, {"x": floats(2, 2) + 10}))
    assert (samples.size, samples.source) == (None, "yielding.<locals>.made")
    assert [batch.count for batch in batches(samples, 2)] == [2, 1, 2]
    assert [batch.start for batch in batches(samples, 2)] == [0, 2, 3]
    assert read(samples)[:, 0].tolist() == [0, 2, 4, 10, 12]


def test_a_function_may_return_a_list_with_labels_and_constants() -> None:
    part = {"x": [[1.5, 2.5]], "labels": [3], "k": 5}
    samples = opened(
        lambda: [{**part, "x": np.float32(part["x"])}], port(), port("k", (), "int64")
    )
    (batch,) = batches(samples)
    assert batch.labels is not None
    assert batch.labels.tolist() == [3]
    assert batch.feeds["k"] == 5


def test_samples_may_differ_where_the_model_leaves_sizes_free() -> None:
    samples = opened(
        yielding({"x": floats(1, 3)}, {"x": floats(1, 5)}), port(shape=(None, None))
    )
    assert [batch.feeds["x"].shape for batch in batches(samples)] == [(1, 3), (1, 5)]
    error = refusal(yielding({"x": floats(1, 2)}, {"x": floats(1, 5)}))
    assert error.message == "'x': samples of shape 5 do not fit the model's input of 2"
    images = yielding({"x": np.zeros((1, 4, 4, 3), "u1")}, {"x": np.zeros((1, 5, 5, 3), "u1")})
    error = refusal(images, port(shape=(None, 3, None, None)), mean=(0,))
    assert error.message == "'x': an image of 5x5x3 after others"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"x": np.zeros((1, 2))}, "float64 of 2 dimensions for 'x', at first float32 of 2"),
        ({"x": floats(2)}, "float32 of 1 dimensions for 'x', at first float32 of 2"),
        ({"y": floats(1, 2)}, "none for 'x', at first float32 of 2"),
    ],
)
def test_later_arrays_have_to_be_like_the_first(
    second: dict[str, Array], message: str
) -> None:
    error = refusal(yielding({"x": floats(1, 2)}, second))
    assert error.message == f"yielding.<locals>.made yields {message} dimensions"
    assert isinstance(error, InputError)


def test_a_constant_stays_the_same() -> None:
    parts = [{"x": floats(1, 2), "k": np.array(value)} for value in (1, 2)]
    error = refusal(yielding(*parts), port(), port("k", (), "int64"))
    assert error.message == (
        "yielding.<locals>.made changes 'k', which has no dimension of samples"
    )


def test_another_number_of_samples_is_refused() -> None:
    counts = iter([3, 3, 2])

    def shrinking() -> Iterator[Mapping[str, Array]]:
        yield {"x": floats(next(counts), 2)}

    samples = opened(shrinking)
    batches(samples)
    with pytest.raises(InputError) as caught:
        batches(samples)
    name = "test_another_number_of_samples_is_refused.<locals>.shrinking"
    assert caught.value.message == f"{name} yielded 3 samples at first, 2 now"


def test_a_pass_that_stops_early_counts_nothing() -> None:
    samples = opened(yielding({"x": floats(3, 2)}, {"x": floats(3, 2)}), limit=4)
    for _ in range(2):
        assert [batch.count for batch in batches(samples, 3)] == [3, 1]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: 1 / 0, "failed: ZeroDivisionError: division by zero"),
        (lambda: sys.exit("over\nand out"), "failed: SystemExit: over and out"),
        (lambda: None, "failed: TypeError: 'NoneType' object is not iterable"),
        (lambda: [floats(2)], "has to yield dictionaries, not ndarray"),
        (lambda needed: needed, "failed: TypeError: "),
    ],
)
def test_a_function_that_fails_is_a_wrong_option(function: Yielding, message: str) -> None:
    error = refusal(function)
    assert isinstance(error, UsageError)
    assert message in error.message


def test_a_function_that_fails_later_is_refused_then() -> None:
    def failing() -> Iterator[Mapping[str, Array]]:
        yield {"x": floats(1, 2)}
        raise ValueError("no more")

    samples = opened(failing)
    with pytest.raises(UsageError, match=r"failing failed: ValueError: no more"):
        batches(samples)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "yielding.<locals>.made: the set has no samples"),
        (({"x": floats(0, 2)},), "yielding.<locals>.made: the set has no samples"),
        (({"x": floats(2, 2), "labels": [1]},), "2 samples of 'x', but 1 of 'labels'"),
        (({"x": [{}, {}]},), "'x' holds Python objects, not numbers"),
        (({"x": [[1], [1, 2]]},), "'x' cannot be made an array: setting an array element"),
    ],
)
def test_what_is_no_set_is_bad_data(parts: tuple[Any, ...], message: str) -> None:
    error = refusal(yielding(*parts))
    assert isinstance(error, InputError)
    assert error.message.startswith(message)


def test_an_empty_part_is_passed_over() -> None:
    samples = opened(yielding({"x": floats(0, 2)}, {"x": floats(2, 2)}, {"x": floats(0, 2)}))
    assert [(batch.start, batch.count) for batch in batches(samples)] == [(0, 2)]


def test_a_function_has_no_sum() -> None:
    with pytest.raises(UsageError) as caught:
        opened(yielding({"x": floats(1, 2)})).digest()
    assert caught.value.message == (
        "the samples of the function yielding.<locals>.made have no sum to keep outputs by"
    )


SOURCE = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from near_{name} import VALUE

@dataclass
class Row:
    value: float

def rows():
    yield {{"x": np.full((2, 2), Row(VALUE).value, np.float32)}}

NUMBER = 3
"""


def module(folder: Path, name: str) -> Path:
    (folder / f"near_{name}.py").write_text("VALUE = 4.0\n")
    path = folder / f"{name}.py"
    path.write_text(SOURCE.format(name=name))
    return path


def test_a_function_in_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    path = module(tmp_path, "first-set".replace("-", "_"))
    before = list(sys.path)
    samples = opened(f"{path}:rows")
    assert samples.source == f"{path}:rows"
    assert read(samples).tolist() == [[4, 4], [4, 4]]
    assert sys.path == before


def test_a_module_of_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(tmp_path, "second_set")
    monkeypatch.chdir(tmp_path)
    assert read(opened("second_set:rows")).tolist() == [[4, 4], [4, 4]]


def test_what_names_no_function_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = module(tmp_path, "third_set")
    (tmp_path / "wrong.py").write_text("def (")
    (tmp_path / "leaving.py").write_text("raise SystemExit('bye')")
    for spec, message in {
        f"{path}:columns": "data third_set.py has no function 'columns'; it has ",
        "third_set.py:NUMBER": "data third_set.py:NUMBER is no function but of type int",
        "gone.py:rows": "data file gone.py does not exist",
        "wrong.py:rows": "data file wrong.py does not load: SyntaxError: ",
        "leaving.py:rows": "data file leaving.py does not load: SystemExit: bye",
        "no_such_module:rows": "data module no_such_module is neither installed nor in",
        "..no:rows": "data module ..no does not load: ",
    }.items():
        error = refusal(spec)
        assert isinstance(error, UsageError)
        assert error.message.startswith(message)

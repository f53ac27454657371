"""Two models that must compute the same: what is let pass, and what is not."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from onnxprune.errors import LibraryError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.trials.equality import compare_models, difference, tolerance_of
from onnxprune.trials.trial import make_trial
from tests import models
from tests.models import Array, constant, node

TRIAL = make_trial("random:4", device="cpu", latency=False)


def outputs(*values: object, dtype: object = np.float32) -> dict[str, Array]:
    return {"y": np.array(values, dtype=dtype)}  # type: ignore[call-overload]


def test_a_difference_is_a_share_of_the_largest_value() -> None:
    assert difference(outputs(0, 100), outputs(0.5, 100), 0.01) == pytest.approx(0.005)
    assert difference(outputs(0, 0), outputs(0, 0), 0.0) == 0
    assert difference(outputs(1, 2, dtype=np.int64), outputs(1, 2, dtype=np.int64), 0.0) == 0


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (outputs(0, 100), outputs(2, 100), "'y' differs by 0.02 of its largest value"),
        (outputs(0, 0), outputs(0, 1e-9), "'y' differs by inf"),
        (outputs(1, np.nan), outputs(1, 2), "'y' differs by inf"),
        (outputs(1, np.inf), outputs(1, -np.inf), "'y' differs by inf"),
        (outputs(1, 2), outputs(1), "'y' has another shape"),
        (outputs(1, 2), {}, "'y' has another shape"),
        (outputs(1, 2, dtype=np.int64), outputs(1, 3, dtype=np.int64), "'y' has other values"),
    ],
)
def test_what_differs_by_more_is_an_error(
    first: dict[str, Array], second: dict[str, Array], words: str
) -> None:
    with pytest.raises(LibraryError, match="computes something else") as error:
        difference(first, second, 0.01)
    assert words in error.value.message


def test_what_is_no_number_may_be_so_in_both() -> None:
    assert difference(outputs(1, np.nan, np.inf), outputs(1, np.nan, np.inf), 0.0) == 0


def scaled(folder: Path, name: str, by: float, kind: int = TensorProto.FLOAT) -> Path:
    dtype = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    made = models.model(
        [node("MatMul x w -> y")],
        {"x": ["n", 2]},
        "y",
        [constant("w", [[by, 0], [0, 1]], dtype)],
    )
    for port in (*made.graph.input, *made.graph.output):
        port.type.tensor_type.elem_type = kind
    return models.save(folder / name, made)


def test_both_models_run_on_the_same_samples(tmp_path: Path) -> None:
    with (
        load_onnx(scaled(tmp_path, "a.onnx", 1.0)) as first,
        load_onnx(scaled(tmp_path, "b.onnx", 1.000001)) as second,
        load_onnx(scaled(tmp_path, "c.onnx", 1.1)) as third,
    ):
        same, latency = compare_models(first, second, TRIAL)
        assert (same.samples, same.source, latency) == (4, "random:4", None)
        assert 0 < same.largest <= same.allowed == 1e-5
        with pytest.raises(LibraryError, match="computes something else"):
            compare_models(first, third, TRIAL)


def test_types_of_fewer_bits_round_by_more(tmp_path: Path) -> None:
    with load_onnx(scaled(tmp_path, "a.onnx", 1.0, TensorProto.FLOAT16)) as model:
        assert tolerance_of(model) == 4e-3

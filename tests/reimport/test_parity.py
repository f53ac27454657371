from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from onnxprune.errors import OnnxpruneError, UnsupportedError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.reimport import registry
from onnxprune.reimport.module import reimport
from onnxprune.reimport.parity import Parity, check_parity, relative_error, tolerance_of
from onnxprune.trials.runner import Runner
from tests import models, shared
from tests.models import model, node, weight

X = np.array([[1, -2, 3], [0.5, 4, -1]], np.float32)
TYPES = {"tensor(float)": "f4", "tensor(int64)": "i8", "tensor(int32)": "i4"}
TYPES["tensor(float16)"] = "f2"
SHAPES = {"silero_vad": {"input": [2, 576], "state": [2, 2, 128], "sr": []}}


def small() -> onnx.ModelProto:
    nodes = [
        node("MatMul x w -> h", "first"),
        node("Tanh h -> t", "bend"),
        node("MatMul t v -> y", "last"),
    ]
    return model(nodes, {"x": [2, 3]}, "y", [weight("w", 3, 300), weight("v", 300, 2)])


def parity(path: Path, feeds: dict[str, Any], expected: dict[str, Any]) -> Parity:
    with load_onnx(path) as opened:
        return check_parity(reimport(opened), opened, feeds, expected)


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[..., Any]], None]:
    """Compute an operator in another way than it is defined."""

    def replace(name: str, function: Callable[..., Any]) -> None:
        assert registry.find_operator("", name)
        made = registry.Operator(name, "", function, frozenset(), ())
        monkeypatch.setitem(registry._operators, ("", name), made)

    return replace


def test_a_module_that_computes_the_same_passes(tmp_path: Path) -> None:
    path = models.save(tmp_path / "m.onnx", small())
    found = parity(path, {"x": X}, {"y": models.run(small(), x=X)[0]})
    assert found.error <= found.allowed == 1e-5


def test_the_first_node_that_differs_is_named(
    tmp_path: Path, replaced: Callable[[str, Callable[..., Any]], None]
) -> None:
    replaced("Tanh", lambda x: torch.tanh(x) * 1.01)
    path = models.save(tmp_path / "m.onnx", small())
    expected = {"y": models.run(small(), x=X)[0]}
    with pytest.raises(UnsupportedError) as caught:
        parity(path, {"x": X}, expected)
    assert str(caught.value) == (
        "the model computes something else in torch: output 'y' is off by 1.0e-02 of its"
        " largest value, 1e-05 is allowed; the first node that differs is 'bend' (Tanh),"
        " by 1.0e-02"
    )
    assert caught.value.hint == "a method that needs no gradients prunes it"


def test_outputs_that_are_not_the_models_are_refused_without_a_node(tmp_path: Path) -> None:
    path = models.save(tmp_path / "m.onnx", small())
    with pytest.raises(UnsupportedError, match="is allowed; no single node stands out"):
        parity(path, {"x": X}, {"y": 1.5 * models.run(small(), x=X)[0]})


def test_an_error_that_rounding_explains_is_allowed(tmp_path: Path) -> None:
    nodes = [node("Add x large -> h"), node("Sub h large -> y")]
    proto = model(nodes, {"x": [2]}, "y", [models.constant("large", 1000)])
    x = np.array([1.00001, 2.00003], np.float32)
    found = parity(models.save(tmp_path / "m.onnx", proto), {"x": x}, {"y": x})
    assert 1e-5 < found.error < found.allowed <= 1e-3
    with pytest.raises(UnsupportedError):
        parity(tmp_path / "m.onnx", {"x": x}, {"y": x * np.float32(1.002)})


def test_models_with_few_bits_may_be_off_further(tmp_path: Path) -> None:
    half = model([node("Cast w -> f", to=1), node("Add x f -> y")], {"x": [3]}, "y")
    half.graph.initializer.append(weight("w", 3, dtype=np.float16))
    scale = [models.constant("s", 0.5), models.constant("z", 0, np.uint8)]
    rounded = model([node("QuantizeLinear x s z -> y")], {"x": [3]}, "y", scale)
    for proto, tolerance in ((small(), 1e-5), (half, 1e-2), (rounded, 5e-2)):
        with load_onnx(models.save(tmp_path / "m.onnx", proto)) as opened:
            assert tolerance_of(opened) == tolerance


def test_a_model_without_a_tensor_to_compare_is_refused(tmp_path: Path) -> None:
    path = models.save(tmp_path / "m.onnx", small())
    with pytest.raises(UnsupportedError) as caught:
        parity(path, {"x": X}, {})
    assert str(caught.value) == (
        "no output of the model is a tensor: there is nothing to compare"
    )


@pytest.mark.parametrize(
    ("found", "expected", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([np.nan, 1.0], [1.0, 1.0], np.inf),
        ([np.inf, 1.0], [np.inf, 2.0], 0.5),
        ([-np.inf, 1.0], [np.inf, 1.0], np.inf),
        ([1.0], [1.0, 2.0], np.inf),
        ([], [], 0.0),
    ],
)
def test_an_error_is_the_largest_difference_over_the_largest_value(
    found: list[float], expected: list[float], error: float
) -> None:
    assert relative_error(torch.tensor(found), np.array(expected)) == error


@pytest.mark.parametrize("name", shared.all_models())
def test_every_model_is_the_same_or_refused_with_a_sentence(name: str) -> None:
    path = shared.needs_models(name)
    with Runner("cpu") as runner:
        try:
            opened = runner.open("model", path)
            feeds = made_feeds(name, opened["inputs"])
            expected = runner.run("model", feeds)
        except OnnxpruneError as error:
            pytest.skip(f"ONNX Runtime does not run it: {error}")
    with load_onnx(path) as opened_model:
        module = reimport(opened_model)
        found = check_parity(module, opened_model, feeds, expected)
        assert found.error <= found.allowed
        paths = [each.path for each in opened_model.weights]
        assert set(paths) <= set(module.tensors)
        assert not module.cuts


def made_feeds(name: str, inputs: list[Any]) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for key, kind, shape in inputs:
        known = SHAPES.get(name.split("/")[0], {}).get(key)
        dims = [2 if not isinstance(dim, int) or dim < 1 else dim for dim in shape]
        dims = dims if known is None else known
        dtype = np.dtype(TYPES[kind])
        if key == "sr":
            feeds[key] = np.array(16000, dtype)
        elif dtype.kind == "i":
            feeds[key] = generator.integers(0, 9, dims).astype(dtype)
        else:
            feeds[key] = generator.standard_normal(dims).astype(dtype)
    return feeds

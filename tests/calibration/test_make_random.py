"""Random samples are made for the inputs of a model."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.trials.ports import input_ports
from tests.calibration.recipe import run_recipe
from tests.models import model, node, port


def test_the_set_is_for_the_model_and_has_the_same_bytes_again(
    tmp_path: Path, digits: Path
) -> None:
    output = tmp_path / "set.npz"
    words = (digits, "-o", output, "--samples", 20, "--seed", 3)
    assert run_recipe("make_random.py", *words) == (0, f"{output}: 20 samples\n", "")
    first = output.read_bytes()
    code, _, error = run_recipe("make_random.py", *words)
    assert (code, error) == (2, f"error: {output} exists; --force replaces it\n")
    assert run_recipe("make_random.py", *words, "--force")[0] == 0
    assert output.read_bytes() == first
    with load_onnx(digits) as loaded, np.load(output, allow_pickle=False) as arrays:
        ports = input_ports(loaded)
        samples = open_samples(output, Reading(), ports)
        noise = open_samples("random:20", Reading(seed=3), ports)
        (batch,) = list(noise.batches(20))
        assert samples.size == 20
        assert np.array_equal(arrays["image"], batch.feeds["image"])


def test_scalars_and_fixed_batches_are_kept(tmp_path: Path) -> None:
    made = model([node("Mul x k -> y")], {"x": [4, 2], "k": []})
    made.graph.input.append(port("free", ["n", "m"], TensorProto.INT64))
    onnx.save(made, tmp_path / "model.onnx")
    words = (tmp_path / "model.onnx", "-o", tmp_path / "set.npz", "--samples", 6)
    code, _, error = run_recipe("make_random.py", *words)
    assert code == 2
    assert error == (
        "error: random samples for 'free' need sizes that the model leaves free"
        "; --shape free=... gives those of one sample, such as 3x224x224\n"
    )
    assert run_recipe("make_random.py", *words, "--shape", "free=5")[0] == 0
    with np.load(tmp_path / "set.npz", allow_pickle=False) as arrays:
        found = {name: (array.shape, array.dtype.name) for name, array in arrays.items()}
    assert found == {
        "x": ((6, 2), "float32"),
        "k": ((), "float32"),
        "free": ((6, 5), "int64"),
    }


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    code, out, error = run_recipe(
        "make_random.py", tmp_path / "model.onnx", "-o", tmp_path / "set.npz"
    )
    assert (code, out) == (3, "")
    assert error.startswith(f"error: {tmp_path}/model.onnx: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "set.npz").exists()

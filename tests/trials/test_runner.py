import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxprune.bounds import limiting
from onnxprune.errors import (
    InputError,
    LibraryError,
    LimitError,
    UnsupportedError,
    UsageError,
)
from onnxprune.trials.runner import TIMEOUT, Runner
from tests import models

HAS_GPU = os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg")


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner("cpu") as made:
        yield made


def linear(tmp_path: Path, value: float = 2.0) -> Path:
    nodes = [models.node("Mul x w -> y")]
    weights = [models.constant("w", [value, value])]
    return models.save(tmp_path / "m.onnx", models.model(nodes, {"x": ["n", 2]}, "y", weights))


def test_a_model_is_run_on_arrays(runner: Runner, tmp_path: Path) -> None:
    answer = runner.open("a", linear(tmp_path))
    assert answer["provider"] == "CPUExecutionProvider"
    outputs = runner.run("a", {"x": np.array([[1, 2], [3, 4]], np.float32)})
    assert outputs["y"].tolist() == [[2, 4], [6, 8]]
    assert outputs["y"].dtype == np.float32


def test_several_sessions_live_beside_each_other(runner: Runner, tmp_path: Path) -> None:
    runner.open("two", linear(tmp_path, 2))
    runner.open("three", linear(tmp_path, 3))
    x = np.array([[1, 2]], np.float32)
    assert runner.run("two", {"x": x})["y"].tolist() == [[2, 4]]
    assert runner.run("three", {"x": x})["y"].tolist() == [[3, 6]]
    runner.close_session("three")
    assert runner.run("two", {"x": x})["y"].tolist() == [[2, 4]]


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3)])
@pytest.mark.parametrize("dtype", ["f4", "f2", "f8", "i1", "u1", "i8", "?"])
def test_arrays_of_all_types_and_shapes_come_back_as_they_went(
    runner: Runner, tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    kind = np.dtype(dtype)
    proto = models.model([models.node("Identity x -> y")], {}, "y")
    number = models.onnx.helper.np_dtype_to_tensor_dtype(kind)
    proto.graph.input.append(models.port("x", list(shape), number))
    proto.graph.output[0].CopyFrom(models.port("y", list(shape), number))
    runner.open("id", models.save(tmp_path / "m.onnx", proto))
    given = np.arange(int(np.prod(shape)), dtype="f8").reshape(shape).astype(kind)
    found = runner.run("id", {"x": given})["y"]
    assert (found.dtype, found.shape) == (kind, shape)
    assert found.tobytes() == given.tobytes()


def test_texts_go_in_and_come_out(runner: Runner, tmp_path: Path) -> None:
    proto = models.model([models.node("Identity x -> y")], {}, "y")
    kind = models.TensorProto.STRING
    proto.graph.input.append(models.port("x", ["n"], kind))
    proto.graph.output[0].CopyFrom(models.port("y", ["n"], kind))
    runner.open("text", models.save(tmp_path / "m.onnx", proto))
    found = runner.run("text", {"x": np.array(["a", "bcd"])})["y"]
    assert found.tolist() == ["a", "bcd"]


def test_an_output_that_is_no_tensor_is_left_out(runner: Runner, tmp_path: Path) -> None:
    nodes = [models.node("SequenceConstruct x -> s"), models.node("Identity x -> y")]
    proto = models.model(nodes, {"x": [2]}, "y")
    sequence = models.onnx.helper.make_tensor_sequence_value_info("s", 1, None)
    proto.graph.output.append(sequence)
    runner.open("sequence", models.save(tmp_path / "m.onnx", proto))
    assert set(runner.run("sequence", {"x": np.ones(2, np.float32)})) == {"y"}


def test_a_model_that_the_runtime_refuses_is_bad_input(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(InputError, match="ONNX Runtime refuses the model: "):
        runner.open("bad", path)


def test_a_missing_kernel_is_not_supported(runner: Runner, tmp_path: Path) -> None:
    nodes = [models.node("MatMul x w -> y")]
    proto = models.model(nodes, {}, "y")
    kind = models.TensorProto.BFLOAT16
    proto.graph.input.append(models.port("x", [2, 2], kind))
    proto.graph.input.append(models.port("w", [2, 2], kind))
    proto.graph.output[0].CopyFrom(models.port("y", [2, 2], kind))
    with pytest.raises(UnsupportedError, match="cannot run the model here"):
        runner.open("bf", models.save(tmp_path / "m.onnx", proto))


def test_data_that_do_not_fit_are_bad_input(runner: Runner, tmp_path: Path) -> None:
    runner.open("a", linear(tmp_path))
    with pytest.raises(InputError, match="cannot run the model on these data: INVALID"):
        runner.run("a", {"x": np.ones((1, 3), np.float32)})


def test_an_unknown_device_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="--device is one of auto, cpu, cuda, not 'gpu'"):
        Runner("gpu")


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU here")
def test_cuda_without_a_gpu_is_refused_not_replaced(tmp_path: Path) -> None:
    with Runner("cuda") as runner, pytest.raises(UnsupportedError) as caught:
        runner.open("a", linear(tmp_path))
    message = "--device cuda: ONNX Runtime has no working GPU here, only the processor"
    assert caught.value.message == message
    assert caught.value.exit_code == 6
    assert caught.value.hint


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU here")
def test_auto_without_a_gpu_runs_on_the_processor(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Runner("auto") as runner:
        runner.open("a", linear(tmp_path))
        assert runner.place is not None
        assert runner.place.provider == "CPUExecutionProvider"
        assert not runner.idle_gpu
    assert capfd.readouterr() == ("", "")


def test_a_runtime_that_dies_is_a_library_error(tmp_path: Path) -> None:
    with Runner("cpu") as runner:
        runner.open("a", linear(tmp_path))
        os.kill(runner._child.pid, signal.SIGSEGV)
        with pytest.raises(LibraryError, match="ONNX Runtime died of SIGSEGV on this model"):
            runner.run("a", {"x": np.ones((1, 2), np.float32)})


def test_a_runtime_that_hangs_is_over_a_limit(tmp_path: Path) -> None:
    with Runner("cpu", timeout=60) as runner:
        runner.open("a", linear(tmp_path))
        os.kill(runner._child.pid, signal.SIGSTOP)
        runner.timeout = 0.3
        with pytest.raises(LimitError, match=r"gave no answer in 0\.3 s") as caught:
            runner.run("a", {"x": np.ones((1, 2), np.float32)})
        assert caught.value.hint == "--timeout gives it more"
        assert runner._child.wait(10) == -signal.SIGKILL


def test_a_hang_while_it_is_fed_is_noticed(tmp_path: Path) -> None:
    with Runner("cpu", timeout=60) as runner:
        runner.open("a", linear(tmp_path))
        os.kill(runner._child.pid, signal.SIGSTOP)
        runner.timeout = 0.3
        with pytest.raises(LimitError):
            runner.run("a", {"x": np.ones((1 << 22, 2), np.float32)})


def zeros(folder: Path, count: int) -> Path:
    """Make a model that makes so many floats, and adds them up."""
    sums = "ConstantOfShape n -> z", "ReduceSum z -> s", "Add x s -> y"
    nodes = [models.node(text) for text in sums]
    nodes[1].attribute.add(name="keepdims", type=onnx.AttributeProto.INT, i=0)
    weights = [models.constant("n", [count], np.int64)]
    path = folder / f"{count}.onnx"
    return models.save(path, models.model(nodes, {"x": ["n", 2]}, "y", weights))


def test_a_runtime_that_needs_too_much_memory_is_over_a_limit(tmp_path: Path) -> None:
    feeds = {"x": np.ones((1, 2), np.float32)}
    for limit, count in (("1G", 1 << 28), (None, 1 << 40)):
        with limiting(memory_limit=limit), Runner("cpu") as runner:
            runner.open("a", zeros(tmp_path, count))
            with pytest.raises(LimitError) as caught:
                runner.run("a", feeds)
        size = limit.replace("G", " GiB") if limit else r"[0-9.]+ GiB"
        told = f"ONNX Runtime needs more than {size}, the --memory-limit: "
        assert re.match(told, caught.value.message)
        assert caught.value.hint == "--memory-limit gives it more, --batch 1 needs the least"
    with limiting(memory_limit="8G"), Runner("cpu") as runner:
        runner.open("a", zeros(tmp_path, 1 << 28))
        assert runner.run("a", feeds)["y"].tolist() == [[1, 1]]


def test_a_runtime_that_dies_of_too_little_memory_is_over_a_limit(tmp_path: Path) -> None:
    with Runner("cpu") as runner:
        runner.open("a", linear(tmp_path))
        runner._said.write(b"terminate called: std::bad_alloc\n")
        runner._said.flush()
        os.kill(runner._child.pid, signal.SIGABRT)
        with pytest.raises(LimitError, match=r"needs more than .* GiB, the --memory-limit"):
            runner.run("a", {"x": np.ones((1, 2), np.float32)})


def test_the_time_for_an_answer_is_what_the_user_says() -> None:
    with Runner("cpu") as runner:
        assert runner.timeout == TIMEOUT
    with limiting(timeout=7), Runner("cpu") as runner:
        assert runner.timeout == 7
    with limiting(timeout=7), Runner("cpu", timeout=8) as runner:
        assert runner.timeout == 8


def test_the_process_ends_with_its_runner(tmp_path: Path) -> None:
    with Runner("cpu") as runner:
        runner.open("a", linear(tmp_path))
        pid = runner._child.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_sessions_are_timed_in_turn(runner: Runner, tmp_path: Path) -> None:
    for key in ("one", "two"):
        runner.open(key, linear(tmp_path))
    times = runner.time(["one", "two"], {"x": np.ones((1, 2), np.float32)})
    assert set(times) == {"one", "two"}
    assert len(times["one"]) == len(times["two"]) >= 5
    assert all(second > 0 for one in times.values() for second in one)


def test_threads_do_not_change_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [models.node("MatMul x w -> y")]
    proto = models.model(nodes, {"x": ["n", 300]}, "y", [models.weight("w", 300, 200)])
    path = models.save(tmp_path / "m.onnx", proto)
    x = np.random.default_rng(0).standard_normal((64, 300)).astype(np.float32)
    found: list[Any] = []
    for threads in ("1", "2"):
        monkeypatch.setenv("ONNXPRUNE_THREADS", threads)
        with Runner("cpu") as runner:
            runner.open("a", path)
            found.append(runner.run("a", {"x": x})["y"].tobytes())
    assert found[0] == found[1]

"""Methods that measure the model, from options to files: who takes part, steps kept."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxprune
from onnxprune import registry
from onnxprune.api import run_recipe
from onnxprune.checkpoints import NAME
from onnxprune.errors import InputError
from onnxprune.pruning import Settings
from onnxprune.recipe import make_recipe
from onnxprune.types import Report
from onnxprune.watching import SHARES
from tests.cli.started import environment
from tests.conftest import Ran
from tests.forked import Forked, Source
from tests.measured.files import LABELS, trial, write_net, write_samples
from tests.models import model, node, save, weight

Run = Callable[..., Ran]
pytestmark = pytest.mark.usefixtures("forked")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPRUNE_THREADS", "1")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write_net(tmp_path)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    return write_samples(tmp_path)


def pruned(net: Path, samples: Path, method: str = "iterative_snip", **more: Any) -> Report:
    given = {"steps": 3, "precision": "float64", "verify": False, "dry_run": True}
    return onnxprune.prune(net, 0.5, method, data=trial(samples), **given | more)


def zeros(report: Report) -> dict[str, int]:
    return {each.weight.path: each.mask_zeros for each in report.tensors}


@pytest.mark.parametrize("method", ["snip", "grasp", "obd", "force"])
def test_without_samples_a_method_that_needs_them_is_refused_in_one_line(
    method: str, net: Path, run: Run
) -> None:
    ran = run(net, "-s", "0.5", "-m", method)
    what = f"error: {method} measures the model on samples; --data SET names them"
    wanted = f"onnxprune: {what}\n"
    assert (ran.code, ran.out, ran.err) == (2, "", wanted)


def test_synflow_needs_no_samples(net: Path, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.onnx"
    ran = run(net, "-s", "0.5", "-m", "synflow", "-o", output, "--no-verify")
    assert (ran.code, ran.err) == (0, "")
    assert onnxprune.inspect(output, verify=False).zeros == round(0.5 * (24 + 18 + 20))


@pytest.mark.parametrize("method", ["lamp", "magnitude", "erk"])
def test_steps_of_a_method_that_measures_nothing_are_refused(
    method: str, net: Path, run: Run
) -> None:
    ran = run(net, "-s", "0.5", "-m", method, "--steps", "5")
    assert (ran.code, ran.out) == (2, "")
    assert f"--steps 5: {method} measures nothing, one step is all" in ran.err
    assert run(net, "-s", "0.5", "-m", method, "--steps", "1", "--dry-run").code == 0


def test_a_tensor_that_no_gradient_reaches_is_left_alone(net: Path, samples: Path) -> None:
    report = pruned(net, samples)
    assert list(zeros(report)) == ["first", "second"]
    assert ("aside", "no gradient reaches it") in [
        (each.name, each.reason) for each in report.skipped
    ]
    assert report.zeros == report.mask_zeros == round(0.5 * (24 + 18))


def test_globs_choose_what_takes_part(net: Path, samples: Path) -> None:
    assert zeros(pruned(net, samples, exclude=["first"])) == {"second": 9}
    assert zeros(pruned(net, samples, include=["f*"])) == {"first": 12}
    assert sum(zeros(pruned(net, samples, layer={"first": 0.25})).values()) == 21
    assert zeros(pruned(net, samples, layer={"first": 0.25}))["first"] == 6
    assert zeros(pruned(net, samples, exclude=["aside"], layer={"aside": 0.5}))


def test_a_tensor_alone_without_a_gradient_cannot_be_pruned(net: Path, samples: Path) -> None:
    with pytest.raises(onnxprune.OnnxpruneError) as caught:
        pruned(net, samples, include=["aside"])
    assert caught.value.exit_code == 6
    assert "no gradient reaches any tensor that could be pruned" in str(caught.value)


@pytest.mark.parametrize(
    ("allocation", "wanted"), [("uniform", {"first": 12, "second": 9}), ("erk", None)]
)
@pytest.mark.parametrize("method", ["snip", "force"])
def test_other_allocations_divide_what_is_measured(
    method: str,
    allocation: str,
    wanted: dict[str, int] | None,
    net: Path,
    samples: Path,
) -> None:
    found = zeros(pruned(net, samples, method, allocation=allocation, exclude=["aside"]))
    if wanted is None:
        plain = onnxprune.prune(
            net, 0.5, allocation, exclude=["aside"], dry_run=True, verify=False
        )
        wanted = zeros(plain)
    assert found == wanted


def written(net: Path, samples: Path, output: Path, **more: Any) -> bytes:
    pruned(net, samples, dry_run=False, output=output, **more)
    return output.read_bytes()


@pytest.mark.parametrize("method", ["force", "quadratic", "grasp"])
def test_the_same_is_asked_twice_and_on_two_threads_and_the_same_comes_out(
    method: str, net: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [written(net, samples, tmp_path / f"{n}.onnx", method=method) for n in range(2)]
    monkeypatch.setenv("ONNXPRUNE_THREADS", "2")
    found.append(written(net, samples, tmp_path / "threads.onnx", method=method))
    assert found[0] == found[1] == found[2]
    assert found[0] != net.read_bytes()


def test_other_batches_give_another_mask(net: Path, samples: Path, tmp_path: Path) -> None:
    one = written(net, samples, tmp_path / "1.onnx")
    many = written(net, samples, tmp_path / "2.onnx", batches_per_step=3)
    assert one != many


class Stop(BaseException):
    """What Ctrl-C raises, and tells apart."""


def resumed(
    net: Path, samples: Path, folder: Path, stop: int | None = None, **more: Any
) -> tuple[bytes, list[str]]:
    """Prune with a checkpoint, stopped after a step; return the file and what was told."""
    told: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        step = what.removeprefix("measuring: ").partition(",")[0]
        if not step.startswith("step") or step in told:
            return
        told.append(step)
        if stop is not None and done == stop * SHARES:
            raise Stop

    recipe = make_recipe(
        {"sparsity": 0.6, "method": "force", "steps": 5, "precision": "float64", **more}
    )
    output = folder.with_suffix(".onnx")
    settings = Settings(output, force=True, verify=False, progress=progress, checkpoint=folder)
    try:
        run_recipe(net, recipe, settings, calibration=trial(samples))
    except Stop:
        assert not output.exists()
        return b"", told
    return output.read_bytes(), told


@pytest.mark.parametrize("method", ["force", "obd"])
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_what_was_interrupted_after_a_step_goes_on_to_the_same_bytes(
    stop: int, method: str, net: Path, samples: Path, tmp_path: Path
) -> None:
    wanted, _ = resumed(net, samples, tmp_path / "whole", method=method)
    before = sorted(file.name for file in tmp_path.iterdir())
    resumed(net, samples, tmp_path / "kept", stop, method=method)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*before, "kept"])
    assert [file.name for file in (tmp_path / "kept").iterdir()] == [NAME]
    found, told = resumed(net, samples, tmp_path / "kept", method=method)
    assert told == [f"step {step} of 5" for step in range(stop + 1, 6)]
    assert found == wanted


def test_steps_of_other_options_samples_or_models_are_refused(
    net: Path, samples: Path, tmp_path: Path
) -> None:
    resumed(net, samples, tmp_path / "kept", 2)
    content = (tmp_path / "kept" / NAME).read_bytes()

    def refused(model_file: Path, data: Path, **more: Any) -> None:
        with pytest.raises(InputError, match="the steps of another pruning"):
            resumed(model_file, data, tmp_path / "kept", **more)

    for more in ({"steps": 6}, {"sparsity": 0.7}, {"method": "snip"}, {"min_kept": 1}):
        refused(net, samples, **more)
    refused(net, samples, batches_per_step=2)
    other = tmp_path / "other.npz"
    np.savez(other, x=np.ones((12, 4), np.float32), labels=LABELS)
    refused(net, other)
    doubled = save(tmp_path / "doubled.onnx", _doubled(net))
    refused(doubled, samples)
    assert (tmp_path / "kept" / NAME).read_bytes() == content


def _doubled(net: Path) -> onnx.ModelProto:
    proto = onnx.load(net)
    first = proto.graph.initializer[0]
    values = numpy_helper.to_array(first) * 2
    first.CopyFrom(numpy_helper.from_array(values, first.name))
    return proto


def test_a_damaged_checkpoint_is_refused_in_one_line(
    net: Path, samples: Path, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / NAME).write_bytes(b"half a chec")
    ran = run(
        *(net, "-s", "0.5", "-m", "force", "-d", samples, "--steps", "3"),
        *("--checkpoint", tmp_path / "kept", "--device", "cpu"),
    )
    assert (ran.code, ran.out) == (3, "")
    assert f"{tmp_path / 'kept' / NAME}: no whole checkpoint of onnxprune" in ran.err
    assert ran.err.count("\n") <= 2
    assert (tmp_path / "kept" / NAME).read_bytes() == b"half a chec"


SLOW = '''
import time
from pathlib import Path
import numpy as np
from onnxprune import method

calls = []

@method("slow", steps=6)
def slow(weight, *, gradient):
    """Keep what changes the loss most, slowly behind the first step."""
    calls.append(weight.size)
    if len(calls) > 2 and not Path("hurry").exists():
        time.sleep(0.5)
    return np.abs(weight * gradient)
'''


@pytest.mark.slow
def test_an_interrupt_leaves_finished_steps_and_nothing_else(
    net: Path, samples: Path, tmp_path: Path, source: Source
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    words = [net, "-s", "0.5", "-m", "./slow.py", "-d", samples, "--batch", "4"]
    words += ["--checkpoint", "kept", "-o", "out.onnx", "--no-verify", "--device", "cpu"]
    before = set(os.listdir(tmp_path))

    def started() -> Forked:
        return Forked(
            source,
            [sys.executable, "-m", "onnxprune", *map(str, words)],
            cwd=tmp_path,
            env=environment(PYTHONDONTWRITEBYTECODE="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    child = started()
    deadline = time.monotonic() + 100
    while not (tmp_path / "kept" / NAME).exists():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (130, "", "onnxprune: interrupted\n")
    assert set(os.listdir(tmp_path)) - before == {"kept"}
    assert os.listdir(tmp_path / "kept") == [NAME]
    (tmp_path / "hurry").touch()
    again = started()
    _, err = again.communicate(timeout=100)
    assert (again.returncode, err) == (0, "")


def test_a_report_says_how_the_model_was_measured(net: Path, samples: Path) -> None:
    found = pruned(net, samples, "quadratic", steps=2, batches_per_step=2).calibration
    assert found is not None
    assert (found.statistics, found.steps) == (("gradient", "curvature"), 2)
    assert (found.schedule, found.precision) == ("exponential", "float64")
    assert (found.batch, found.samples, found.processes) == (5, 7, 1)
    assert found.dense_loss is not None
    assert found.last_loss is not None
    assert found.error is not None
    assert found.allowed is not None
    assert found.error <= found.allowed
    assert onnxprune.prune(net, 0.5, dry_run=True, verify=False).calibration is None


def test_flow_is_compared_on_random_numbers_where_there_are_no_samples(net: Path) -> None:
    found = onnxprune.prune(net, 0.5, "synflow", dry_run=True, verify=False).calibration
    assert found is not None
    assert found.error is not None
    assert (found.source, found.samples, found.loss) == (None, 0, None)


def test_the_first_loss_of_a_pruning_that_goes_on_is_not_known(
    net: Path, samples: Path, tmp_path: Path
) -> None:
    more = {"dry_run": False, "checkpoint": tmp_path / "kept", "force": True}
    whole = pruned(net, samples, **more)
    again = pruned(net, samples, **more)
    assert whole.calibration is not None
    assert again.calibration is not None
    assert whole.calibration.dense_loss is not None
    assert again.calibration.dense_loss is None


def test_loss_models_measure_a_thousand_samples_unless_told_otherwise(
    net: Path, samples: Path
) -> None:
    count = len(np.load(samples)["x"])
    for method, wanted in (("linear", count), ("snip", 5), ("grasp", count)):
        report = pruned(net, samples, method, steps=1, batches_per_step=None)
        assert report.calibration is not None
        assert report.calibration.samples == wanted, method
    assert registry.find("obd").samples == 1024


def test_progress_within_a_step_is_told(net: Path, samples: Path) -> None:
    told: list[tuple[str, int, int]] = []
    recipe = make_recipe({"sparsity": 0.5, "method": "force", "steps": 3})
    settings = Settings(dry_run=True, verify=False, progress=lambda *each: told.append(each))
    run_recipe(net, recipe, settings, None, False, trial(samples))
    measuring = [each for each in told if each[0].partition(":")[0] == "measuring"]
    done = [each[1] for each in measuring]
    assert done == sorted(done)
    assert measuring[-1][1:] == (3000, 3000)
    assert measuring[0][1] < 1001
    assert "step 2 of 3, " in " ".join(each[0] for each in measuring)


def test_a_model_that_takes_one_sample_at_a_time_is_measured_on_as_many(
    tmp_path: Path,
) -> None:
    nodes = [node("Gemm x w -> y")]
    path = save(tmp_path / "one.onnx", model(nodes, {"x": (1, 4)}, "y", [weight("w", 4, 3)]))
    x = np.random.default_rng(1).standard_normal((100, 4)).astype(np.float32)
    arrays = {"x": x, "labels": np.arange(100) % 3}
    for given, wanted in (({}, 64), ({"batch": 10}, 10)):
        data = onnxprune.trial(arrays, device="cpu", **given)
        found = onnxprune.prune(path, 0.5, "snip", data=data, dry_run=True).calibration
        assert found is not None
        assert (found.samples, found.batch) == (wanted, 1)


def test_what_does_not_change_the_loss_says_what_stands_for_answers(
    net: Path, tmp_path: Path, run: Run
) -> None:
    np.savez(tmp_path / "bare.npz", x=np.ones((4, 4), np.float32))
    words = ["-s", "0.5", "-m", "snip", "--loss", "mse", "-d", tmp_path / "bare.npz"]
    ran = run(net, *words, "--device", "cpu")
    assert (ran.code, ran.out) == (7, "")
    assert "step 1: all scores are 0 before any weight has fallen; no labels: " in ran.err

"""The benchmark's own parts on models of a few MB: makers, measures, baselines, tables."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rich.console import Console

from tests.benchmarks import measure, models, peers, run, tables
from tests.benchmarks.suites import Goal, Outcome

MIB = 1 / 1024


def python(code: str, *arguments: str) -> tuple[str, ...]:
    """Spell a command that runs some Python."""
    return (sys.executable, "-c", code, *arguments)


def test_the_inline_model_is_what_onnx_itself_would_write(tmp_path: Path) -> None:
    path = models.inline(tmp_path / "m.onnx", 64, 3)
    onnx.checker.check_model(str(path), full_check=True)
    assert onnx.load(path).SerializeToString() == path.read_bytes()


def test_the_inline_model_has_different_gaussian_weights_from_the_seed(tmp_path: Path) -> None:
    path = models.inline(tmp_path / "m.onnx", 64, 3)
    first, second, _ = (
        numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer
    )
    assert first.shape == (64, 64)
    assert not np.array_equal(first, second)
    assert 0.01 < first.std() < 0.03
    again = models.inline(tmp_path / "again.onnx", 64, 3)
    assert again.read_bytes() == path.read_bytes()


def test_the_external_model_passes_the_checker_and_fills_its_file(tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx", 4 * MIB, 4)
    onnx.checker.check_model(str(path), full_check=True)
    assert path.with_suffix(".data").stat().st_size == 4 << 20
    assert {child.name for child in tmp_path.iterdir()} == {"m.onnx", "m.data"}


def test_the_external_model_holds_one_weight_after_the_other(tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx", 4 * MIB, 4)
    last = numpy_helper.to_array(onnx.load(path).graph.initializer[3])
    data = np.fromfile(path.with_suffix(".data"), dtype=np.float32)
    assert np.array_equal(data[-last.size :], last.ravel())


def test_a_model_that_exists_is_used_again(tmp_path: Path) -> None:
    path = models.external(tmp_path / "m.onnx", 4 * MIB, 4)
    before = path.stat().st_mtime_ns
    assert models.external(path, 4 * MIB, 4).stat().st_mtime_ns == before


def test_a_size_that_gives_no_square_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not 3 square fp32 weights"):
        models.external(tmp_path / "m.onnx", 4 * MIB, 3)


def test_blocks_continue_the_stream_of_values() -> None:
    whole = np.random.default_rng([5, 0])
    whole.uniform()
    expected = whole.standard_normal(models.BLOCK + 10, dtype=np.float32)
    sizes = [block.size for block in models.gaussians(5, 0, models.BLOCK + 10)]
    got = np.concatenate(list(models.gaussians(5, 0, models.BLOCK + 10)))
    assert sizes == [models.BLOCK, 10]
    assert np.allclose(got / got[0], expected / expected[0], rtol=1e-5)


def test_a_child_that_allocates_100_mb_is_reported_so() -> None:
    usage = measure.run(python("x = bytearray(100_000_000)"))
    assert 100_000_000 <= usage.peak < 200_000_000
    assert usage.wall > 0
    assert usage.cpu > 0


def test_our_own_memory_does_not_count_as_the_childs() -> None:
    ballast = np.ones(25_000_000, dtype=np.float32)
    assert measure.run(python("pass")).peak < 50_000_000
    assert ballast.nbytes == 100_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="memory by process needs /proc")
def test_a_sampled_run_tells_the_command_from_its_child() -> None:
    code = (
        "import subprocess, sys;"
        "subprocess.run([sys.executable, '-c',"
        " 'import time; x = bytearray(100_000_000); time.sleep(0.3)'])"
    )
    usage = measure.run(python(code), sample=True)
    assert 0 < usage.own < 50_000_000
    assert usage.child >= 100_000_000
    assert usage.peak >= 100_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the machine's load needs /proc")
def test_what_others_use_meanwhile_is_told_apart() -> None:
    busy = "import time; end = time.time() + 30\nwhile time.time() < end: 0"
    with subprocess.Popen(python(busy)) as other:
        usage = measure.run(python("import time; time.sleep(1)"))
        other.kill()
    assert usage.other >= 0.2
    assert usage.cpu < 0.5


def test_cpu_time_of_grandchildren_counts() -> None:
    busy = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: 0"
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    assert measure.run(python(code, busy)).cpu >= 0.3


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("no-such-command-anywhere",), "No such file"),
        (python("import sys; sys.exit('the disk is full')"), "exit 1: the disk is full"),
        (python("import os; os.abort()"), "exit -6: no message"),
    ],
)
def test_a_command_that_fails_says_how(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(measure.CommandError, match=message):
        measure.run(argv)


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(measure.CommandError, match=r"not done after 0\.5 s"):
        measure.run(python("import time; time.sleep(60)"), timeout=0.5)


def test_commands_take_turns_and_a_failed_one_is_not_run_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    note = (
        "import sys; open(sys.argv[1], 'a').write(sys.argv[2]); sys.exit(sys.argv[2] == 'c')"
    )
    commands = [measure.Command(name, python(note, str(log), name)) for name in "abc"]
    commands.append(measure.Command("d", ("unused",), unavailable="not there"))
    results = measure.interleave(commands, 3)
    seen = log.read_text()
    assert sorted(seen) == list("aaabbbc")
    assert [len(result.runs) for result in results.values()] == [3, 3, 0, 0]
    assert results["c"].failure == "exit 1: no message"
    assert results["d"].failure == "not there"


def test_medians_and_ratios_are_taken_over_the_rounds() -> None:
    def result(*walls: float) -> measure.Result:
        runs = [measure.Usage(wall, 1.0, 10) for wall in walls]
        return measure.Result(measure.Command("", ()), runs)

    assert result(1.0, 9.0, 2.0).median("wall") == 2.0
    assert result(2.0, 30.0, 4.0).ratio(result(1.0, 10.0, 4.0)) == 2.0


def test_the_output_is_checked_once_and_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    seen: list[str] = []

    def zeros() -> float:
        seen.append((folder / "o").read_text())
        return 0.5

    code = "import sys; open(sys.argv[1], 'w').write('done')"
    command = measure.Command("w", python(code, str(folder / "o")), None, folder, zeros)
    results = measure.interleave([command], 2)
    assert results["w"].zeros == 0.5
    assert seen == ["done"]
    assert not folder.exists()


def test_the_bare_loop_zeroes_what_is_below_the_constant(tmp_path: Path) -> None:
    data = models.external(tmp_path / "m.onnx", 4 * MIB, 4).with_suffix(".data")
    constant, target = models.threshold(data, 0.9), tmp_path / "out.data"
    measure.run((*peers.baseline("bare"), str(data), str(target), repr(constant), "--fsync"))
    before, after = (np.fromfile(path, dtype=np.float32) for path in (data, target))
    assert np.array_equal(after, np.where(np.abs(before) < constant, 0, before))
    assert models.zeros_in_data(target) == pytest.approx(0.9, abs=0.001)


@pytest.mark.parametrize("method", ["global", "lamp"])
def test_the_torch_baseline_prunes_the_share_it_was_asked(tmp_path: Path, method: str) -> None:
    source, target = models.inline(tmp_path / "m.onnx", 64, 3), tmp_path / "out.onnx"
    argv = (*peers.baseline("torch"), "--method", method, str(source), str(target))
    measure.run(argv)
    onnx.checker.check_model(str(target), full_check=True)
    assert models.zeros_in_model(target) == pytest.approx(0.9, abs=1e-4)


def test_a_goal_knows_whether_it_is_met() -> None:
    assert Goal("peak", 150.0, 200.0, "MB").met
    assert not Goal("peak", 250.0, 200.0, "MB").met
    assert Goal("speed", 9.0, 8.0, "x", at_least=True).met
    assert Goal("speed", None, 8.0).met is None
    line = tables.goal_line(Goal("speed", 7.0, 8.0, "x", at_least=True)).plain
    assert line == "speed: 7 x, goal >= 8 x: missed"


def test_a_peer_that_does_not_install_says_why_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho one >&2; echo 'ERROR: no network' >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(peers, "BENCH", tmp_path)
    monkeypatch.setattr(sys, "executable", str(python))
    argv, reason = peers.onnxsim()
    assert reason == "onnxsim==0.8.1 does not install: ERROR: no network"
    command = measure.Command("onnxsim global", argv, unavailable=reason)
    results = measure.interleave([command], 1)
    assert results["onnxsim global"].failure == reason
    assert not run.broken(Outcome("peer", "Peer", results, (), {}))


def outcome() -> Outcome:
    """Make a comparison of one command that ran and one that did not."""
    usage = measure.Usage(2.0, 1.0, 90_000_000)
    good = measure.Result(measure.Command("cp [x]", (), rival="cp [x]"), [usage])
    bad = measure.Result(measure.Command("mv", ()), failure="exit 1: [no] room")
    return Outcome("copy", "Copies", {"cp [x]": good, "mv": bad}, (), {})


def test_a_table_shows_its_figures_and_the_reason_of_a_failure() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(tables.table(outcome()))
    text = console.export_text()
    for piece in ("cp [x]", "2.000", "90", "1.00", "mv", "failed"):
        assert piece in text
    (reason,) = tables.failure_lines(outcome())
    assert reason.plain == "mv: not measured: exit 1: [no] room"


def test_stored_figures_are_json_and_a_failure_breaks_the_run() -> None:
    stored = json.loads(json.dumps(tables.as_json(outcome())))
    assert stored["rows"][0]["median"] == {
        "wall": 2.0,
        "cpu": 1.0,
        "other": 0.0,
        "peak": 90_000_000,
    }
    assert stored["rows"][1]["failure"] == "exit 1: [no] room"
    assert run.broken(outcome())

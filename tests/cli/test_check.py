"""The check command: its report in all forms, and every wrong input in one line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import onnxprune
from tests import models
from tests.cli.test_errors import files
from tests.conftest import Ran
from tests.trials.made import Arrays, dividing, staircase, steps, stored

Run = Callable[..., Ran]
CPU = ["--device", "cpu", "--no-latency"]
PAIR = ["check", "m.onnx", "p.onnx"]
SET = ["-d", "set.npz", *CPU]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, its pruned form, and sets of samples."""
    monkeypatch.chdir(tmp_path)
    staircase(Path("m.onnx"))
    onnxprune.prune("m.onnx", 0.3, "magnitude", output="p.onnx", verify=False)
    arrays = steps()
    stored(Path("set.npz"), arrays)
    stored(Path("plain.npz"), {"x": arrays["x"]})
    stored(Path("named.npz"), {"images": arrays["x"], "labels": arrays["labels"]})
    stored(Path("wide.npz"), {"x": np.zeros((2, 11), np.float32)})
    stored(Path("double.npz"), {"x": np.zeros((2, 10))})
    stored(Path("empty.npz"), {"x": np.zeros((0, 10), np.float32)})
    stored(Path("short.npz"), arrays | {"labels": arrays["labels"][:9]})
    stored(Path("beyond.npz"), arrays | {"labels": arrays["labels"] + 2})
    stored(Path("broken.npz"), {"x": np.full((2, 10), np.nan, np.float32)})
    Path("cut.npz").write_bytes(Path("set.npz").read_bytes()[:200])
    Path("text.txt").write_text("no samples\n")
    Path("nothing").mkdir()
    dividing(Path("div.onnx"))
    dividing(Path("nan.onnx"), 0.0)
    stored(Path("eye.npz"), {"x": arrays["x"]})
    nope = models.model([models.node("Nope x -> y")], {"x": ["n", 10]}, "y")
    models.save(Path("nope.onnx"), nope)
    other = models.model([models.node("Identity x -> z")], {"x": ["n", 10]}, "z")
    models.save(Path("other.onnx"), other)
    Path("metrics.py").write_text(
        "def fails(outputs, samples):\n    raise ValueError('no\\nidea')\n"
        "def words(outputs, samples):\n    return 'good'\n"
    )
    return tmp_path


def test_the_report_says_what_pruning_cost(run: Run, place: Path) -> None:
    ran = run(*PAIR, *SET)
    assert (ran.code, ran.err) == (0, "")
    assert "100.00 %" in ran.out
    assert "70.00 %" in ran.out
    assert "CPUExecutionProvider" in ran.out
    assert not [line for line in ran.out.splitlines() if line.startswith("latency")]


def test_the_json_has_the_figures(run: Run, place: Path) -> None:
    ran = run(*PAIR, *SET, "--json")
    found = json.loads(ran.out)
    (output,) = found["check"]["outputs"]
    assert (output["top1"]["dense"], output["top1"]["pruned"], output["top1"]["total"]) == (
        10,
        7,
        10,
    )
    assert (ran.code, ran.err) == (0, "")


def test_quiet_prints_nothing_but_files_are_written(run: Run, place: Path) -> None:
    words = ["--report", "r.md", "--report", "r.json", "--report", "r.xml"]
    assert run(*PAIR, *SET, "-q", *words) == (0, "", "")
    assert json.loads(Path("r.json").read_text())
    assert "70.00 %" in Path("r.md").read_text()
    assert Path("r.xml").read_text().startswith("<?xml")


def test_with_latency_both_are_timed(run: Run, place: Path) -> None:
    ran = run(*PAIR, "-d", "set.npz", "--device", "cpu")
    assert re.search(r"latency +[\d.]+ \S+ -> ", ran.out)


def test_random_samples_are_said_to_be_random(run: Run, place: Path) -> None:
    ran = run(*PAIR, "-d", "random", *CPU)
    assert ran.code == 0
    assert "random" in ran.out


def test_auto_says_what_it_ran_on(run: Run, place: Path) -> None:
    ran = run(*PAIR, "-d", "set.npz", "--no-latency", "--device", "auto")
    assert ran.code == 0
    assert "ExecutionProvider" in ran.out


CASES: dict[str, tuple[list[str], int, str]] = {
    "no data": ([*PAIR], 2, "error: nothing to run the model on; --data SET names samples"),
    "data missing": ([*PAIR, "-d", "none.npz"], 3, "error: none.npz: no such file or folder"),
    "data a text": ([*PAIR, "-d", "text.txt"], 3, "error: text.txt: "),
    "data a folder of nothing": ([*PAIR, "-d", "nothing"], 3, "error: nothing: "),
    "data cut short": ([*PAIR, "-d", "cut.npz"], 3, "error: cut.npz: "),
    "data of no module": ([*PAIR, "-d", "nomodule:f"], 2, "nomodule"),
    "unknown array": (
        [*PAIR, *SET, "--input", "picture=x"],
        2,
        "--input picture=x: the set has no array 'picture'",
    ),
    "unknown input": (
        [*PAIR, *SET, "--input", "x=image"],
        2,
        "--input x=image: the model has no input 'image'; its inputs are x",
    ),
    "input misspelt": ([*PAIR, *SET, "--input", "x"], 2, "--input ARRAY=INPUT, not 'x'"),
    "missing input": (
        [*PAIR, "-d", "named.npz"],
        3,
        "no array for the model's input 'x'; the set has 'images', 'labels';"
        " --input images=x names one",
    ),
    "wrong shape": ([*PAIR, "-d", "wide.npz"], 3, "samples of shape 11 do not fit"),
    "wrong type": ([*PAIR, "-d", "double.npz"], 3, "'x' is float64, .* takes float32; --cast"),
    "too few labels": ([*PAIR, "-d", "short.npz"], 3, "10 .*9 .*'labels'"),
    "labels beyond": ([*PAIR, "-d", "beyond.npz"], 3, "labels from 2 to 2 fit no output"),
    "no such labels": ([*PAIR, *SET, "--labels", "kind"], 2, "--labels .*kind"),
    "empty set": ([*PAIR, "-d", "empty.npz"], 3, "the set has no samples"),
    "dense model NaN": (
        ["check", "nan.onnx", "div.onnx", "-d", "eye.npz"],
        3,
        "error: the dense model's output 'r' is NaN at sample 0",
    ),
    "pruned model NaN": (
        ["check", "div.onnx", "nan.onnx", "-d", "eye.npz"],
        3,
        "error: the pruned model's output 'r' is NaN at sample 0",
    ),
    "data NaN": ([*PAIR, "-d", "broken.npz"], 3, "the dense model's output 'y' is NaN"),
    "refused model": (
        ["check", "nope.onnx", "p.onnx", "-d", "set.npz"],
        3,
        "error: nope.onnx: ONNX Runtime refuses the model: .*Nope",
    ),
    "refused pruned model": (
        ["check", "m.onnx", "nope.onnx", "-d", "set.npz"],
        3,
        "error: nope.onnx: ONNX Runtime refuses the model: .*Nope",
    ),
    "other model": (
        ["check", "m.onnx", "other.onnx", "-d", "set.npz"],
        3,
        "the models have different outputs: y and z",
    ),
    "no such model": (["check", "m.onnx", "none.onnx", "-d", "set.npz"], 3, "none.onnx: no"),
    "one model": (["check", "m.onnx", "-d", "set.npz"], 2, "missing argument 'PRUNED'"),
    "unknown device": (
        [*PAIR, "-d", "set.npz", "--device", "gpu"],
        2,
        "--device is one of auto, cpu, cuda, not 'gpu'",
    ),
    "unknown task": ([*PAIR, *SET, "--task", "boxes"], 2, "--task is one of auto, classes"),
    "no batch": ([*PAIR, *SET, "--batch", "0"], 2, "--batch is at least 1, got 0"),
    "no time": ([*PAIR, *SET, "--timeout", "0"], 2, "--timeout is more than 0 seconds"),
    "too little time": ([*PAIR, *SET, "--timeout", "0.001"], 5, "gave no answer; --timeout"),
    "metric of no file": ([*PAIR, *SET, "--metric", "none.py:f"], 2, "none.py"),
    "metric that raises": (
        [*PAIR, *SET, "--metric", "metrics.py:fails"],
        2,
        "metric metrics.py:fails failed: ValueError: no idea",
    ),
    "metric of words": (
        [*PAIR, *SET, "--metric", "metrics.py:words"],
        2,
        "metric metrics.py:words returned a str; it must return one finite number",
    ),
    "gate without labels": (
        [*PAIR, "-d", "plain.npz", "--max-drop", "0.1"],
        2,
        "--max-drop needs labels or --metric; the set has neither",
    ),
    "accuracy without labels": (
        [*PAIR, "-d", "plain.npz", "--min-accuracy", "0.1"],
        2,
        "--min-accuracy needs labels or --metric; the set has neither",
    ),
    "gate in points": (
        [*PAIR, *SET, "--max-drop", "2"],
        2,
        "--max-drop takes a share from 0 to 1, not 2; did you mean 0.02?",
    ),
    "report suffix": ([*PAIR, *SET, "--report", "r.csv"], 2, "the suffix tells the form"),
    "report on an input": (
        ["check", "m.onnx", "link.json", *SET, "--report", "link.json"],
        2,
        "--report link.json is a file of this command; name another",
    ),
    "report in no folder": ([*PAIR, *SET, "--report", "no/r.md"], 8, "there is no folder"),
    "cache a file": ([*PAIR, *SET, "--cache", "set.npz"], 8, "cannot make the folder set.npz"),
    "no samples": ([*PAIR, *SET, "--samples", "0"], 2, "--samples is at least 1, got 0"),
    "std of zero": ([*PAIR, *SET, "--std", "0"], 2, "--std must not be 0"),
}


def check_one_line(ran: Ran, code: int, message: str) -> None:
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert ran.err.startswith("onnxprune: error: ")
    assert ran.err.count("\n") == 1
    assert not ran.err.endswith(".\n")
    pattern = ".*".join(re.escape(part) for part in message.split(".*"))
    pattern = pattern.replace(re.escape("gave no answer; "), "gave no answer in 0.001 s.*; ")
    assert re.search(pattern, ran.err), ran.err


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_has_its_exit_code_and_one_line(
    name: str, run: Run, place: Path
) -> None:
    words, code, message = CASES[name]
    Path("link.json").symlink_to("p.onnx")
    before = files(place)
    check_one_line(run(*words), code, message)
    after = {file: data for file, data in files(place).items() if "__pycache__" not in file}
    assert after == before


def test_cuda_without_a_gpu_is_refused_not_replaced(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here")
    ran = run(*PAIR, "-d", "set.npz", "--device", "cuda")
    message = "m.onnx: --device cuda: ONNX Runtime has no working GPU here, only the processor"
    check_one_line(ran, 6, message)


def test_a_batch_of_a_models_own_may_be_overruled(run: Run, place: Path) -> None:
    ran = run(*PAIR, *SET, "--batch", "3", "--samples", "7", "--json")
    data = json.loads(ran.out)["check"]["data"]
    assert (data["batch"], data["samples"]) == (3, 7)


def test_a_set_is_cast_renamed_and_labelled_as_asked(run: Run, place: Path) -> None:
    arrays: Arrays = {"pictures": steps()["x"].astype("f8"), "kinds": np.zeros(10, np.int8)}
    stored(Path("odd.npz"), arrays)
    words = ["--input", "pictures=x", "--labels", "kinds", "--cast", "--json"]
    ran = run(*PAIR, "-d", "odd.npz", *CPU, *words)
    assert ran.code == 0, ran.err
    (output,) = json.loads(ran.out)["check"]["outputs"]
    assert output["top1"]["pruned"] == 7


def test_a_cache_is_filled_and_used(run: Run, place: Path) -> None:
    first = run(*PAIR, *SET, "--cache", "kept", "--json")
    (file,) = Path("kept").iterdir()
    second = run(*PAIR, *SET, "--cache", "kept", "--json")
    assert list(Path("kept").iterdir()) == [file]
    one, other = json.loads(first.out), json.loads(second.out)
    assert one | {"seconds": 0} == other | {"seconds": 0}
    file.write_bytes(file.read_bytes()[:-30])
    assert run(*PAIR, *SET, "--cache", "kept", "-q") == (0, "", "")
    changed = bytearray(file.read_bytes())
    changed[40] ^= 1
    file.write_bytes(changed)
    check_one_line(run(*PAIR, *SET, "--cache", "kept"), 3, "the kept outputs are damaged")


def test_samples_of_a_function_cannot_be_cached(run: Run, place: Path) -> None:
    Path("made.py").write_text(
        "import numpy as np\n"
        "def parts():\n    yield {'x': np.eye(10, dtype='f4'), 'labels': np.zeros(10, int)}\n"
    )
    words = [*PAIR, "-d", "made.py:parts", *CPU]
    assert run(*words, "-q") == (0, "", "")
    check_one_line(run(*words, "--cache", "kept"), 2, "--cache goes with files")

"""Every wrong input ends with its exit code and one line, and leaves no file behind."""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import onnxprune.cli.commands
from tests.conftest import Ran

Run = Callable[..., Ran]
FULL = ["-s", "0.5", "--no-verify"]

CASES = {
    "no sparsity": (["MODEL"], 2, "how much should go? try --sparsity 0.5"),
    "sparsity 90": (["MODEL", "-s", "90"], 2, "got 90; did you mean 0.9?"),
    "sparsity 1": (["MODEL", "-s", "1"], 2, "--sparsity must be below 1"),
    "sparsity 1.0": (["MODEL", "-s", "1.0"], 2, "--sparsity must be below 1"),
    "sparsity 100%": (["MODEL", "-s", "100%"], 2, "--sparsity must be below 1"),
    "sparsity a word": (["MODEL", "-s", "half"], 2, "not 'half'"),
    "sparsity nan": (["MODEL", "-s", "nan"], 2, "--sparsity lies in [0, 1), got nan"),
    "sparsity negative": (["MODEL", "--sparsity=-0.5"], 2, "lies in [0, 1), got -0.5"),
    "misspelt method": (
        ["MODEL", *FULL, "-m", "lmap"],
        2,
        "unknown method 'lmap'; choose one of .*erk.*lamp.*uniform.*; did you mean lamp?",
    ),
    "misspelt allocation": (
        ["MODEL", *FULL, "-m", "random", "--allocation", "unifrm"],
        2,
        "unknown allocation 'unifrm'; choose one of .*; did you mean uniform?",
    ),
    "two allocations": (["MODEL", *FULL, "-m", "erk", "--allocation", "er"], 2, "another"),
    "unknown option": (
        ["MODEL", *FULL, "--sparsty", "3"],
        2,
        "no such option: --sparsty .*--sparsity",
    ),
    "option without value": (["MODEL", "-s"], 2, "option '-s' requires an argument"),
    "no whole number": (["MODEL", *FULL, "--min-kept", "x"], 2, "'--min-kept'"),
    "no time": (["inspect", "MODEL", "--timeout", "0"], 2, "--timeout is more than 0 seconds"),
    "memory of a strange size": (
        ["MODEL", *FULL, "--memory-limit", "much"],
        2,
        "--memory-limit is a size such as 16G, not 'much'",
    ),
    "hardly any memory": (
        ["MODEL", *FULL, "--memory-limit", "1M"],
        2,
        "--memory-limit is at least 256 MiB, got 1M; .*16G",
    ),
    "less than the file": (
        ["mask", "export", "MODEL", "-o", "o.npz", "--max-amplification", "0.5"],
        2,
        "--max-amplification is a number of at least 1, got 0.5",
    ),
    "a name that is not UTF-8": (
        ["caf\udce9.onnx", *FULL],
        6,
        "its name is not UTF-8, and no library could open it; rename it",
    ),
    "negative seed": (["MODEL", *FULL, "--seed=-1"], 2, "--seed must not be negative"),
    "set without =": (["MODEL", *FULL, "--set", "x"], 2, "--set takes NAME=VALUE, not 'x'"),
    "set of nothing": (["MODEL", *FULL, "--set", "=3"], 2, "--set takes NAME=VALUE, not '=3'"),
    "set unknown": (["MODEL", *FULL, "--set", "x=3"], 2, "unknown option 'x'"),
    "set of a wrong type": (
        ["MODEL", *FULL, "-m", "erk", "--set", "power=two"],
        2,
        "--set power is a number, not 'two'",
    ),
    "set wrong mode": (
        ["MODEL", *FULL, "-m", "mt", "--set", "mode=x"],
        2,
        "protect or rescale",
    ),
    "layer without =": (["MODEL", *FULL, "--layer", "fc1"], 2, "--layer takes GLOB=SPARSITY"),
    "layer wrong": (["MODEL", *FULL, "--layer", "fc*=9"], 2, "--layer fc.*did you mean 0.09?"),
    "cap wrong": (["MODEL", *FULL, "--max-layer-sparsity", "80"], 2, "did you mean 0.8?"),
    "include nothing": (
        ["MODEL", *FULL, "--include", "nope"],
        2,
        "matches no prunable tensor",
    ),
    "layer nothing": (
        ["MODEL", *FULL, "--layer", "nope=0.5"],
        2,
        "matches no prunable tensor",
    ),
    "no recipe": (["MODEL", *FULL, "--recipe", "none.toml"], 2, "none.toml: no such file"),
    "no method file": (["MODEL", *FULL, "-m", "./none.py"], 2, "no such file: none.py"),
    "report suffix": (["MODEL", *FULL, "--report", "r.csv"], 2, "suffix tells the form"),
    "report folder": (["MODEL", *FULL, "--report", "no/r.md"], 8, "there is no folder"),
    "ratios from nothing": (["MODEL", "--allocation", "from:"], 2, "names the file"),
    "ratios without file": (["MODEL", *FULL, "-m", "from"], 2, "--allocation from:FILE names"),
    "ratios missing": (
        ["MODEL", "--allocation", "from:none.npz"],
        3,
        "none.npz: no such file",
    ),
    "two models": (["MODEL", "MODEL", *FULL], 2, "unexpected extra argument"),
    "no model": (FULL, 2, "missing argument 'MODEL'"),
    "missing file": (["none.onnx", *FULL], 3, "error: none.onnx: no such file"),
    "a folder": (["empty", *FULL], 3, "error: empty: is a directory"),
    "a text": (["text.txt", *FULL], 3, "error: text.txt: not an ONNX file"),
    "no bytes": (["nothing.onnx", *FULL], 3, "error: nothing.onnx: "),
    "cut short": (["short.onnx", *FULL], 3, "error: short.onnx: "),
    "output a folder": (["MODEL", *FULL, "-o", "empty"], 8, "empty is a directory"),
    "output a folder, forced": (
        ["MODEL", *FULL, "-o", "empty", "--force"],
        8,
        "is a directory",
    ),
    "no folder": (["MODEL", *FULL, "-o", "no/x.onnx"], 8, "there is no folder .*no"),
    "output a device": (
        ["MODEL", *FULL, "-o", "/dev/full", "--force"],
        8,
        "not a regular file",
    ),
    "output exists": (
        ["MODEL", *FULL, "-o", "old.onnx"],
        2,
        "old.onnx exists; --force replaces",
    ),
    "output is input": (["MODEL", *FULL, "-o", "MODEL"], 2, "output is the input file"),
    "output is input, forced": (["MODEL", *FULL, "-o", "MODEL", "--force"], 2, "name another"),
    "output links to input": (
        ["MODEL", *FULL, "-o", "link.onnx", "--force"],
        2,
        "is the input",
    ),
    "cap out of reach": (
        ["MODEL", "-s", "0.9", "--no-verify", "--max-layer-sparsity", "0.5"],
        7,
        "at most 35,784 of 71,568 weights can go; the largest feasible sparsity is 0.5000",
    ),
    "layer over the target": (
        ["MODEL", "-s", "0.1", "--no-verify", "--layer", "fc1*=0.99"],
        7,
        "--layer alone makes 64,881 zeros, the target is 7,157",
    ),
    "nothing to prune": (
        ["MODEL", *FULL, "--exclude", "*"],
        7,
        "nothing to prune: .*--exclude",
    ),
    "too small": (["MODEL", *FULL, "--min-size", "99999"], 7, "fewer than 99,999 elements"),
    "inspect missing": (["inspect", "none.onnx"], 3, "none.onnx: no such file"),
    "inspect nothing": (["inspect"], 2, "missing argument 'MODEL'"),
    "export without output": (["mask", "export", "MODEL"], 2, "missing option '-o'"),
    "export onto the model": (
        ["mask", "export", "MODEL", "-o", "MODEL", "--force"],
        2,
        "the output is the input file",
    ),
    "compare missing": (["mask", "compare", "none.npz", "MODEL"], 3, "none.npz: no such file"),
    "apply missing": (["mask", "apply", "MODEL", "none.npz"], 3, "none.npz: no such file"),
    "apply a text": (["mask", "apply", "MODEL", "text.txt"], 3, "text.txt: not an ONNX file"),
}


@pytest.fixture
def place(tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    content = digits.read_bytes()
    Path("m.onnx").write_bytes(content)
    Path("short.onnx").write_bytes(content[:100_000])
    Path("link.onnx").symlink_to("m.onnx")
    Path("old.onnx").write_bytes(b"old")
    Path("nothing.onnx").touch()
    Path("text.txt").write_text("no model\n")
    Path("caf\udce9.onnx").write_bytes(Path("m.onnx").read_bytes())
    Path("empty").mkdir()
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_input_has_its_exit_code_and_one_line(
    name: str, run: Run, place: Path
) -> None:
    words, code, message = CASES[name]
    before = files(place)
    ran = run(*("m.onnx" if word == "MODEL" else word for word in words))
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert ran.err.startswith("onnxprune: error: ")
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    assert not ran.err.endswith(".\n")
    assert len(ran.err) < 400
    pattern = ".*".join(re.escape(part) for part in message.split(".*"))
    assert re.search(pattern, ran.err)
    assert files(place) == before


@pytest.mark.parametrize("target", ["m.onnx", "out.onnx", "link.onnx", "recipe.txt"])
def test_a_report_never_replaces_a_file_of_the_command(
    target: str, run: Run, place: Path
) -> None:
    os.rename("m.onnx", "m.txt")
    Path("link.onnx").unlink()
    Path("link.txt").symlink_to("m.txt")
    Path("recipe.txt").write_text("sparsity = 0.5\n")
    report = Path(target).with_suffix(".txt")
    before = files(place)
    words = ["m.txt", "-o", "out.txt", "--recipe", "recipe.txt", "--no-verify"]
    ran = run(*words, "--report", report)
    assert (ran.code, ran.out) == (2, "")
    assert f"--report {report} is a file of this command; name another" in ran.err
    assert files(place) == before


def test_a_bug_says_so_in_one_line_and_debug_shows_where(
    run: Run, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("odd")

    monkeypatch.setattr(onnxprune.cli.commands, "run_recipe", broken)
    assert run(digits, "-s", "0.5") == (
        1,
        "",
        "onnxprune: error: KeyError: 'odd'; this is a bug in onnxprune; --debug shows where\n",
    )
    shown = run(digits, "-s", "0.5", "--debug")
    assert shown.code == 1
    assert "Traceback" in shown.err
    assert "in broken" in shown.err
    assert shown.err.endswith("--debug shows where\n")


def test_an_error_of_ours_has_a_traceback_only_with_debug(run: Run) -> None:
    assert "Traceback" not in run("none.onnx", "-s", "0.5").err
    assert "Traceback" in run("--debug", "none.onnx", "-s", "0.5").err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError(), 5, "error: this needs more memory than there is"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 0, ""),
        (
            OSError(28, "No space left on device"),
            8,
            "error: cannot write the report: No space",
        ),
        (PermissionError(13, "Permission denied", "x"), 1, "this is a bug"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_ends_a_command_has_its_exit_code(
    error: BaseException,
    code: int,
    message: str,
    run: Run,
    digits: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ends(*_: object) -> None:
        raise error

    monkeypatch.setattr(onnxprune.cli.commands, "run_recipe", ends)
    ran = run(digits, "-s", "0.5")
    assert (ran.code, ran.out) == (code, "")
    assert message in ran.err
    assert ran.err.count("\n") == (1 if message else 0)


def test_limits_of_a_command_hold_for_it_alone(run: Run, place: Path) -> None:
    refused = run("inspect", "m.onnx", "--timeout", "0.001")
    assert refused.code == 5
    told = "onnx.checker took more than 0.001 s on this model; --timeout gives it more"
    assert told in refused.err
    assert run("inspect", "m.onnx", "-q") == (0, "", "")
    data = ["--data", "random:2", "--no-latency"]
    assert run("m.onnx", *FULL, *data, "--memory-limit", "4G", "--dry-run", "-q").code == 0


def test_what_fails_while_an_interrupt_is_handled_is_an_interrupt(
    run: Run, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("cannot join thread before it is started")

    monkeypatch.setattr(onnxprune.cli.commands, "run_recipe", fail)
    assert run(digits, *FULL) == (130, "", "onnxprune: interrupted\n")


def test_what_fails_once_an_interrupt_was_handled_is_an_error_of_its_own(
    run: Run, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            raise KeyboardInterrupt
        raise RuntimeError("something else")

    monkeypatch.setattr(onnxprune.cli.commands, "run_recipe", fail)
    assert run(digits, *FULL).code == 1

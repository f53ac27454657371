"""Which command the words of a command line mean, and what the help says."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from onnxprune.cli.commands import command
from onnxprune.cli.words import COMMANDS, arrange, help_text
from onnxprune.types import Recipe
from onnxprune.version import __version__
from tests.conftest import Ran

Run = Callable[..., Ran]


def leaves() -> dict[str, object]:
    """List all commands with the words that call them."""
    found = {}
    for name, made in command.commands.items():
        inner = getattr(made, "commands", None)
        if inner is None:
            found[name] = made
        else:
            found |= {f"{name} {below}": one for below, one in inner.items()}
    return found


LEAVES = leaves()


def seconds_aside(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "seconds" not in line)


def test_a_model_as_first_word_means_prune(run: Run, digits: Path) -> None:
    short = run(digits, "-s", "0.9", "--dry-run", "--json", "--no-verify")
    long = run("prune", digits, "-s", "0.9", "--dry-run", "--json", "--no-verify")
    assert short.code == long.code == 0
    assert seconds_aside(short.out) == seconds_aside(long.out)
    assert '"zeros": 61154' in short.out


@pytest.mark.parametrize(
    "words",
    [
        ["-s", "0.9", "--dry-run", "--no-verify", "MODEL"],
        ["--dry-run", "MODEL", "--no-verify", "--sparsity=0.9"],
        ["-q", "--no-verify", "--dry-run", "--method", "lamp", "-s", "0.9", "MODEL"],
        ["--no-verify", "--dry-run", "-s", "0.9", "prune", "MODEL"],
        ["--no-verify", "--dry-run", "-s", "0.9", "--", "MODEL"],
    ],
    ids=" ".join,
)
def test_options_may_come_before_the_model(words: list[str], run: Run, digits: Path) -> None:
    ran = run(*(str(digits) if word == "MODEL" else word for word in words))
    assert ran.code == 0, ran.err
    assert ("64,411" in ran.out) == ("-q" not in words)


def test_options_may_come_before_a_command(run: Run, digits: Path) -> None:
    before = run("--json", "--no-verify", "inspect", digits)
    after = run("inspect", "--json", "--no-verify", digits)
    assert before.code == after.code == 0
    assert seconds_aside(before.out) == seconds_aside(after.out)
    assert '"recipe": null' in before.out


def test_a_word_that_is_an_option_s_value_is_no_command() -> None:
    assert arrange(["-m", "inspect", "m.onnx"], command) == [
        "prune",
        "-m",
        "inspect",
        "m.onnx",
    ]
    assert arrange(["--seed", "1", "inspect", "m.onnx"], command)[0] == "inspect"


def test_a_path_to_a_file_named_like_a_command_is_a_file(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("inspect").write_bytes(digits.read_bytes())
    ran = run("./inspect", "-s", "0.5", "--no-verify", "-q")
    assert ran == (0, "", "")
    assert Path("inspect.pruned.onnx").exists()
    assert run("-s", "0.5", "--no-verify", "-q", "--dry-run", "--", "inspect").code == 0
    assert run("inspect").err.endswith("missing argument 'MODEL'; --help lists the options\n")


def test_no_arguments_print_the_help_and_end_well(run: Run) -> None:
    assert run() == (0, help_text(), "")
    assert run("--help") == run("-h") == run("help") == (0, help_text(), "")


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version") == (0, f"onnxprune {__version__}\n", "")


def test_the_short_help_names_every_command_and_fits_a_terminal() -> None:
    assert COMMANDS.keys() == command.commands.keys()
    lines = help_text().splitlines()
    assert all(len(line) <= 85 for line in lines)
    for name in COMMANDS:
        assert any(line.startswith(f"  {name} ") for line in lines)


def test_the_short_help_promises_no_option_that_is_not_there() -> None:
    known = {spelling for option in LEAVES["prune"].params for spelling in option.opts}
    words = re.sub(r"[,;`]", " ", help_text()).split()
    named = {word for word in words if word.startswith("-")} - {"--help"}
    assert len(named) > 8
    assert named <= known


@pytest.mark.parametrize("name", LEAVES)
def test_the_help_of_a_command_names_each_of_its_options(name: str, run: Run) -> None:
    ran = run(*name.split(), "--help")
    assert (ran.code, ran.err) == (0, "")
    assert run(*name.split(), "-h") == ran
    words = ran.out.replace(",", " ").split()
    for option in LEAVES[name].params:
        if option.param_type_name == "option":
            assert set(option.opts) <= set(words), option.opts
            assert option.help, f"{option.opts} has no help"
    assert "--debug" in words
    assert all(len(line) <= 80 for line in ran.out.splitlines())


def test_the_options_of_prune_come_in_groups(run: Run) -> None:
    titles = [
        line
        for line in run("prune", "--help").out.splitlines()
        if line.endswith(":") and not line.startswith(" ")
    ]
    groups = ["What to prune:", "Method:", "Files:", "Samples:", "Measuring:"]
    groups += ["Recovery:", "Running:", "Limits:", "Gate:", "Reports:", "Other:"]
    assert titles == ["Arguments:", *groups]


def test_mask_alone_prints_its_help(run: Run) -> None:
    assert run("mask") == run("mask", "--help")
    ran = run("mask")
    assert ran.code == 0
    assert all(f"  {name} " in ran.out for name in ("export", "apply", "compare"))


def test_a_misspelt_command_is_corrected(run: Run, digits: Path) -> None:
    assert run("inspct", digits) == (
        2,
        "",
        "onnxprune: error: 'inspct' is neither a command nor a file;"
        " did you mean onnxprune inspect?\n",
    )
    ran = run("mask", "exprt", digits)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "onnxprune: error: no such command 'exprt'; did you mean 'export'?\n"


def test_a_model_without_sparsity_says_what_to_try(run: Run) -> None:
    assert run("model.onnx") == (
        2,
        "",
        "onnxprune: error: how much should go? try --sparsity 0.5;"
        " onnxprune inspect model.onnx shows what is there\n",
    )


def test_the_options_are_the_fields_of_a_recipe() -> None:
    names = {option.name for option in LEAVES["prune"].params}
    assert {field.name for field in fields(Recipe)} <= names

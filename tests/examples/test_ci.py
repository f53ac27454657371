"""The pipelines in `examples/ci`: their shell steps run, with the command in place of docker."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from tests.cli.started import CODE, environment
from tests.conftest import ROOT

FOLDER = ROOT / "examples" / "ci"
GITHUB, GITLAB = "github-actions.yml", ".gitlab-ci.yml"
PIPELINES = (GITHUB, GITLAB)
REPORTS = ("report.md", "report.junit.xml", "report.json")
BLOCK = re.compile(r"^(?P<indent> *)(?:run:|-) \|\n(?P<body>(?:(?P=indent) .*\n|\n)+)", re.M)

# Stands in for docker: drops docker's own words and the image, and runs what is left.
DOCKER = """#!/bin/sh
while [ "$1" != onnxprune ]; do shift; done
exec "$@"
"""
ONNXPRUNE = f"""#!/bin/sh
exec {shlex.quote(sys.executable)} -c '{CODE}' "$@"
"""


class Ended(NamedTuple):
    """What a pipeline's shell steps left: their last exit code and what they printed."""

    code: int
    out: str


def text_of(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def shell_steps(name: str) -> list[str]:
    """Return the blocks of shell that a pipeline runs."""
    return [textwrap.dedent(found["body"]) for found in BLOCK.finditer(text_of(name))]


def indent_of(block: str) -> int:
    return len(block) - len(block.lstrip(" "))


def words_of(name: str) -> tuple[list[str], list[str]]:
    """Return what stands before `onnxprune` in the line that runs it, and its arguments."""
    joined = "\n".join(shell_steps(name)).replace("\\\n", " ")
    (line,) = [line for line in joined.splitlines() if "--sparsity" in line]
    words = shlex.split(line.split("||")[0])
    place = words.index("onnxprune")
    return words[:place], words[place + 1 :]


@pytest.fixture
def checkout(tmp_path: Path, digits: Path) -> Path:
    """A repository with the model and the samples under the names the pipelines use."""
    shutil.copy(digits, tmp_path / "model.onnx")
    shutil.copy(ROOT / "calibration" / "digits_test.npz", tmp_path / "test.npz")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, script in (("docker", DOCKER), ("onnxprune", ONNXPRUNE)):
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    return tmp_path


def run_steps(name: str, checkout: Path, limit: str = "0.01") -> Ended:
    """Run a pipeline's steps, those after a failed one as well, with another limit."""
    code, out = 0, ""
    variables = {
        "PATH": f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(checkout / "summary.md"),
    }
    for step in shell_steps(name):
        if "docker build" in step:
            continue
        done = subprocess.run(
            ["bash", "-e", "-c", step.replace("--max-drop 0.01", f"--max-drop {limit}")],
            cwd=checkout,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        code, out = code or done.returncode, out + done.stdout + done.stderr
    return Ended(code, out)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_model_that_passes_the_gate_is_written(name: str, checkout: Path) -> None:
    ended = run_steps(name, checkout)
    assert ended.code == 0, ended.out
    for file in ("model.pruned.onnx", *REPORTS):
        assert (checkout / file).stat().st_size > 0, file
    assert "lost too much" not in ended.out


@pytest.mark.parametrize("name", PIPELINES)
def test_a_gate_that_fails_fails_the_job_and_leaves_the_reports(
    name: str, checkout: Path
) -> None:
    ended = run_steps(name, checkout, limit="0")
    assert ended.code == 10, ended.out
    assert "The pruned model lost too much" in ended.out
    assert not (checkout / "model.pruned.onnx").exists()
    assert "--max-drop 0" in (checkout / "report.md").read_text()
    suite = ElementTree.parse(checkout / "report.junit.xml").getroot()
    (case,) = suite.iter("testcase")
    assert case.get("name") == "--max-drop 0"
    assert [child.tag for child in case] == ["failure"]


@pytest.mark.parametrize("limit", ["0.01", "0"])
def test_github_shows_the_report_whether_the_gate_passes_or_not(
    limit: str, checkout: Path
) -> None:
    ended = run_steps(GITHUB, checkout, limit)
    summary = (checkout / "summary.md").read_text()
    assert summary == (checkout / "report.md").read_text()
    assert ("::error title=Gate::" in ended.out) == (limit == "0")


def test_another_error_is_not_taken_for_the_gate(checkout: Path) -> None:
    (checkout / "test.npz").unlink()
    ended = run_steps(GITHUB, checkout)
    assert ended.code == 3
    assert "::error title=onnxprune::It ended with exit code 3" in ended.out
    assert "lost too much" not in ended.out
    assert not (checkout / "summary.md").exists()


def test_all_pipelines_and_their_readme_give_the_same_command() -> None:
    _, asked = words_of(GITHUB)
    assert words_of(GITLAB) == ([], asked)
    lines = text_of("README.md").replace("\\\n", " ").splitlines()
    (shown,) = [line for line in lines if "--max-drop" in line and line.startswith("    ")]
    assert shlex.split(shown) == ["onnxprune", *asked]
    assert asked[:3] == ["model.onnx", "--sparsity", "0.9"]
    assert [asked[at + 1] for at, word in enumerate(asked) if word == "--report"] == [*REPORTS]


def test_the_container_can_write_nothing_but_the_checkout() -> None:
    docker, _ = words_of(GITHUB)
    assert docker[:3] == ["docker", "run", "--rm"]
    options = dict(pairwise(docker))
    assert options["--network"] == "none"
    assert options["--cap-drop"] == "ALL"
    assert options["--security-opt"] == "no-new-privileges"
    assert options["--user"] == "$(id -u):$(id -g)"
    assert options["--volume"] == "$PWD:/data"
    assert options["--tmpfs"] == "/tmp"
    assert "--read-only" in options


def test_every_file_of_the_command_is_kept() -> None:
    for name in PIPELINES:
        kept = text_of(name).split("artifact")[-1]
        for file in ("model.pruned.onnx", *REPORTS):
            assert file in kept, f"{name}: {file}"
    assert text_of(GITHUB).count("if: ${{ !cancelled() }}") == 2
    assert "when: always" in text_of(GITLAB)
    assert "junit: report.junit.xml" in text_of(GITLAB)


def test_actions_are_pinned_by_their_version() -> None:
    used = re.findall(r"uses: (\S+)", text_of(GITHUB))
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+(\.\d+\.\d+)?", action) for action in used)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_is_indented_as_yaml_has_to_be(name: str) -> None:
    text = text_of(name)
    assert "\t" not in text
    for block in BLOCK.finditer(text):
        text = text.replace(block["body"], "")
    for line in text.splitlines():
        if line and not line.lstrip().startswith("#"):
            assert indent_of(line) % 2 == 0, line
            assert re.match(r" *(- )?[\w-]+:( |$)| *- \S| +[\w.]+$", line), line

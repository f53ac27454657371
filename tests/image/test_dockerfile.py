"""What the Dockerfile and what is around it say, without building anything."""

import re
import shlex
import shutil
import subprocess
from itertools import pairwise

import pytest

import onnxprune
from tests.conftest import ROOT
from tests.image.dockerfile import RULES, Rule, Stage, lineage, read, sources, targets

DOCKERFILE = ROOT / "Dockerfile"
TEXT = DOCKERFILE.read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
GOOD = """
FROM debian:12 AS build
RUN pip install --no-cache-dir -r requirements.lock

FROM debian:12 AS cpu
ENV PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
LABEL org.opencontainers.image.title="a" org.opencontainers.image.description="b" \\
      org.opencontainers.image.version="c" org.opencontainers.image.licenses="d"
# Said once
COPY --from=build /opt /opt
USER 7:7
ENTRYPOINT ["a"]
"""
WRONG = [
    ("user_is_a_number_above_root", "USER 7:7", "USER nobody"),
    ("user_is_a_number_above_root", "USER 7:7", "USER 7:7\nUSER 0:0"),
    ("user_is_a_number_above_root", "USER 7:7\n", ""),
    ("bases_have_a_tag", "debian:12 AS cpu", "debian AS cpu"),
    ("bases_have_a_tag", "debian:12 AS cpu", "here:5000/debian:latest AS cpu"),
    ("packages_of_debian_are_pinned_and_cleaned", "RUN pip", "RUN apt-get install gcc && pip"),
    ("pip_installs_what_is_pinned", "--no-cache-dir ", ""),
    ("pip_installs_what_is_pinned", "-r requirements.lock", "numpy"),
    ("copies_are_no_adds", "COPY --from=build /opt /opt", "ADD a b"),
    ("commands_are_lists", '["a"]', "a"),
    ("commands_are_lists", 'ENTRYPOINT ["a"]', 'CMD ["a"]'),
    ("shells_stop_at_errors", "RUN pip", "RUN echo | pip"),
    ("shells_stop_at_errors", "RUN pip", "RUN false; pip"),
    ("folders_are_absolute", "USER", "WORKDIR data\nUSER"),
    ("folders_are_absolute", "RUN pip", "RUN cd /src && pip"),
    ("nothing_is_old_or_out_of_place", "USER", "HEALTHCHECK NONE\nUSER"),
    ("targets_are_only_copied_to", "USER", "RUN touch /a\nUSER"),
    ("targets_are_only_copied_to", "COPY --from=build /opt /opt", "COPY . /opt"),
    ("targets_say_what_they_are", "PYTHONDONTWRITEBYTECODE=1 ", ""),
    ("targets_say_what_they_are", "image.version", "image.revision"),
]


def complaints(rule: Rule, text: str) -> list[str]:
    return list(rule(read(text)))


def stage(name: str) -> list[Stage]:
    """Return a stage of the Dockerfile with those that it is made of."""
    stages = read(TEXT)
    (found,) = [each for each in stages if each.name == name]
    return lineage(found, stages)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_dockerfile_keeps_every_rule(rule: Rule) -> None:
    assert complaints(rule, TEXT) == []
    assert complaints(rule, GOOD) == []


@pytest.mark.parametrize(("name", "old", "new"), WRONG)
def test_a_rule_sees_what_breaks_it(name: str, old: str, new: str) -> None:
    assert GOOD.count(old) >= 1
    (rule,) = [rule for rule in RULES if rule.__name__ == name]
    assert complaints(rule, GOOD.replace(old, new)) != []


def test_every_rule_is_seen_broken() -> None:
    assert {rule.__name__ for rule in RULES} == {name for name, _, _ in WRONG}


def test_a_heredoc_is_no_instruction() -> None:
    with pytest.raises(ValueError, match="echo is no instruction"):
        read("FROM debian:12\nRUN <<END\necho\nEND\n")


def test_the_linter_agrees_where_it_is_installed() -> None:
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_there_are_two_targets_and_the_last_is_the_default() -> None:
    assert [each.name for each in targets(read(TEXT))] == ["gpu", "cpu"]


def test_the_base_is_an_argument_with_a_tag() -> None:
    assert re.search(r"^ARG BASE=python:3\.11-slim-\w+$", TEXT, re.M)
    own = {each.name for each in read(TEXT)}
    assert {each.base for each in read(TEXT)} - own == {"python:3.11-slim-bookworm"}
    assert len(re.findall(r"^FROM \$\{BASE\} ", TEXT, re.M)) == 2


def test_the_image_is_installed_from_the_lock() -> None:
    runs = [text for each in stage("build") for text in each.all("RUN")]
    locked, own = runs[-2:]
    for option in ("--no-deps", "--only-binary=:all:", "-r requirements.lock"):
        assert option in locked
    assert "--no-deps ." in own
    assert own.endswith("pip check")


def test_the_label_has_the_version() -> None:
    labels = " ".join(text for each in stage("cpu") for text in each.all("LABEL"))
    assert f'image.version="{onnxprune.__version__}"' in labels


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert allowed == sources(read(TEXT))
    assert all((ROOT / name).exists() for name in allowed)
    # The last pattern that fits decides.
    assert lines[-2:] == ["**/__pycache__", "**/*.pyc"]


def test_the_readme_shuts_the_container_in() -> None:
    section = README.split("## Docker")[1]
    (line,) = [
        line
        for line in section.replace("\\\n", " ").splitlines()
        if line.startswith("docker run")
    ]
    words = shlex.split(line)
    image = words.index("onnxprune")
    options = dict(pairwise(words[:image]))
    assert {"--rm", "--read-only"} <= set(words[:image])
    assert options["--network"] == "none"
    assert options["--cap-drop"] == "ALL"
    assert options["--security-opt"] == "no-new-privileges"
    assert re.fullmatch(r"\d+g", options["--memory"])
    assert options["--pids-limit"].isdigit()
    assert options["--tmpfs"] == "/tmp"
    assert options["-u"] == "$(id -u):$(id -g)"
    assert options["-v"] == "$PWD:/data"
    assert words[image + 1] == "model.onnx"
    for name in re.findall(r"--build-arg (\w+)=", section):
        assert re.search(rf"^ARG {name}\b", TEXT, re.M), name
    for name in re.findall(r"--target (\w+)", section):
        assert name in {each.name for each in read(TEXT)}

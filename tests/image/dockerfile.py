"""Reads a Dockerfile, and finds in it what it should not say.

A rule takes the stages and yields complaints. Those with a number are hadolint's of that number,
as far as they matter here.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

INSTALLS = re.compile(r"\bpip3? install\b(?P<words>[^&|;]*)")
SHELL_ORS = re.compile(r"(?<!\|)\|(?!\|)")
KNOWN = {
    "FROM", "ARG", "ENV", "WORKDIR", "RUN", "COPY", "ADD", "LABEL", "USER", "ENTRYPOINT",
    "CMD", "HEALTHCHECK", "MAINTAINER", "SHELL", "VOLUME", "EXPOSE", "STOPSIGNAL", "ONBUILD",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stage:
    """What is between one FROM and the next."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, kind: str) -> list[str]:
        """Return what follows an instruction, each time it is given."""
        return [text for word, text in self.steps if word == kind]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction with its text on one line, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            if word.upper() not in KNOWN:
                raise ValueError(
                    f"{word} is no instruction: a heredoc, or a line not continued"
                )
            yield word.upper(), rest.strip()


def read(text: str) -> list[Stage]:
    """Return the stages in order; names in FROM stand for the defaults of earlier ARGs."""
    defaults: dict[str, str] = {}
    stages: list[Stage] = []
    for word, rest in instructions(text):
        if word == "FROM":
            base, _, name = re.sub(r"(?i)\s+as\s+", " ", rest).partition(" ")
            base = re.sub(r"\$\{?(\w+)\}?", lambda found: defaults.get(found[1], ""), base)
            stages.append(Stage(base, name))
        elif stages:
            stages[-1].steps.append((word, rest))
        elif word == "ARG":
            name, _, value = rest.partition("=")
            defaults[name] = value
    return stages


def lineage(stage: Stage, stages: list[Stage]) -> list[Stage]:
    """Return the stages that one is made of, from the base to itself."""
    below = next((other for other in stages if other.name == stage.base), None)
    return [*(lineage(below, stages) if below else []), stage]


def targets(stages: list[Stage]) -> list[Stage]:
    """Return the stages that no other is built from: the images that are given away."""
    used = {stage.base for stage in stages}
    for stage in stages:
        used |= {
            name for text in stage.all("COPY") for name in re.findall(r"--from=(\S+)", text)
        }
    return [stage for stage in stages if stage.name not in used]


def sources(stages: list[Stage]) -> set[str]:
    """Return what the stages copy from the folder that is built."""
    found: set[str] = set()
    for stage in stages:
        for text in stage.all("COPY"):
            words = text.split()
            if not any(word.startswith("--from=") for word in words):
                found |= {PurePosixPath(word).name for word in words[:-1] if word[:2] != "--"}
    return found


Rule = Callable[[list[Stage]], Iterator[str]]


def user_is_a_number_above_root(stages: list[Stage]) -> Iterator[str]:
    """DL3002, and a number, which Kubernetes can check."""
    for stage in targets(stages):
        users = [text for part in lineage(stage, stages) for text in part.all("USER")]
        if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
            yield f"{stage.name} runs as {users[-1:]}"


def bases_have_a_tag(stages: list[Stage]) -> Iterator[str]:
    """DL3006, DL3007."""
    names = {stage.name for stage in stages}
    for stage in stages:
        tag = stage.base.rpartition("/")[2].partition(":")[2]
        if stage.base not in names and tag in {"", "latest"} and "@sha256:" not in stage.base:
            yield f"{stage.name} is built on {stage.base!r}"


def packages_of_debian_are_pinned_and_cleaned(stages: list[Stage]) -> Iterator[str]:
    """DL3008, DL3009, DL3015."""
    for text in (text for stage in stages for text in stage.all("RUN")):
        for words in re.findall(r"apt-get install([^&|;]*)", text):
            names = [word for word in words.split() if not word.startswith("-")]
            if "--no-install-recommends" not in words or not all(
                "=" in name for name in names
            ):
                yield words
            if "rm -rf /var/lib/apt/lists" not in text:
                yield f"{text} leaves the lists"


def pip_installs_what_is_pinned(stages: list[Stage]) -> Iterator[str]:
    """DL3013, DL3042."""
    for text in (text for stage in stages for text in stage.all("RUN")):
        for found in INSTALLS.finditer(text):
            words = found["words"]
            pinned = "-r requirements.lock" in words or "PIP_CONSTRAINT=" in text
            if "--no-cache-dir" not in words or not pinned:
                yield found[0]


def copies_are_no_adds(stages: list[Stage]) -> Iterator[str]:
    """DL3020."""
    yield from (text for stage in stages for text in stage.all("ADD"))


def commands_are_lists(stages: list[Stage]) -> Iterator[str]:
    """DL3025: no shell between a signal and the command. Every target has an entrypoint."""
    for stage in targets(stages):
        parts = lineage(stage, stages)
        given = [text for part in parts for text in part.all("ENTRYPOINT") + part.all("CMD")]
        if not any(part.all("ENTRYPOINT") for part in parts):
            yield f"{stage.name} has no ENTRYPOINT"
        for text in given:
            try:
                words = json.loads(text)
            except json.JSONDecodeError:
                words = None
            if not isinstance(words, list):
                yield text


def shells_stop_at_errors(stages: list[Stage]) -> Iterator[str]:
    """DL4006, and && between commands, not a semicolon; no heredoc, which older builders refuse."""
    for text in (text for stage in stages for text in stage.all("RUN")):
        if SHELL_ORS.search(text) or ";" in text or "<<" in text:
            yield text


def folders_are_absolute(stages: list[Stage]) -> Iterator[str]:
    """DL3000, DL3003."""
    for stage in stages:
        yield from (text for text in stage.all("WORKDIR") if not text.startswith("/"))
        yield from (text for text in stage.all("RUN") if re.match(r"cd\s", text))


def nothing_is_old_or_out_of_place(stages: list[Stage]) -> Iterator[str]:
    """DL4000; a command needs no HEALTHCHECK, and takes its volume from who runs it."""
    for stage in stages:
        for kind in ("MAINTAINER", "HEALTHCHECK", "VOLUME", "EXPOSE", "ONBUILD"):
            yield from (f"{kind} {text}" for text in stage.all(kind))


def targets_are_only_copied_to(stages: list[Stage]) -> Iterator[str]:
    """Nothing is installed in what is given away: tools and caches stay in other stages."""
    for stage in targets(stages):
        parts = lineage(stage, stages)
        yield from (text for part in parts for text in part.all("RUN"))
        copies = [text for part in parts for text in part.all("COPY")]
        if not copies or not all("--from=" in text for text in copies):
            yield f"{stage.name} copies {copies}"


def targets_say_what_they_are(stages: list[Stage]) -> Iterator[str]:
    """Labels of OCI's, and an environment for a read-only root."""
    for stage in targets(stages):
        parts = lineage(stage, stages)
        labels = " ".join(text for part in parts for text in part.all("LABEL"))
        for name in ("title", "description", "version", "licenses"):
            if f'org.opencontainers.image.{name}="' not in labels:
                yield f"{stage.name} has no label {name}"
        environment = " ".join(text for part in parts for text in part.all("ENV")).split()
        yield from {"PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp"} - set(environment)


RULES: tuple[Rule, ...] = (
    user_is_a_number_above_root,
    bases_have_a_tag,
    packages_of_debian_are_pinned_and_cleaned,
    pip_installs_what_is_pinned,
    copies_are_no_adds,
    commands_are_lists,
    shells_stop_at_errors,
    folders_are_absolute,
    nothing_is_old_or_out_of_place,
    targets_are_only_copied_to,
    targets_say_what_they_are,
)

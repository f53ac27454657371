"""Runs the command line in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

CODE = "import sys; from onnxprune.cli import main; sys.exit(main())"


def command(*words: object) -> list[str]:
    """Spell the command that runs `onnxprune` with some words."""
    return [sys.executable, "-c", CODE, *map(str, words)]


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without what changes how things are printed."""
    mine = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "GITHUB_ACTIONS", "TTY_COMPATIBLE"}
    kept = {name: value for name, value in os.environ.items() if name not in mine}
    return kept | variables


def started(
    words: Sequence[object], environ: dict[str, str] | None = None, **settings: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end and return what it printed."""
    return subprocess.run(
        command(*words),
        env=environment(**(environ or {})),
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=120,
        check=False,
        **({"capture_output": True} | settings if "stdout" not in settings else settings),
    )

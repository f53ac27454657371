"""Runs a recipe as a user would."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_recipe(name: str, *words: object) -> tuple[int, str, str]:
    """Return the exit code, what was printed, and the errors."""
    command = [sys.executable, str(ROOT / "calibration" / name), *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout, ran.stderr

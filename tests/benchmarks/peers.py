"""The tools we are compared with: where they live and how they come to be there."""

import shutil
import subprocess
import sys
from pathlib import Path

ONNXSIM = "onnxsim==0.8.1"
ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / ".bench"
HERE = Path(__file__).parent


def workplace() -> Path:
    """Make the folder for models, outputs and the peer's environment; git ignores it."""
    BENCH.mkdir(exist_ok=True)
    (BENCH / ".gitignore").write_text("*\n")
    return BENCH


def onnxprune() -> tuple[str, str]:
    """Find the command of this environment: its path, and why it cannot be run if so."""
    path = Path(sys.executable).with_name("onnxprune")
    return str(path), "" if path.exists() else "onnxprune is not installed next to python"


def baseline(name: str) -> tuple[str, str]:
    """Start the command line of a baseline script that runs in this environment."""
    return sys.executable, str(HERE / f"baseline_{name}.py")


def onnxsim() -> tuple[tuple[str, str], str]:
    """Give onnxsim's script in an environment of its own, and why it cannot be run if so."""
    folder = workplace() / "venv"
    python = folder / "bin" / "python"
    script = str(python), str(HERE / "baseline_onnxsim.py")
    marker = folder / ONNXSIM
    if marker.exists():
        return script, ""
    for argv in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", ONNXSIM],
        [str(python), "-c", "import onnxsim; onnxsim.apply_magnitude_pruning"],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            said = (done.stderr or done.stdout).strip().splitlines()
            errors = [line for line in said if line.startswith("ERROR")]
            reason = (errors or said[-1:] or ["no message"])[0]
            return script, f"{ONNXSIM} does not install: {reason}"
    marker.touch()
    return script, ""

"""What importing and running the package loads."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "onnxruntime", "onnx", "numpy", "rich"}


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*(n for n in sys.modules if '.' not in n))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_is_light() -> None:
    assert not loaded_by("import onnxprune") & HEAVY


@pytest.mark.parametrize("words", [["--help"], [], ["--version"]])
def test_the_short_help_is_light(words: list[str]) -> None:
    code = f"from onnxprune.cli import main; assert main({words!r}) == 0"
    assert not loaded_by(code) & HEAVY


def test_the_check_sees_what_is_loaded() -> None:
    assert "numpy" in loaded_by("import numpy")
    assert {"onnx", "numpy"} <= loaded_by("import onnxprune; onnxprune.prune")


@pytest.mark.parametrize("method", ["lamp", "erk", "random", "from:ITSELF"])
def test_weight_based_methods_load_neither_torch_nor_onnxruntime(
    method: str, digits: Path, tmp_path: Path
) -> None:
    allocation = f", '--allocation', 'from:{digits}'" if method.startswith("from") else ""
    name = "random" if allocation else method
    words = f"[{str(digits)!r}, '-s', '0.0' if {bool(allocation)} else '0.9', '-m', {name!r}"
    words += f"{allocation}, '-q', '-o', {str(tmp_path / 'out.onnx')!r}]"
    found = loaded_by(f"from onnxprune.cli import main; assert main({words}) == 0")
    assert not found & {"torch", "onnxruntime"}
    assert "onnx" in found


def test_to_be_reproducible_does_not_load_the_compiler_of_torch() -> None:
    code = """
import sys
from onnxprune.statistics.determinism import reproducible
with reproducible():
    pass
assert "torch" in sys.modules
assert "torch._inductor" not in sys.modules
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)

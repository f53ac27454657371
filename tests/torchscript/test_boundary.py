"""What is deprecated is behind one module, and nothing of it is loaded for ONNX files."""

import subprocess
import sys
from pathlib import Path

import onnxprune
from tests.cli.started import environment

PACKAGE = Path(onnxprune.__file__).parent
WORDS = ("torch.jit.", "torch._C", "TS2EP", "ScriptModule")
OWNER = "torchscript.py"


def test_one_module_touches_torch_jit() -> None:
    found = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text().splitlines()
        if any(word in line for word in WORDS) and '"torch.jit._pickle"' not in line
    }
    assert found == {OWNER}


def test_an_onnx_file_is_pruned_without_it(digits: Path, tmp_path: Path) -> None:
    code = (
        "import sys, onnxprune\n"
        f"onnxprune.prune({str(digits)!r}, 0.5, output={str(tmp_path / 'o.onnx')!r})\n"
        "print([name for name in sys.modules if name in ('torch', 'zipfile._path')"
        " or name.startswith('onnxprune.formats.torchscript')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]")

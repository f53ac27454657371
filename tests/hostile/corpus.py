"""The cases of the optional hostile corpus: how files are made, what is run, which code is wanted."""

import importlib.util
import os
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.shared import FOLDER

TOOL = FOLDER / "tools" / "badmodels.py"
LETTERS = ("c", "e", "f", "g", "n", "ok", "p", "s", "t", "x")
"""What the names of cases begin with: of files, protobuf, tensors, names, external data, …"""

CANARY = "CANARY_RAN"
CONTROL = "ok_gemm"
"""The model that calibration data are tried on."""

TRUSTED = ("s_ok", "s_export")
RUN = ("g_cos_bomb", "g_loop_inf")
"""Models that do no harm before they run."""

NOISE = ("--data", "random:2", "--no-latency", "--timeout", "3")
ALONE = {
    "e_3g_ok": "goes through 3 GiB",
    "e_4g_nolen": "goes through 4 GiB",
    "p_inline_1g9": "goes through 1.9 GiB",
    "p_nest20000": "takes a minute to make; formats/test_onnx_wire_limits.py has one of its kind",
    "s_export": "loads torch; cli/test_torch_hostile.py prunes an exported program",
    "s_ok": "loads torch; cli/test_torch_hostile.py prunes a script",
}
"""Cases that only the benchmark runs, and why."""

DIFFERENT = {
    "t_int4_odd": (3, "opset 17 has no INT4: both libraries refuse the model"),
}
"""Cases whose exit code is not the wanted one: ours, and why; README.md says more."""


@dataclass(frozen=True, slots=True)
class Case:
    """One input, and what must come of it.

    Args:
        name: of the case, and of the folder that holds its files.
        kind: `onnx`, `torch`, or `calib` for calibration data.
        entry: the file that the command is given.
        code: the exit code; None where any will do but that of a bug.
        note: what is wrong with it.
    """

    name: str
    kind: str
    entry: str
    code: int | None
    note: str

    def words(self, root: Path, output: Path) -> list[str]:
        """Spell the command for this case.

        Args:
            root: the folder that holds the cases' folders.
            output: the folder to write to.
        """
        entry = str(root / self.name / self.entry)
        suffix = Path(self.entry).suffix if self.kind == "torch" else ".onnx"
        words = ["prune", "-s", "0.5", "-o", str(output / f"{self.name}{suffix}")]
        if self.kind == "calib":
            model = str(root / CONTROL / "model.onnx")
            return [*words, "--no-latency", "--data", entry, "--", model]
        if self.name in TRUSTED:
            words.append("--trust-model")
        if self.name in RUN:
            words += NOISE
        return [*words, "--", entry]


def load_tool() -> ModuleType | None:
    """Import what makes the files, if it is there."""
    if not TOOL.exists():
        return None
    spec = importlib.util.spec_from_file_location("badmodels", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # What it pickles names its functions by their module.
    sys.modules["badmodels"] = module
    spec.loader.exec_module(module)
    return module


def cases(tool: ModuleType, letter: str = "") -> list[Case]:
    """List the cases, or those whose names begin with some letters."""
    found = []
    for each in tool.CASES:
        if each["id"].startswith(f"{letter}_") or not letter:
            code = DIFFERENT[each["id"]][0] if each["id"] in DIFFERENT else each["code"]
            found.append(Case(each["id"], each["kind"], each["entry"], code, each["note"]))
    return found


def make(tool: ModuleType, wanted: Iterable[Case], root: Path) -> None:
    """Make the files of some cases, and of the control, below a folder."""
    names = {case.name for case in wanted} | {CONTROL}
    os.environ[tool.CANARY] = str(root / CANARY)  # what its pickles would make
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch thinks of how its files are made
        for each in tool.CASES:
            if each["id"] in names:
                folder = root / each["id"]
                folder.mkdir(parents=True)
                each["fn"](folder)

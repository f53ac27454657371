"""Commands that write files: what they make, and what a folder holds before and after them."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from onnxprune.cli import main
from onnxprune.errors import OnnxpruneError
from onnxprune.formats.edits import Edit
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.output import check_output
from onnxprune.formats.saving import Saving
from onnxprune.formats.torch_surveying import Survey
from tests import models
from tests.hostile.layouts import ONNX, Layout, inline

OLD, NEW = "0.3", "0.7"
Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Write:
    """A command that writes.

    Args:
        run: writes for some sparsity, over what is there; returns the exit code.
        output: the name of the file that the others belong to.
    """

    run: Callable[[str], int]
    output: str = "out.onnx"


def files(folder: Path) -> Files:
    """Return what a folder holds."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lasting(found: Files) -> Files:
    """Leave out of reports how long a command took."""
    reports = {name: found[name] for name in found if name.endswith((".json", ".md"))}
    for name, content in reports.items():
        if name.endswith(".json"):
            json.loads(content)
        reports[name] = re.sub(rb'"seconds": [^,\n]*', b"", content)
    return found | reports


def restore(folder: Path, wanted: Files) -> None:
    """Let a folder hold these files and no other."""
    found = files(folder)
    for name in found.keys() - wanted.keys():
        (folder / name).unlink()
    for name, content in wanted.items():
        if found.get(name) != content:
            (folder / name).write_bytes(content)


def words(model: Path, sparsity: str, *more: object) -> list[str]:
    """Spell the command that prunes a model to the file `out` beside it."""
    output = model.with_name(f"out{model.suffix}")
    how = ["-s", sparsity, "-m", "global", "-o", output, "--force", "--no-verify", "-q"]
    return [str(word) for word in (model, *how, *more)]


def pruning(folder: Path, layout: Layout) -> Write:
    """Prune a model."""
    model = layout(folder)
    return Write(lambda sparsity: main(words(model, sparsity)))


def reporting(folder: Path) -> Write:
    """Prune a model and write reports on it."""
    model = inline(folder)
    reports = [word for name in ("r.json", "r.md") for word in ("--report", folder / name)]
    return Write(lambda sparsity: main(words(model, sparsity, *reports)))


def adding(folder: Path) -> Write:
    """Give a model a bias, so that parts of another length are put into its file."""
    node = models.node("MatMul x w -> y")
    proto = models.model([node], {"x": [2, 24]}, "y", [models.weight("w", 24, 36)])
    path = models.save(folder / "model.onnx", proto)

    def run(sparsity: str) -> int:
        bias = {"w": np.full(36, float(sparsity), np.float32)}
        edits = {"w": Edit(lambda _, values: np.abs(values) < float(sparsity))}
        try:
            with load_onnx(path) as model:
                output = check_output(folder / "out.onnx", model.all_files(), force=True)
                Saving(model, output, edits, additions=bias).run()
        except OnnxpruneError as error:
            sys.stderr.write(f"onnxprune: error: {error}\n")
            return error.exit_code
        return 0

    return Write(run)


def exporting(folder: Path) -> Write:
    """Write the mask of a model that was pruned before."""
    model = inline(folder)
    for sparsity in (OLD, NEW):
        assert main(words(model, sparsity)) == 0
        (folder / "out.onnx").rename(folder / f"{sparsity}.onnx")

    def run(sparsity: str) -> int:
        target = folder / "m.npz"
        export = ["mask", "export", folder / f"{sparsity}.onnx", "-o", target, "--force", "-q"]
        return main([str(word) for word in export])

    return Write(run, "m.npz")


def script(folder: Path) -> Write:
    """Prune an archive of torch's, whose checksums are corrected after its weights."""
    from tests.torchscript.nets import saved

    path = saved(folder, "small", "script")
    return Write(
        lambda sparsity: main(words(path, sparsity, "--trust-model")), f"out{path.suffix}"
    )


WRITES: dict[str, Callable[[Path], Write]] = {
    **{name: lambda folder, of=layout: pruning(folder, of) for name, layout in ONNX.items()},
    "bias": adding,
    "reports": reporting,
    "mask": exporting,
    "script": script,
}


def survey_once(patch: pytest.MonkeyPatch) -> None:
    """Load a file of torch's in one child process only: each takes seconds."""
    from onnxprune.formats import torch_file

    known: dict[Path, Survey] = {}
    survey = torch_file.survey

    def once(path: Path, program: bool) -> Survey:
        if path not in known:
            known[path] = survey(path, program)
        return known[path]

    patch.setattr(torch_file, "survey", once)

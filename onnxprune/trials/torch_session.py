"""A file of torch's that the child process runs by torch itself, where it is no ONNX model.

Only the child imports this, and only for such files: a user trusts them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onnxprune.formats.exported import load_program
from onnxprune.formats.torch_running import NUMBERS, named
from onnxprune.formats.torchscript import (
    Script,
    arguments_of,
    keeps_state,
    open_script,
    quiet,
    twin_of,
)

Array = np.ndarray[Any, Any]


class TorchSession:
    """A loaded file.

    Args:
        path: the file.
        program: whether it is an exported program, not a script.
        names: what it takes, in order.
        device: `auto`, `cpu` or `cuda`.
        threads: of the processor.
    """

    def __init__(
        self, path: Path, program: bool, names: list[str], device: str, threads: int
    ) -> None:
        torch.set_num_threads(threads)
        cuda = device != "cpu" and torch.cuda.is_available()
        self.device = torch.device("cuda" if cuda else "cpu")
        self._names = names
        self._kinds: dict[str, str] = {}
        self._fresh: Callable[[], Any]
        if program:
            module = load_program(path).module().to(self.device)
            self._fresh = lambda: module
        else:
            script = open_script(path)
            script.module.to(self.device)
            self._kinds = dict(arguments_of(script.module))
            self._fresh = _fresh(script)

    def compute(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run one batch, from the state that the file has."""
        arguments = [
            self._argument(name, feeds[name]) for name in self._names if name in feeds
        ]
        with torch.no_grad(), quiet():
            found = named(self._fresh()(*arguments))
        return {
            name: value.float().cpu().numpy()
            if value.dtype == torch.bfloat16
            else value.cpu().numpy()
            for name, value in found.items()
            if isinstance(value, Tensor)
        }

    def run(self, _: None, feeds: Mapping[str, Array]) -> None:
        """Run one batch, to see how long that takes."""
        self.compute(feeds)

    def _argument(self, name: str, array: Array) -> Any:
        convert = NUMBERS.get(self._kinds.get(name, ""))
        if convert is not None:
            return convert(array)
        return torch.from_numpy(np.array(array, order="C")).to(self.device)


def _fresh(script: Script) -> Callable[[], Any]:
    """Return what gives a module with the state of the file for each run."""
    if keeps_state(script):
        return lambda: twin_of(script)
    return lambda: script.module

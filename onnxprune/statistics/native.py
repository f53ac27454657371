"""A file of torch's as a module that is measured: run by torch itself, not imported."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from onnxprune.errors import UnsupportedError
from onnxprune.formats.torch_file import TorchModel
from onnxprune.formats.torch_running import TorchRun


class Native:
    """What a file of torch's computes, by names.

    Args:
        model: the open file.
        precision: the type that floats are computed in.
        device: where.
    """

    def __init__(
        self, model: TorchModel, precision: torch.dtype, device: torch.device
    ) -> None:
        self._run = TorchRun(model, precision, device)
        self._inputs = model.survey.inputs
        self._kind = model.kind
        self.tensors = {path: nn.Parameter(each) for path, each in self._run.weights.items()}

    @property
    def batch_statistics(self) -> bool:
        """Whether it normalises by the statistics of each batch: it does as the file says."""
        return False

    @batch_statistics.setter
    def batch_statistics(self, wanted: bool) -> None:
        if wanted:
            raise UnsupportedError(
                f"--bn batch: {self._kind} normalises as it says itself",
                "an ONNX file of the model can be measured so",
            )

    def compute(
        self, feeds: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> dict[str, Any]:
        """Compute the outputs from tensors by the names of the inputs."""
        arguments = [feeds[name] for name in self._inputs if name in feeds]
        return self._run.run(arguments, {**self.tensors, **(tensors or {})})

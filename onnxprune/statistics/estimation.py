"""How statistics are estimated: the choices a user has, and what they are to torch."""

import os
import re
from dataclasses import dataclass

import torch

from onnxprune.errors import UnsupportedError, UsageError

CROSS_ENTROPY, MSE = "cross-entropy", "mse"
BATCH_NORMALISATION = ("eval", "batch")
CURVATURES = ("exact", "mc", "empirical")
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
DEVICES = ("cpu", "cuda", "auto")
OWN = re.compile(r"([\w.]+|.+\.py):[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Estimation:
    """How statistics are estimated.

    Args:
        loss: `cross-entropy`, `mse`, or where a function is.
        bn: normalisation by the file's statistics, `eval`, or by each batch's, `batch`.
        curvature: over all classes, `exact`, over drawn ones, `mc`, or by the labels,
            `empirical`.
        batches_per_step: how many batches are measured in each step.
        batch: samples in a batch.
        precision: what is computed in.
        seed: where random numbers start.
        device: where it is computed; `auto` takes a GPU if there is one.
        output: which output the loss looks at; the first one of floats if not given.
    """

    loss: str = CROSS_ENTROPY
    bn: str = "eval"
    curvature: str = "exact"
    batches_per_step: int = 1
    batch: int = 64
    precision: str = "float32"
    seed: int = 0
    device: str = "cpu"
    output: str | None = None

    def __post_init__(self) -> None:
        if self.loss not in (CROSS_ENTROPY, MSE) and not OWN.fullmatch(self.loss):
            raise UsageError(
                f"--loss is {CROSS_ENTROPY}, {MSE} or module:function, not '{self.loss}'"
            )
        _check("--bn", self.bn, BATCH_NORMALISATION)
        _check("--curvature", self.curvature, CURVATURES)
        _check("--precision", self.precision, tuple(PRECISIONS))
        _check("--device", self.device, DEVICES)
        if self.batches_per_step < 1:
            raise UsageError(f"--batches-per-step is at least 1, not {self.batches_per_step}")
        if self.batch < 1:
            raise UsageError(f"--batch is at least 1, not {self.batch}")
        if self.seed < 0:
            raise UsageError(f"--seed is at least 0, not {self.seed}")

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in, as torch calls it."""
        return PRECISIONS[self.precision]


def find_device(wanted: str) -> torch.device:
    """Return the device of a name; processes that torchrun starts share out the GPUs."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UnsupportedError("--device cuda: torch finds no GPU", "--device cpu")
    if wanted == "cpu" or not available:
        return torch.device("cpu")
    place = os.environ.get("LOCAL_RANK", "")
    number = int(place) if place.isdigit() else torch.cuda.current_device()
    return torch.device("cuda", number % torch.cuda.device_count())


def device_name(device: torch.device) -> str:
    """Return what a person calls a device."""
    if device.type != "cuda":
        return device.type
    return f"{device.type} ({torch.cuda.get_device_name(device)})"


def _check(option: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        choices = f"{', '.join(known[:-1])} or {known[-1]}"
        raise UsageError(f"{option} is {choices}, not '{given}'")

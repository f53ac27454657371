"""Reports made by hand, with the numbers and names that a test wants."""

from collections.abc import Sequence

from onnxprune.outcomes import Sizes
from onnxprune.types import (
    Layout,
    Recipe,
    Report,
    Skipped,
    Tally,
    TensorReport,
    Weight,
)


def weight(
    path: str, shape: tuple[int, ...] = (8, 4), op: str = "Gemm", macs: int | None = 32
) -> Weight:
    """Make a weight whose first dimension counts outputs."""
    size = 1
    for length in shape:
        size *= length
    rest = tuple(range(1, len(shape)))
    return Weight(
        path, op, f"{path}_node", shape, "float32", size, Layout(shape, (0,), (), rest), macs
    )


def tensor(path: str, zeros: int = 16, **settings: object) -> TensorReport:
    """Make the report of one weight."""
    made = weight(path, **settings)  # type: ignore[arg-type]
    return TensorReport(made, Tally(0, zeros, 1.0, 0.25), zeros)


ASKED = Recipe(0.5)


def report(
    tensors: Sequence[TensorReport],
    skipped: Sequence[Skipped] = (),
    warnings: Sequence[str] = (),
    model: str = "m.onnx",
    recipe: Recipe | None = ASKED,
) -> Report:
    """Make a report of some tensors."""
    size = sum(one.weight.size for one in tensors)
    return Report(
        model=model,
        sha256="0" * 64,
        tensors=tuple(tensors),
        skipped=tuple(skipped),
        warnings=tuple(warnings),
        parameters=size + 10,
        sizes=Sizes(1000, 1000, 900, 500, False),
        seconds=0.25,
        recipe=recipe,
        output="m.pruned.onnx",
        files=("m.pruned.onnx",),
        verified="onnx.checker accepts it",
    )

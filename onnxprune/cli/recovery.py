"""The options that win accuracy back."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from onnxprune.cli.options import option

back = partial(option, rich_help_panel="Recovery")


@dataclass(frozen=True, slots=True)
class Recovery:
    """How accuracy is won back; the fields of a recipe that are about it."""

    recover: Annotated[
        str | None,
        back(
            "-r",
            "--recover",
            metavar="A,B,...",
            help="Of refit, sparsegpt, statistics, bias, distill; each stays if it helps.",
        ),
    ] = None
    epochs: Annotated[
        int | None, back(metavar="N", help="Distill for N epochs; 60, or what time allows.")
    ] = None
    time_budget: Annotated[
        str | None, back(metavar="T", help="Distill for so long, such as 10m.")
    ] = None
    lr: Annotated[
        float | None,
        back("--lr", metavar="R", help="Largest step, as a share of weights; 0.08 or less."),
    ] = None
    optimizer: Annotated[
        str | None, back(metavar="adamw|sgd", help="What distillation steps by.")
    ] = None
    augment: Annotated[
        str | None,
        back(metavar="A,B|none", help="Of flip, shift, mix; flip,shift for pictures."),
    ] = None
    match: Annotated[
        list[str] | None, back(metavar="GLOB", help="Match this value of the graph, too.")
    ] = None
    label_weight: Annotated[
        float | None, back(metavar="W", help="What labels count; 0, 0.5 with --labels.")
    ] = None
    held_out: Annotated[
        float | None, back(metavar="S", help="The share of the samples that judges; 0.1.")
    ] = None
    rewind: Annotated[
        str | None, back(metavar="MODEL", help="Kept weights take this checkpoint's values.")
    ] = None

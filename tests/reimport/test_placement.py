from typing import Any

import torch
from torch import Tensor

from onnxprune.reimport.placement import placed

THERE = torch.device("meta")


def devices(*values: Any) -> list[str | None]:
    return [value.device.type if isinstance(value, Tensor) else None for value in values]


def test_on_the_processor_nothing_is_in_between() -> None:
    assert placed(devices, "Add", torch.device("cpu")) is devices


def test_inputs_are_brought_together_where_one_of_them_is() -> None:
    call = placed(devices, "Where", THERE)
    here, there = torch.ones(1), torch.ones(1, device=THERE)
    assert call(here, there, None) == ["meta", "meta", None]


def test_numbers_that_are_only_read_stay() -> None:
    call = placed(devices, "Reshape", THERE)
    here, there = torch.ones(1), torch.ones(1, device=THERE)
    assert call(there, here) == ["meta", "cpu"]


def test_arithmetic_of_shapes_stays_on_the_processor() -> None:
    assert placed(devices, "Add", THERE)(torch.ones(1), torch.ones(1)) == ["cpu", "cpu"]

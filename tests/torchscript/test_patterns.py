"""Patterns in files of torch's: the same groups and filters, as far as their graph is known."""

from pathlib import Path

import numpy as np
import pytest

import onnxprune
from tests.torchscript.nets import loaded, saved


@pytest.mark.parametrize("way", ["script", "trace", "program"])
def test_groups_and_filters_are_those_of_the_modules(way: str, tmp_path: Path) -> None:
    path = saved(tmp_path, "small", way)
    output = path.with_name(f"out{path.suffix}")
    given = {"output": output, "trust_model": True, "verify": False, "force": True}
    report = onnxprune.prune(path, pattern="1:2", **given)
    values = dict(loaded(output).named_parameters())
    assert report.tensors
    for tensor in report.tensors:
        weight = values[tensor.weight.path].detach().numpy()
        pairs = np.moveaxis(weight, 1, -1).reshape(-1, 2)
        assert ((pairs == 0).sum(1) == 1).all()
    report = onnxprune.prune(path, 0.3, "magnitude", pattern="filters", **given)
    values = dict(loaded(output).named_parameters())
    last = [each for each in report.skipped if each.reason.startswith("the last weight")]
    assert len(last) == 1
    for tensor in report.tensors:
        weight = values[tensor.weight.path].detach().numpy()
        rows = (weight == 0).reshape(len(weight), -1)
        assert (rows.any(1) == rows.all(1)).all()
    assert any("what is added behind these filters stays" in each for each in report.warnings)

"""Sweeps, searches and sensitivities with methods that measure: the same figures as files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxprune
from onnxprune.outcomes import Measured
from onnxprune.trials.trial import Trial
from tests.measured.files import LABELS, trial, write_net, write_samples

METHOD = {"steps": 3, "precision": "float64", "exclude": ["aside"]}


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write_net(tmp_path)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    return write_samples(tmp_path)


def quiet(samples: Path, **more: Any) -> Trial:
    return trial(samples, latency=False, **more)


def measured(net: Path, samples: Path, output: Path, **more: Any) -> Measured:
    """Prune to a file and compare it with the dense one."""
    given = METHOD | {"method": "force", "sparsity": 0.6} | more
    onnxprune.prune(net, data=quiet(samples), output=output, verify=False, **given)
    return onnxprune.check(net, output, quiet(samples)).result.measured


def test_a_sweep_has_the_figures_of_files(net: Path, samples: Path, tmp_path: Path) -> None:
    study = onnxprune.sweep(net, quiet(samples), ["force", "lamp"], [0.6], **METHOD)
    assert [point.failure for point in study.points] == [None, None]
    force, lamp = study.points
    assert force.measured == measured(net, samples, tmp_path / "force.onnx")
    # One that measures nothing takes its one step beside others.
    alone = measured(net, samples, tmp_path / "lamp.onnx", method="lamp", steps=None)
    assert lamp.measured == alone
    assert (force.zeros, force.size) == (25, 42)


def test_a_sweep_measures_on_other_samples_where_they_are_given(
    net: Path, samples: Path, tmp_path: Path
) -> None:
    x = np.random.default_rng(9).standard_normal((7, 4)).astype(np.float32)
    other = {"x": x, "labels": LABELS[:7]}
    data = onnxprune.trial(other, batch=7, device="cpu")
    study = onnxprune.sweep(net, quiet(samples), ["snip"], [0.6], data=data, exclude=["aside"])
    output = tmp_path / "out.onnx"
    onnxprune.prune(
        net, 0.6, "snip", data=data, output=output, verify=False, exclude=["aside"]
    )
    wanted = onnxprune.check(net, output, quiet(samples)).result.measured
    assert study.points[0].measured == wanted


def test_a_search_writes_what_prune_writes_and_says_what_check_says(
    net: Path, samples: Path, tmp_path: Path
) -> None:
    gated = quiet(samples, max_drop=1.0)
    output = tmp_path / "found.onnx"
    found = onnxprune.search(
        net, gated, output=output, method="force", resolution=0.25, **METHOD
    )
    assert found.search.setting == 0.75
    wanted = measured(net, samples, tmp_path / "pruned.onnx", sparsity=0.75)
    assert found.search.result.measured == wanted
    assert output.read_bytes() == (tmp_path / "pruned.onnx").read_bytes()


def test_a_sensitivity_has_the_figures_of_files(
    net: Path, samples: Path, tmp_path: Path
) -> None:
    study = onnxprune.sensitivity(net, quiet(samples), [0.5], method="force", **METHOD)
    assert [point.method for point in study.points] == ["first", "second"]
    for point in study.points:
        output = tmp_path / f"{point.method}.onnx"
        more = {"include": [point.method], "exclude": [], "sparsity": 0.5}
        assert point.measured == measured(net, samples, output, **more)

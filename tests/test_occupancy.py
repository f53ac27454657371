"""What inspect finds of patterns in a file, counted by loops over the file's own arrays."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxprune
from onnxprune.occupancy import inspected
from onnxprune.patterns.pattern import Filters, parse_pattern
from onnxprune.report.documents import to_html, to_markdown, to_text
from tests.conftest import Ran
from tests.models import model, node, save, weight
from tests.tensors_made import Array

Run = Callable[..., Ran]


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """A model with a convolution of many zeros, a factor that is 2:4, and one of odd sizes."""
    rng = np.random.default_rng(1)
    kernel = numpy_helper.to_array(weight("k", 8, 8, 2, 2)).copy()
    kernel[rng.random(kernel.shape) < 0.8] = 0
    kernel[3] = 0
    kernel[4:8, 0:4, 1, 0] = 0
    factor = numpy_helper.to_array(weight("f", 8, 12)).copy()
    factor[[0, 3, 5, 6]] = 0
    tensors = [
        numpy_helper.from_array(kernel, "k"),
        numpy_helper.from_array(factor, "f"),
        weight("odd", 12, 3),
        weight("dense", 3, 4),
    ]
    nodes = [node("Conv x k -> a"), node("GlobalAveragePool a -> b"), node("Flatten b -> c")]
    nodes += [node("MatMul c f -> d"), node("MatMul d odd -> e"), node("MatMul e dense -> y")]
    return save(tmp_path / "m.onnx", model(nodes, {"x": (1, 8, 4, 4)}, "y", tensors))


def matrices(path: Path) -> dict[str, Array]:
    """Read weights as [outputs, inputs, places of the kernel], by what their operators say."""
    values = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    return {
        name: each.reshape(*each.shape[:2], -1) if each.ndim == 4 else each.T[:, :, None]
        for name, each in values.items()
    }


def blocks_of(matrix: Array, rows: int, columns: int) -> list[Array]:
    outputs, inputs, places = matrix.shape
    tops, lefts = range(0, outputs, rows), range(0, inputs, columns)
    return [
        matrix[top : top + rows, left : left + columns, place]
        for top, left, place in product(tops, lefts, range(places))
    ]


@pytest.mark.parametrize("pattern", [None, "1:2", "block:2x4", "filters", "2:4"])
def test_groups_blocks_and_filters_are_counted(pattern: str | None, sparse: Path) -> None:
    report = onnxprune.inspect(sparse, pattern=pattern)
    n, m = (1, 2) if pattern == "1:2" else (2, 4)
    rows, columns = (2, 4) if pattern == "block:2x4" else (4, 4)
    for tensor in report.tensors:
        matrix = matrices(sparse)[tensor.weight.path]
        outputs, inputs, _ = matrix.shape
        found = tensor.structure
        assert found is not None
        groups = blocks_of(matrix, 1, m) if inputs % m == 0 and inputs > 1 else None
        fits = outputs % rows == 0 and inputs % columns == 0
        blocks = blocks_of(matrix, rows, columns) if fits else None
        assert found.groups == (None if groups is None else len(groups))
        if groups is not None:
            assert found.complying == sum(np.count_nonzero(each) <= n for each in groups)
        assert found.blocks == (None if blocks is None else len(blocks))
        if blocks is not None:
            assert found.occupied == sum(bool(each.any()) for each in blocks)
        filters = blocks_of(matrix, 1, inputs) if matrix.shape[2] == 1 else list(matrix)
        assert (found.filters, found.empty) == (
            outputs,
            sum(not each.any() for each in filters),
        )


def test_json_says_what_is_eligible_and_what_complies(run: Run, sparse: Path) -> None:
    report: dict[str, Any] = json.loads(run("inspect", sparse, "--json").out)
    assert report["pattern"] == {"name": None, "groups": "2:4", "blocks": "block:4x4"}
    found = {each["name"]: each["structure"] for each in report["tensors"]}
    assert {name: (each["eligible"], each["compliant"]) for name, each in found.items()} == {
        "k": (True, False),
        "f": (True, True),
        "odd": (True, False),
        "dense": (False, False),
    }
    assert found["f"] == {
        "pattern": "2:4",
        "eligible": True,
        "compliant": True,
        "groups": 24,
        "complying_groups": 24,
        "blocks": 6,
        "occupied_blocks": 6,
        "filters": 12,
        "empty_filters": 0,
    }
    assert found["k"]["empty_filters"] == 1
    asked = json.loads(run("inspect", sparse, "--json", "--pattern", "1:2").out)
    assert asked["pattern"] == {"name": "1:2", "groups": "1:2", "blocks": "block:4x4"}
    assert asked["tensors"][0]["structure"]["pattern"] == "1:2"
    pruned = json.loads(run(sparse, "-s", "0.5", "--dry-run", "--json").out)
    assert pruned["pattern"] is None
    assert "structure" not in pruned["tensors"][0]


SUMMARY = "2:4 in 1 of 3 tensors it fits; "


def test_one_line_tells_of_patterns_and_a_table_of_the_one_that_was_named(
    run: Run, sparse: Path
) -> None:
    plain = run("inspect", sparse)
    assert SUMMARY in plain.out
    assert "comply" not in plain.out
    named = run("inspect", sparse, "--pattern", "2:4")
    rows = [line.split() for line in named.out.splitlines()]
    assert ["tensor", "groups", "comply", "share", "2:4"] in rows
    assert ["f", "24", "24", "100.0", "%", "yes"] in rows
    assert ["dense", "-", "-", "-", "not", "eligible"] in rows
    for pattern in ("2:4", "block:2x4", "filters"):
        report = onnxprune.inspect(sparse, pattern=pattern)
        assert SUMMARY in to_text(report)
        assert "| tensor |" in to_markdown(report).partition("| tensor | op |")[2]
        assert to_html(report).count("<table>") == 2
    assert to_html(onnxprune.inspect(sparse)).count("<table>") == 1


def test_a_pattern_that_is_none_is_refused(run: Run, sparse: Path) -> None:
    ran = run("inspect", sparse, "--pattern", "4:2")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("onnxprune: error: --pattern 4:2: of M input channels")


def test_what_is_looked_for_is_named() -> None:
    assert inspected(parse_pattern("unstructured")).asked is None
    assert inspected(Filters()).asked == "filters"
    assert inspected(parse_pattern("block:8x8")).blocks == "block:8x8"


def test_the_report_of_a_pruned_model_tells_of_its_pattern(run: Run, digits: Path) -> None:
    groups = run(digits, "--pattern", "2:4", "--dry-run").out
    assert "pattern     2:4: of 4 input channels in a row at most 2 are kept" in groups
    assert "TensorRT's sparse kernels take fp16, bf16 and int8" in groups
    ones = run(digits, "--pattern", "1:2", "--dry-run").out
    assert "at most 1 is kept, which makes 50.0 % zeros" in " ".join(ones.split())
    assert "TensorRT" not in ones
    blocks = run(digits, "--pattern", "block:4x4", "-s", "0.5", "--dry-run").out
    assert "of 4,384 blocks of 4 outputs x 4 input channels are zero" in blocks
    filters = run(digits, "--pattern", "filters", "-s", "0.4", "--dry-run").out
    assert "of 176 filters are zero, and with them values of biases" in " ".join(
        filters.split()
    )
    assert "fc1.bias, " not in filters.partition("left alone")[2]
    for text in (groups, blocks, filters):
        assert max(map(len, text.splitlines())) <= 100


def test_a_pattern_without_a_sparsity_asks_for_one_unless_it_has_its_own(
    run: Run, digits: Path
) -> None:
    ran = run(digits, "--pattern", "filters")
    assert (ran.code, ran.out) == (2, "")
    assert "how much should go?" in ran.err
    report = json.loads(run(digits, "--pattern", "2:4", "--dry-run", "--json").out)
    assert report["sparsity"]["asked"] == 0.5
    assert report["pattern"] == {"name": "2:4", "sparsity": 0.5}
    assert report["recipe"]["method"] == "magnitude"

"""The example that takes filters out beside single weights: both save as much."""

import importlib
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import channels, recovery


@pytest.fixture(scope="module")
def script() -> Any:
    recovery.ladder()
    return importlib.import_module("channels")


def test_both_save_the_same_multiplications(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNXPRUNE_THREADS", "1")
    model, _ = script.digits()
    filters, single = list(islice(script.rows_of(model, 1, tmp_path), 2))
    assert [filters["kind"], single["kind"]] == ["filters", "single weights"]
    assert filters["rung"] == single["rung"] == "one shot"
    assert filters["sparsity"] == script.SHARE
    assert filters["macs"] < 0.6
    assert single["macs"] == pytest.approx(filters["macs"], abs=1e-3)
    assert filters["bytes"] < 0.8
    assert single["bytes"] == pytest.approx(1, abs=1e-6)
    assert filters["dense"] == single["dense"] == 395
    assert channels.shown(filters)[:2] == ("filters", "one shot")
    table = script.table_of([filters, single])
    assert table.row_count == 2
    monkeypatch.setattr(script.onnxprune, "prune", None)
    assert list(islice(script.rows_of(model, 1, tmp_path), 2)) == [filters, single]

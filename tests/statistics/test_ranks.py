"""Several processes that measure together."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onnxprune.errors import LibraryError
from onnxprune.statistics.ranks import Part, Ranks, join_ranks, settle_threads
from tests.forked import Forked, Source
from tests.statistics.several import NAMES

ROOT = Path(__file__).resolve().parents[2]


def together(source: Source, folder: Path, processes: int, *words: str) -> list[int | None]:
    """Measure in some processes, each with one thread, as torchrun would start them."""
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ONNXPRUNE_THREADS": "1"}
    if processes > 1:
        port = str(free_port())
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment |= {"WORLD_SIZE": str(processes), **address}
    started = [
        Forked(
            source,
            [sys.executable, "-m", "tests.statistics.several", str(folder), *words],
            cwd=ROOT,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(processes)
    ]
    return [each.wait(timeout=200) for each in started]


def free_port() -> int:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return int(server.getsockname()[1])
    except OSError as error:
        pytest.skip(f"processes cannot reach each other here: {error}")


def results(folder: Path, rank: int) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(folder / f"{rank}.npz") as arrays:
        return dict(arrays), json.loads((folder / f"{rank}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_two_processes_measure_what_one_does_bit_by_bit(
    tmp_path: Path, precision: str, source: Source
) -> None:
    assert together(source, tmp_path / "one", 1, precision, "none") == [0]
    assert together(source, tmp_path / "two", 2, precision, "none") == [0, 0]
    wanted, facts = results(tmp_path / "one", 0)
    assert facts == {"world": 1, "threads": 1, "shared": "of 0", "error": ""}
    # The bias is multiplied with nothing, so that it is left out where norms are asked for.
    assert len(wanted) == 2 * (2 * len(NAMES) + 1)
    for rank in (0, 1):
        found, facts = results(tmp_path / "two", rank)
        assert facts == {"world": 2, "threads": 1, "shared": "of 0", "error": ""}
        for key, array in wanted.items():
            assert np.array_equal(found[key], array, equal_nan=True), key


@pytest.mark.slow
def test_what_fails_in_another_process_is_told_by_the_first(
    tmp_path: Path, source: Source
) -> None:
    assert together(source, tmp_path / "two", 2, "float64", "5")[0] == 1
    _, facts = results(tmp_path / "two", 0)
    assert facts["error"] == "InputError: the loss of samples 4 to 7 is nan"


def test_parts_add_up() -> None:
    total = Part()
    total.add(Part(2, 1.5, {"w": torch.tensor([1.0, 2.0])}))
    total.add(Part(1, 0.5, {"w": torch.tensor([0.5, 0.0])}))
    assert (total.count, total.loss) == (3, 2.0)
    assert total.tensors["w"].tolist() == [1.5, 2.0]


def test_a_process_by_itself_does_all_the_work() -> None:
    ranks = Ranks()
    total = ranks.total(range(4), lambda number: Part(1, float(number)), {})
    assert (total.count, total.loss) == (4, 6.0)
    assert ranks.leads
    assert ranks.share("mine") == "mine"
    ranks.leave()


@pytest.mark.parametrize("world", ["", "1", "many"])
def test_without_torchrun_there_is_one_process(
    monkeypatch: pytest.MonkeyPatch, world: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", world)
    assert join_ranks(torch.device("cpu")) == Ranks(0, 1, torch.device("cpu"))


def test_processes_that_cannot_meet_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for variable in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(LibraryError) as caught:
        join_ranks(torch.device("cpu"))
    assert caught.value.message.startswith("another process of this run cannot be reached: ")
    assert caught.value.hint == "torchrun reports which one ended, and why"


def test_threads_are_those_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setenv("ONNXPRUNE_THREADS", "2")
        assert settle_threads() == 2 == torch.get_num_threads()
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert settle_threads() == 1 == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)

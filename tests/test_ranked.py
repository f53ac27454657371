"""One command in several processes: what they share out, who speaks, and how they fail."""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as distributed

from onnxprune import ranked
from onnxprune.errors import GateFailed, InputError, LibraryError, LimitError, UsageError
from onnxprune.ranked import ALONE, Company, Dismissed, join
from onnxprune.statistics.sharing import pack_masks, unpack_masks
from tests.cli.started import environment
from tests.conftest import ROOT, Ran
from tests.forked import Forked, Source

SET = ROOT / "calibration" / "digits_calibration.npz"
TORCHRUN = shutil.which("torchrun", path=sysconfig.get_path("scripts"))
EXCHANGE = distributed.is_available() and distributed.is_gloo_available()
together = pytest.mark.skipif(not EXCHANGE, reason="this torch has no gloo")

LOSS = """
import os, signal
import numpy as np
import torch

def cross_entropy(outputs, samples):
    labels = np.load({set!r})["labels"]
    second = np.array_equal(samples["labels"], labels[16:32])
    if os.environ["RANK"] == "1" and {when}:
        {fault}
    return torch.nn.functional.cross_entropy(outputs["logits"], samples["labels"])
"""


Launched = Callable[..., list[Ran]]


@pytest.fixture
def pair() -> Iterator[tuple[Company, Company]]:
    """Two processes' views of one store, without the processes."""
    if not EXCHANGE:
        pytest.skip("this torch has no store to meet in")
    store = distributed.HashStore()
    both = Company(0, 2), Company(1, 2)
    for each in both:
        each._store = store
    yield both
    for each in both:
        each._over.set()


@pytest.fixture
def launched(source: Source) -> Launched:
    """Run a command in several processes, as torchrun would, and return what each left."""

    def run(*words: object, world: int = 2, ranks: Any = None) -> list[Ran]:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        shared = {
            "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        running = [
            forked(source, words, **shared, RANK=str(rank), LOCAL_RANK=str(rank))
            for rank in (range(world) if ranks is None else ranks)
        ]
        return [left(each) for each in running]

    return run


@pytest.fixture
def single(source: Source) -> Callable[..., Ran]:
    """Run a command in one process, with as many threads as one of several has."""

    def run(*words: object) -> Ran:
        return left(forked(source, words, ONNXPRUNE_THREADS="1"))

    return run


def forked(source: Source, words: Sequence[object], **variables: str) -> Forked:
    return Forked(
        source,
        [sys.executable, "-m", "onnxprune", *map(str, words)],
        env=environment(**variables),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left(child: Forked) -> Ran:
    out, err = child.communicate(timeout=240)
    return Ran(child.wait(), out, err)


def measuring(model: Path, output: Path, *words: object) -> list[object]:
    """Spell a pruning that measures four batches a step."""
    how = ["--batch", 16, "--batches-per-step", 4, "--no-latency"]
    return [model, "-s", 0.9, "-d", SET, "-o", output, *how, *words]


def untimed(value: Any) -> Any:
    """Return a report without what differs from run to run."""
    if isinstance(value, dict):
        kept = {name: untimed(each) for name, each in value.items()}
        return {name: kept[name] for name in kept if name != "seconds"}
    return [untimed(each) for each in value] if isinstance(value, list) else value


def test_one_process_does_all_pieces_in_order() -> None:
    found = ALONE.share_out([4, 2, 7], lambda number: number * number)
    assert list(found) == [(4, 16), (2, 4), (7, 49)]


def test_pieces_are_shared_out_and_come_to_the_leading_process(
    pair: tuple[Company, Company],
) -> None:
    leading, other = pair
    helped = threading.Event()
    done: dict[int, list[int]] = {0: [], 1: []}
    left: list[Any] = []

    def lead(number: int) -> int:
        helped.wait(20)
        done[0].append(number)
        return number * number

    def help_out(number: int) -> int:
        done[1].append(number)
        helped.set()
        return number * number

    # What the other process takes for the list of pieces is the leading one's.
    thread = threading.Thread(target=lambda: left.extend(other.share_out([99], help_out)))
    thread.start()
    found = list(leading.share_out([3, 5, 7, 8], lead))
    thread.join()
    assert sorted(found) == [(3, 9), (5, 25), (7, 49), (8, 64)]
    assert sorted(done[0] + done[1]) == [3, 5, 7, 8]
    assert done[1]
    assert not left


def test_orders_come_one_after_the_other_until_there_are_no_more(
    pair: tuple[Company, Company],
) -> None:
    leading, other = pair
    for order in ("first", ("second", 2), None):
        leading.order(order)
    assert list(other.orders()) == ["first", ("second", 2)]


def test_the_leading_process_ends_with_the_error_of_another(
    pair: tuple[Company, Company],
) -> None:
    leading, other = pair
    assert other.part(InputError("sample 3 is damaged", "leave it out"), 3) == 0
    assert other.part(LimitError("too large"), 5) == 0
    with pytest.raises(InputError) as found:
        list(leading.share_out([1], lambda number: number))
    # Of several errors the first counts.
    assert (found.value.message, found.value.hint) == ("sample 3 is damaged", "leave it out")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TypeError("not\nthis"), "process 1 ended with TypeError: not this"),
        (MemoryError(), "process 1 needs more memory than there is"),
    ],
)
def test_errors_of_any_kind_are_told_in_one_line(
    error: BaseException, told: str, pair: tuple[Company, Company]
) -> None:
    leading, other = pair
    other.part(error, 1)
    with pytest.raises((LibraryError, LimitError)) as found:
        leading.refuse_failed()
    assert found.value.message == told


def test_the_others_are_dismissed_when_the_leading_process_fails(
    pair: tuple[Company, Company],
) -> None:
    leading, other = pair
    assert leading.part(GateFailed("too much was lost"), 10) == 10
    with pytest.raises(Dismissed):
        next(other.orders())
    assert other.part(Dismissed(), 0) == 0


@pytest.mark.parametrize(
    ("rank", "code", "left"), [(0, 3, 3), (1, 3, 0), (0, 143, 143), (1, 143, 143), (1, 0, 0)]
)
def test_only_an_interrupt_is_an_exit_code_of_other_processes(
    rank: int, code: int, left: int, pair: tuple[Company, Company]
) -> None:
    assert pair[rank].part(UsageError("wrong"), code) == left


def test_a_process_that_falls_silent_is_not_waited_for(
    pair: tuple[Company, Company], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranked, "SILENCE", 0.1)
    pair[0]._store.add("taken", 1)
    with pytest.raises(LibraryError) as found:
        list(pair[0].share_out([1], lambda number: number))
    assert found.value.message == "process 1 of this run gave no sign of life for 0.1 s"
    assert found.value.hint == "torchrun reports which process ended, and why"


def test_a_process_that_gives_signs_of_life_is_waited_for(
    pair: tuple[Company, Company], monkeypatch: pytest.MonkeyPatch
) -> None:
    leading, other = pair
    monkeypatch.setattr(ranked, "SILENCE", 0.5)
    monkeypatch.setattr(ranked, "BEAT", 0.01)
    living = threading.Thread(target=other._live)
    living.start()

    def work(number: int) -> int:
        threading.Event().wait(1.5)
        return -number

    helping = threading.Thread(target=lambda: list(other.share_out([], work)))
    leading._store.add("taken", 1)
    leading._store.add("taken", -1)
    helping.start()
    found = dict(leading.share_out([1, 2, 3], lambda number: -number))
    helping.join()
    other._over.set()
    living.join()
    assert found == {1: -1, 2: -2, 3: -3}


@together
def test_a_process_that_never_comes_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in (place | {"RANK": "0", "WORLD_SIZE": "2"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ranked, "MEETING", timedelta(seconds=1))
    with pytest.raises(LibraryError, match="another process of this run cannot be reached: "):
        Company(0, 2).meet()


@pytest.mark.parametrize(
    ("variables", "rank", "world"),
    [
        ({"RANK": "2", "WORLD_SIZE": "4"}, 2, 4),
        ({"RANK": "0", "WORLD_SIZE": "1"}, 0, 1),
        ({"RANK": "", "WORLD_SIZE": "4"}, 0, 1),
        ({"RANK": "1", "WORLD_SIZE": "many"}, 0, 1),
        ({}, 0, 1),
    ],
)
def test_who_there_is_stands_in_the_environment(
    variables: dict[str, str], rank: int, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "OMP_NUM_THREADS": "3"}
    monkeypatch.setattr(os, "environ", place | variables)
    monkeypatch.setattr(ranked, "_current", ContextVar("company", default=ALONE))
    found = join()
    assert (found.rank, found.world) == (rank, world)
    assert ranked.company() is found
    # What torchrun says of threads holds for ONNX Runtime, too.
    assert os.environ.get("ONNXPRUNE_THREADS") == ("3" if world > 1 else None)


def test_masks_are_sent_as_bits() -> None:
    masks = {"a": np.arange(13) % 3 == 0, "b": np.zeros(0, bool)}
    packed = pack_masks(masks)
    assert [bits.nbytes for bits, _ in packed.values()] == [2, 0]
    found = unpack_masks(packed)
    assert {path: mask.tolist() for path, mask in found.items()} == {
        path: mask.tolist() for path, mask in masks.items()
    }


def test_the_package_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "onnxprune", "--version"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("onnxprune ")


@pytest.mark.parametrize("words", [["--help"], ["inspect", "DIGITS"], ["DIGITS", "-s", "0.5"]])
def test_without_anything_to_share_the_others_leave_at_once(
    words: list[str], digits: Path, launched: Launched
) -> None:
    # There is no leading process: whoever waited for it would not come back.
    words = [str(digits) if word == "DIGITS" else word for word in words]
    assert launched(*words, ranks=[1]) == [Ran(0, "", "")]


@together
@pytest.mark.slow
@pytest.mark.skipif(TORCHRUN is None, reason="torchrun is not installed here")
def test_torchrun_prunes_as_one_process_does(
    digits: Path, tmp_path: Path, single: Callable[..., Ran]
) -> None:
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    how = ["-m", "force", "--steps", 4, "--json"]
    alone = single(*measuring(digits, one, *how))
    assert alone.code == 0, alone.err
    words = [TORCHRUN, "--standalone", "--nproc-per-node", 2, "-m", "onnxprune"]
    done = subprocess.run(
        [*map(str, words), *map(str, measuring(digits, two, *how))],
        env=environment(OMP_NUM_THREADS="1"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert one.read_bytes() == two.read_bytes()
    first, second = json.loads(alone.out), json.loads(done.stdout)
    assert second["calibration"] == first["calibration"] | {"processes": 2}
    assert second["warnings"] == first["warnings"]
    assert second["tensors"] == first["tensors"]


@together
@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "world"), [("grasp", 2), ("quadratic --steps 2 --curvature mc", 3)]
)
def test_the_number_of_processes_changes_no_mask(
    method: str,
    world: int,
    digits: Path,
    tmp_path: Path,
    launched: Launched,
    single: Callable[..., Ran],
) -> None:
    one, many = tmp_path / "one.onnx", tmp_path / "many.onnx"
    how = ["-q", "-m", *method.split()]
    assert single(*measuring(digits, one, *how)) == Ran(0, "", "")
    left = launched(*measuring(digits, many, *how), world=world)
    assert left == [Ran(0, "", "")] * world
    assert one.read_bytes() == many.read_bytes()


@together
@pytest.mark.slow
def test_a_search_measures_in_all_processes(
    digits: Path, tmp_path: Path, launched: Launched, single: Callable[..., Ran]
) -> None:
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    how = ["-d", SET, "-m", "snip", "--max-drop", "0.05", "--resolution", "0.1", "-q"]
    assert single("search", digits, *how, "-o", one) == Ran(0, "", "")
    assert launched("search", digits, *how, "-o", two) == [Ran(0, "", "")] * 2
    assert one.read_bytes() == two.read_bytes()


@together
@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["sweep", "--methods", "lamp,snip", "--sparsities", "0.5,0.9"],
        ["sensitivity", "--sparsities", "0.5,0.9"],
    ],
)
def test_studies_are_those_of_one_process(
    words: list[str],
    digits: Path,
    tmp_path: Path,
    launched: Launched,
    single: Callable[..., Ran],
) -> None:
    command, *rest = words
    journal = tmp_path / "points.json"
    how = [*rest, "-d", SET, "--no-latency", "--json", "--journal", journal]
    alone = single(command, digits, *how)
    assert alone.code == 0, alone.err
    first, second = launched(command, digits, *how)
    assert (first.code, first.err) == (0, "")
    assert untimed(json.loads(first.out)) == untimed(json.loads(alone.out))
    assert second == Ran(0, "", "")
    assert not journal.exists()


FAULTS = {
    "raises": (
        "True",
        'raise ValueError("first\\nsecond")',
        [2, 0],
        "onnxprune: error: loss loss.py:cross_entropy failed: ValueError: first second\n",
    ),
    "dies": (
        "second",
        "os.kill(os.getpid(), signal.SIGKILL)",
        [9, -9],
        "onnxprune: error: {model}: another process of this run has ended, or does not"
        " answer; torchrun reports which process ended, and why\n",
    ),
    "exhausts memory": (
        "second",
        "raise MemoryError",
        [5, 0],
        "onnxprune: error: {model}: samples 16 to 31: out of memory; --batch 1 needs the"
        " least\n",
    ),
}


@together
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_leading_process_says_in_one_line_what_went_wrong_in_another(
    fault: str, digits: Path, tmp_path: Path, launched: Launched
) -> None:
    when, code, codes, said = FAULTS[fault]
    loss = tmp_path / "loss.py"
    loss.write_text(LOSS.format(set=str(SET), when=when, fault=code))
    output = tmp_path / "o.onnx"
    own = ["-m", "snip", "--loss", f"{loss}:cross_entropy"]
    left = launched(*measuring(digits, output, *own))
    assert [each.code for each in left] == codes
    assert [each.err for each in left] == [said.format(model=digits), ""]
    assert [each.out for each in left] == ["", ""]
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["loss.py"]


@together
@pytest.mark.slow
def test_a_failed_gate_leaves_nothing_and_ends_all(
    digits: Path, tmp_path: Path, launched: Launched
) -> None:
    how = ["-m", "grasp", "--max-drop", "0.01", "-q"]
    first, second = launched(*measuring(digits, tmp_path / "o.onnx", *how))
    assert first.code == 10
    assert first.err.startswith("onnxprune: error: accuracy fell by ")
    assert first.err.count("\n") == 1
    assert second == Ran(0, "", "")
    assert not list(tmp_path.iterdir())

"""Files of torch's through the command line: nothing in them runs that the user did not trust."""

import json
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from onnxprune.bounds import limiting
from onnxprune.errors import InputError, LibraryError, LimitError, OnnxpruneError
from onnxprune.formats import torch_surveying
from onnxprune.formats.trust import require_trust, trusting
from tests.conftest import Ran
from tests.formats import torch_nets as nets
from tests.formats.torch_made import (
    Calls,
    Fails,
    Restores,
    called,
    entry_of,
    header_of,
    overwritten,
    plain,
    repacked,
    script,
    tensor,
    whole,
    zipped,
)
from tests.torchscript.nets import loaded

Run = Callable[..., Ran]
ROWS = torch.ones(1, 4)
FULL = ["-s", "0.5", "--no-verify"]
CANARY = Path("canary")
TRUST = "is a program, and to load it is to run it: it could do anything; --trust-model"


class Nested(nn.Module):
    """A weight of its own, and a module that runs code when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 8)
        self.inner = Restores()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(x))


def good(path: Path) -> Path:
    return nets.traced(path, nn.Linear(4, 8), ROWS)


def program(path: Path) -> Path:
    return nets.program(path, nn.Linear(4, 8), ROWS)


def checkpoint(path: Path) -> None:
    torch.save({"w": torch.zeros(4, 8)}, path)


def cut(path: Path) -> None:
    content = good(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def too_large(path: Path) -> None:
    checkpoint(path)
    with zipfile.ZipFile(path) as z:
        data = z.read("model/data.pkl")
    assert data.count(b"K\x04K\x08\x86") == 1
    repacked(path, {"data.pkl": data.replace(b"K\x04K\x08\x86", b"M\xff\xffK\x08\x86")})


def bomb(path: Path) -> None:
    """Say that a storage unpacks to a gigabyte; that it would is of no matter."""
    values = tensor((1 << 26, 4), (4, 1), values=plain(None))
    members = {"m/data.pkl": whole(b"}", plain("w"), values, b"s"), "m/data/0": bytes(99)}
    made = zipped(members, zipfile.ZIP_DEFLATED)
    size = (1 << 30).to_bytes(4, "little")
    made = overwritten(made, entry_of(made, "m/data/0") + 24, size)
    path.write_bytes(overwritten(made, header_of(made, "m/data/0") + 22, size))


def with_call(make: Callable[[Path], object], member: str) -> Callable[[Path], None]:
    """Let a pickle in a good file make the canary."""

    def write(path: Path) -> None:
        make(path)
        repacked(path, {member: pickle.dumps({"x": Calls(open, str(CANARY), "w")}, 2)})

    return write


def damaged(path: Path) -> None:
    content = good(path).read_bytes()
    path.write_bytes(overwritten(content, content.index(b"_rebuild_tensor_v2"), b"\n"))


CASES: dict[str, tuple[str, Callable[[Path], object], int, str]] = {
    "s_ok": ("model.pt", good, 4, f"TorchScript {TRUST}"),
    "s_trunc": ("model.pt", cut, 3, "not a whole zip archive; is the download complete?"),
    "s_setstate_loop": (
        "model.pt",
        lambda path: nets.scripted(path, Restores()),
        4,
        f"TorchScript {TRUST}",
    ),
    "s_statedict": (
        "model.pt",
        checkpoint,
        6,
        "a checkpoint: tensors without a graph; load them into their model, and export that to"
        " ONNX",
    ),
    "s_module": (
        "model.pt",
        lambda path: torch.save(nn.Linear(4, 8), path),
        4,
        "calls torch.nn.modules.linear.Linear: refused, for it could do anything; export",
    ),
    "s_pickle_call": (
        "model.pt",
        lambda path: torch.save({"w": ROWS, "x": Calls(open, str(CANARY), "w")}, path),
        4,
        "calls io.open: refused",
    ),
    "a shell": (
        "model.pt",
        lambda path: torch.save(Calls(os.system, f"touch {CANARY}"), path),
        4,
        "calls posix.system: refused",
    ),
    "s_rawpickle": (
        "model.pt",
        lambda path: path.write_bytes(pickle.dumps({"x": Calls(open, str(CANARY), "w")})),
        4,
        "a Python pickle: refused",
    ),
    "an old checkpoint": (
        "model.pt",
        lambda path: torch.save({"w": ROWS}, path, _use_new_zipfile_serialization=False),
        4,
        "a Python pickle: refused",
    ),
    "s_badstride": ("model.pt", too_large, 3, "a tensor is larger than its storage of 32"),
    "s_zipbomb": ("model.pt", bomb, 5, "the archive unpacks to 1,073,741,"),
    "s_export": ("model.pt2", program, 4, f"an exported program {TRUST}"),
    "a script that calls": (
        "model.pt",
        with_call(good, "data.pkl"),
        4,
        "a pickle in it calls io.open: refused",
    ),
    "constants that call": (
        "model.pt",
        with_call(good, "constants.pkl"),
        4,
        "a pickle in it calls io.open: refused",
    ),
    "a program with a pickle": (
        "model.pt2",
        with_call(program, "data/sample_inputs/model.pt"),
        4,
        f"an exported program {TRUST}",
    ),
    "a name above": (
        "model.pt",
        lambda path: path.write_bytes(zipped({"m/../../x": b"", "m/data.pkl": b"."})),
        4,
        "a member of the archive has a name that leaves it",
    ),
    "damaged": ("model.pt", damaged, 3, "'data.pkl' in the archive is damaged"),
    "nested": (
        "model.pt",
        lambda path: path.write_bytes(zipped({"m/data.pkl": whole(b"]" * 300 + b"a" * 299)})),
        5,
        "the objects in a pickle of the archive are nested too deep",
    ),
    "control characters": (
        "model.pt",
        lambda path: path.write_bytes(
            zipped({"m/data.pkl": whole(called("a\x1b[31m\r.\x07b" + "c" * 9000))})
        ),
        4,
        "a pickle in it calls ",
    ),
    "arrays under .pt": (
        "model.pt",
        lambda path: path.write_bytes(zipped({"a.npy": b"\x93NUMPY"})),
        3,
        "a zip archive, but none that torch wrote a model to",
    ),
    "no bytes": ("model.pt", lambda path: path.touch(), 3, "the file is empty"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_refused(ran: Ran, code: int, message: str) -> None:
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert ran.err.startswith("onnxprune: error: model.pt")
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert ran.err.endswith("\n")
    assert not ran.err.endswith(".\n")
    assert len(ran.err) < 700
    assert ran.err[:-1].isprintable()


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_has_its_exit_code_and_one_line(case: str, run: Run, place: Path) -> None:
    name, write, code, message = CASES[case]
    write(Path(name))
    before = files(place)
    start = time.perf_counter()
    for words in (
        [name, *FULL],
        ["inspect", name],
    ):
        check_refused(run(*words), code, message)
    assert time.perf_counter() - start < 10
    assert files(place) == before
    assert not CANARY.exists()


@pytest.mark.parametrize(
    "case", [name for name, (_, _, _, message) in CASES.items() if TRUST not in message]
)
def test_trust_makes_no_bad_file_good(
    case: str, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("torch was asked")

    monkeypatch.setattr(torch_surveying, "ask", never)
    name, write, code, message = CASES[case]
    write(Path(name))
    before = files(place)
    check_refused(run(name, *FULL, "--trust-model"), code, message)
    assert files(place) == before
    assert not CANARY.exists()


def test_a_trusted_script_is_pruned_in_place(run: Run, place: Path) -> None:
    good(Path("model.pt"))
    before = Path("model.pt").read_bytes()
    ran = run("model.pt", "-s", "0.5", "--trust-model", "-o", "out.pt", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert [each["zeros"] for each in json.loads(ran.out)["tensors"]] == [16]
    assert Path("model.pt").read_bytes() == before
    module = loaded(Path("out.pt"))
    assert int((module.weight == 0).sum()) == 16
    with zipfile.ZipFile("out.pt") as z:
        assert z.testzip() is None


def test_a_trusted_program_is_pruned_in_place(run: Run, place: Path) -> None:
    program(Path("model.pt2"))
    ran = run("model.pt2", *FULL, "--trust-model", "-o", "out.pt2")
    assert (ran.code, ran.err) == (0, "")
    pruned = torch.export.load("out.pt2")
    assert int((pruned.state_dict["weight"] == 0).sum()) == 16
    assert {path.name for path in place.iterdir()} == {"model.pt2", "out.pt2"}


@pytest.mark.usefixtures("forked")
def test_what_a_trusted_file_prints_is_no_part_of_the_report(run: Run, place: Path) -> None:
    nets.scripted(Path("model.pt"), Nested())
    ran = run("inspect", "model.pt", "--trust-model", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert [each["name"] for each in json.loads(ran.out)["tensors"]] == ["head.weight"]


@pytest.mark.usefixtures("forked")
def test_a_file_that_fails_while_it_is_loaded_is_refused(run: Run, place: Path) -> None:
    nets.scripted(Path("model.pt"), Fails())
    before = files(place)
    check_refused(run("model.pt", *FULL, "--trust-model"), 3, "torch refuses it: not today")
    assert files(place) == before


@pytest.mark.usefixtures("forked")
def test_trust_ends_with_the_command(run: Run, place: Path) -> None:
    good(Path("model.pt"))
    assert run("inspect", "model.pt", "--trust-model").code == 0
    assert run("inspect", "model.pt").code == 4


def test_content_decides_what_a_file_is(run: Run, place: Path, digits: Path) -> None:
    for name in ("model.pt", "model.PT2"):
        Path(name).write_bytes(digits.read_bytes())
        for more in ([], ["-o", "out.pt"], ["-o", "out.onnx"]):
            ran = run(name, *FULL, *more)
            assert (ran.code, ran.out) == (3, "")
            suffix = Path(name).suffix
            assert f"an ONNX model under a name with {suffix}; rename it to .onnx" in ran.err
    assert {path.name for path in place.iterdir()} == {"model.pt", "model.PT2"}
    Path("model.pt").rename("model.unknown")
    assert run("model.unknown", *FULL).code == 0
    good(Path("model.onnx"))
    assert f"model.onnx: TorchScript {TRUST}" in run("model.onnx", *FULL).err


def test_no_onnx_model_becomes_one_of_torch(run: Run, place: Path, digits: Path) -> None:
    before = files(place)
    for suffix in ("pt", "PTH", "ts", "pt2"):
        ran = run(digits, *FULL, "-o", f"out.{suffix}")
        assert (ran.code, ran.out) == (2, "")
        assert "an ONNX model is written as one; name the output with .onnx" in ran.err
    assert files(place) == before


CHILDREN = {
    "dies": ("os.kill(os.getpid(), signal.SIGSEGV)", LibraryError, "torch died of SIGSEGV"),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", LibraryError, "died of SIGKILL"),
    "dies of an odd signal": ("os.kill(os.getpid(), 40)", LibraryError, "died of signal 40"),
    "ends": ("sys.exit(3)", LibraryError, "torch ended with code 3 on this model"),
    "says nothing": ("", LibraryError, "torch ended with code 0 on this model"),
    "says nonsense": (
        "sys.stdout.buffer.write(bytes(range(256)))",
        LibraryError,
        "torch ended with code 0 on this model",
    ),
    "says half": ("print('{\"uses\": [')", LibraryError, "torch ended with code 0"),
    "objects": (
        'print(\'{"objection": "RuntimeError: no \\\\u001b[31msuch thing"}\')',
        InputError,
        "torch refuses it: no such thing",
    ),
    "objects to nothing": (
        'print(\'{"objection": ""}\')',
        InputError,
        "torch refuses it: no reason given",
    ),
    "never ends": ("time.sleep(99)", LimitError, "torch took more than 1 s on this model"),
}


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a program in the place of the one that loads a file."""

    def put(text: str) -> None:
        made = tmp_path / "elsewhere"
        made.mkdir()
        text = f"import os, signal, sys, time\nopen({str(made / 'pid')!r}, 'w')" + (
            f".write(str(os.getpid()))\n{text}\n"
        )
        (made / "stands_in.py").write_text(text)
        monkeypatch.setattr(torch_surveying, "CHILD", "stands_in")
        monkeypatch.setattr(torch_surveying, "TIMEOUT", 1.0 if "sleep" in text else 60.0)
        monkeypatch.setenv("PYTHONPATH", str(made))

    return put


@pytest.mark.parametrize("case", CHILDREN)
def test_a_child_that_fails_is_an_error_that_says_how(
    case: str, child: Callable[[str], None], tmp_path: Path
) -> None:
    text, kind, message = CHILDREN[case]
    child(text)
    with pytest.raises(OnnxpruneError) as raised:
        torch_surveying.ask("load", tmp_path / "model.pt", False)
    assert type(raised.value) is kind
    assert message in str(raised.value)
    number = int((tmp_path / "elsewhere" / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_child_is_given_what_it_is_to_do(
    child: Callable[[str], None], tmp_path: Path
) -> None:
    child("import json\nprint(json.dumps({'words': sys.argv[1:]}))")
    model = tmp_path / "-x y.pt"
    with limiting(memory_limit="3G"):
        told = torch_surveying.ask("survey", model, True, "more")
    assert told["words"] == [
        str(3 << 30),
        "survey",
        str(model),
        "program",
        "more",
    ]


def test_a_death_of_torch_ends_a_command_with_its_exit_code(
    run: Run, place: Path, child: Callable[[str], None]
) -> None:
    good(Path("model.pt"))
    child("os.kill(os.getpid(), signal.SIGSEGV)")
    ran = run("model.pt", *FULL, "--trust-model")
    check_refused(ran, 9, "model.pt: torch died of SIGSEGV on this model")
    assert not Path("model.pruned.pt").exists()


def test_a_file_that_changes_while_torch_loads_it_is_refused(
    run: Run, place: Path, child: Callable[[str], None]
) -> None:
    good(Path("model.pt"))
    child(
        "open(sys.argv[3], 'ab').write(b'x')\n"
        'print(\'{"uses": [], "inputs": [], "parameters": [], "frozen": false}\')'
    )
    check_refused(run("model.pt", *FULL, "--trust-model"), 3, "changed while it was read")


def test_trust_is_given_for_a_while_and_never_taken_back_within() -> None:
    def trusted() -> bool:
        try:
            require_trust("it")
        except OnnxpruneError as error:
            assert error.exit_code == 4
            return False
        return True

    assert not trusted()
    with trusting(True):
        assert trusted()
        with trusting(False):
            assert trusted()
    with trusting(False):
        assert not trusted()
    assert not trusted()


def test_scripts_are_refused_with_a_sentence_that_says_why(run: Run, place: Path) -> None:
    Path("model.pt").write_bytes(
        zipped(
            {
                "m/data.pkl": whole(script(a=tensor())),
                "m/code/a.py": b"",
                "m/constants.pkl": whole(b")"),
                "m/data/0": bytes(24),
            }
        )
    )
    assert run("model.pt", *FULL).err == (
        "onnxprune: error: model.pt: TorchScript is a program, and to load it is to run it: it"
        " could do anything; --trust-model takes a file whose maker you trust\n"
    )

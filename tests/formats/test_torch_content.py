"""Files of torch's: what is a model and what is none, and where its tensors' values lie."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from onnxprune.errors import (
    InputError,
    LimitError,
    OnnxpruneError,
    UnsafeError,
    UnsupportedError,
)
from onnxprune.formats.onnx_types import STORAGE
from onnxprune.formats.torch_archive import TorchArchive
from onnxprune.formats.torch_content import (
    BITS,
    PROGRAM,
    SCALARS,
    SCRIPT,
    kind_of,
    plain_paths,
)
from onnxprune.formats.torch_pickle import StoredView
from onnxprune.formats.wire import read_exactly
from onnxprune.types import Array
from tests.formats import torch_nets as nets
from tests.formats.torch_made import (
    Attributes,
    Views,
    archive,
    called,
    named,
    plain,
    refusal,
    repacked,
    script,
    script_file,
    static,
    storage,
    table,
    tensor,
    whole,
    zipped,
)

ROWS = torch.ones(1, 4)
WEIGHTS = "data/weights/model_weights_config.json"


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An exported program."""
    made = nets.program(tmp_path_factory.mktemp("program") / "model.pt", Views(), ROWS)
    return made.read_bytes()


def values(opened: TorchArchive, view: StoredView) -> Array:
    """Return what a tensor's view shows, straight from the file."""
    member = opened.members[view.storage.key]
    data = read_exactly(opened.source.descriptor, member.start, member.size)
    stored = np.frombuffer(data, STORAGE[view.storage.kind])[view.offset :]
    strides = tuple(step * stored.itemsize for step in view.stride)
    return np.lib.stride_tricks.as_strided(stored, view.shape, strides).copy()


def check(path: Path, state: dict[str, torch.Tensor], kind: str) -> dict[str, StoredView]:
    """Compare what a file is found to hold with the tensors of its module."""
    found, views = static(path)
    assert found == kind
    with archive(path) as opened:
        for name, tensor in state.items():
            assert np.array_equal(values(opened, views[name]), tensor.numpy()), name
    return views


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return module.state_dict()


@pytest.mark.parametrize("module", [nn.Linear(4, 8), Views()], ids=["linear", "views"])
def test_scripts_and_programs_have_the_tensors_of_their_modules(
    module: nn.Module, path: Path
) -> None:
    module.eval()
    state = state_of(module)
    assert check(nets.traced(path, module, ROWS), state, SCRIPT).keys() == state.keys()
    assert check(nets.scripted(path, module), state, SCRIPT).keys() == state.keys()
    assert check(nets.program(path, module, ROWS), state, PROGRAM).keys() == state.keys()


def test_tensors_of_all_types_are_where_they_are(path: Path) -> None:
    module = nn.Module()
    module.forward = lambda x: x
    for kind in (torch.float32, torch.float64, torch.float16, torch.int8, torch.uint8):
        module.register_buffer(str(kind)[6:], torch.arange(6).reshape(2, 3).to(kind))
    module.register_buffer("short", torch.arange(6.0).to(torch.bfloat16))
    nets.traced(path, module, ROWS)
    state = state_of(module)
    short = state.pop("short").view(torch.uint16)
    views = check(path, state, SCRIPT)
    with archive(path) as opened:
        assert np.array_equal(values(opened, views["short"]), short.numpy())


def test_a_frozen_script_has_its_tensors_among_its_constants(path: Path) -> None:
    module = nn.Linear(4, 8).eval()
    found, views = static(nets.scripted(path, module, frozen=True))
    assert found == SCRIPT
    assert list(views) == ["CONSTANTS.c0", "CONSTANTS.c1"]
    assert {views[each].storage.key for each in views} == {"constants/0", "constants/1"}
    with archive(path) as opened:
        shown = [values(opened, view) for view in views.values()]
    expected = [module.weight.detach().numpy(), module.bias.detach().numpy()]
    assert all(any(np.array_equal(a, b) for b in shown) for a in expected)


def test_tied_and_transposed_tensors_are_views_of_one_storage(path: Path) -> None:
    for made in (nets.scripted(path, Views()), nets.program(path, Views(), ROWS)):
        _, views = static(made)
        assert len({view.storage.key for view in views.values()}) == 1
        assert views["tied.weight"] == views["linear.weight"]
        assert views["turned"].shape == (4, 6)
        assert views["turned"].stride == (1, 4)
        assert (views["rows"].offset, views["rows"].shape) == (8, (2, 4))


@pytest.mark.parametrize("frozen", [False, True])
def test_scripts_with_every_kind_of_attribute_are_scripts(frozen: bool, path: Path) -> None:
    found, views = static(nets.scripted(path, Attributes().eval(), frozen))
    assert found == SCRIPT
    assert len(views) >= 3


def test_numbers_and_truths_are_found_by_path(path: Path) -> None:
    inner = script(training=plain(True), times=plain(2), name=plain("x"), weight=tensor())
    content = script(inner=inner, on=plain(False), rate=plain(0.5), nothing=plain(None))
    with archive(script_file(path, whole(content))) as opened:
        assert set(plain_paths(opened)) == {"inner.times", "on", "rate"}


def test_states_that_are_no_tables_have_no_numbers_with_a_path(path: Path) -> None:
    inner = named("__torch__.Module") + b")\x81" + plain([1, 2]) + b"b"
    with archive(script_file(path, whole(script(inner=inner, on=plain(True))))) as opened:
        assert plain_paths(opened) == ["on"]


def npz(array: Array) -> bytes:
    target = io.BytesIO()
    np.savez(target, a=array)
    return target.getvalue()


def save(value: Callable[[], object], **options: Any) -> Callable[[Path], object]:
    return lambda path: torch.save(value(), path, **options)


NONE: dict[str, tuple[Callable[[Path], object], type[OnnxpruneError], str]] = {
    "a checkpoint": (
        save(lambda: state_of(nn.Linear(4, 8))),
        UnsupportedError,
        "a checkpoint: tensors without a graph",
    ),
    "a checkpoint with more": (
        save(lambda: {"model": state_of(nn.Linear(4, 8)), "epoch": 3, "type": torch.half}),
        UnsupportedError,
        "a checkpoint",
    ),
    "a checkpoint of small floats": (
        save(lambda: {"a": torch.zeros(2).to(torch.float8_e5m2), "b": [1.5]}),
        UnsupportedError,
        "a checkpoint",
    ),
    "an empty checkpoint": (save(dict), UnsupportedError, "a checkpoint"),
    "a module": (
        save(lambda: nn.Linear(4, 8)),
        UnsafeError,
        "a pickle in it calls torch.nn.modules.linear.Linear: refused",
    ),
    "a module in a table": (
        save(lambda: {"model": nn.Linear(4, 8)}),
        UnsafeError,
        "calls torch.nn.modules.linear.Linear",
    ),
    "a tensor": (save(lambda: torch.ones(3)), UnsafeError, "a pickled object: refused"),
    "a list": (save(lambda: [torch.ones(3)]), UnsafeError, "a pickled object: refused"),
    "a zip": (
        lambda path: path.write_bytes(zipped({"a.txt": b"text"})),
        InputError,
        "a zip archive, but none that torch wrote a model to",
    ),
    "an empty zip": (lambda path: path.write_bytes(zipped({})), InputError, "a zip archive"),
    "arrays": (
        lambda path: path.write_bytes(npz(np.ones(3))),
        InputError,
        "a zip archive, but none that torch",
    ),
    "a document": (
        lambda path: path.write_bytes(
            zipped({"[Content_Types].xml": b"", "word/document.xml": b""})
        ),
        InputError,
        "a zip archive, but none that torch",
    ),
    "an older program": (
        lambda path: path.write_bytes(
            zipped({"serialized_exported_program.json": b"{}", "version": b"5.1"})
        ),
        UnsupportedError,
        "an exported program in the form of an older torch",
    ),
    "another format of archives": (
        lambda path: path.write_bytes(zipped({"m/archive_format": b"pt3"})),
        InputError,
        "a zip archive, but none that torch",
    ),
    "a long name of a format": (
        lambda path: path.write_bytes(zipped({"m/archive_format": b"pt2" * 99})),
        LimitError,
        "'archive_format' in the archive takes 297 bytes",
    ),
    "numbers of another machine": (
        lambda path: script_file(path, whole(script()), byteorder=b"big"),
        UnsupportedError,
        "its numbers are big-endian",
    ),
    "a checkpoint without its values": (
        lambda path: path.write_bytes(zipped({"m/data.pkl": whole(table(a=tensor()))})),
        InputError,
        "'data/0' is missing in the archive",
    ),
    "a script without its values": (
        lambda path: script_file(path, whole(script(a=tensor(values=storage("9"))))),
        InputError,
        "'data/9' is missing in the archive",
    ),
    "too few values": (
        lambda path: script_file(path, whole(script(a=tensor())), **{"data/0": bytes(23)}),
        InputError,
        "a tensor is larger than its storage: 'data/0' has 23 bytes, 6 values of type FLOAT"
        " need more",
    ),
    "too few large values": (
        lambda path: script_file(path, whole(script(a=tensor(values=storage(kind="Double"))))),
        InputError,
        "6 values of type DOUBLE need more",
    ),
    "no values among constants": (
        lambda path: script_file(path, whole(script()), **{"constants.pkl": whole(tensor())}),
        InputError,
        "'constants/0' is missing",
    ),
    "a call among constants": (
        lambda path: script_file(
            path, whole(script()), **{"constants.pkl": whole(called("os.system"))}
        ),
        UnsafeError,
        "calls os.system",
    ),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_model_is_refused_with_what_it_is(name: str, path: Path) -> None:
    write, kind, message = NONE[name]
    write(path)
    error = refusal(path)
    assert type(error) is kind
    assert message in str(error)
    if kind is UnsupportedError or kind is UnsafeError:
        assert error.hint or "big-endian" in error.message


def test_a_checkpoint_in_the_old_form_is_no_archive(path: Path) -> None:
    torch.save({"a": ROWS}, path, _use_new_zipfile_serialization=False)
    assert str(refusal(path)) == "not a whole zip archive"


def test_types_have_the_numbers_that_torch_gives_them() -> None:
    from torch._export.serde.schema import ScalarType

    names = {1: "BYTE", 2: "CHAR", 3: "SHORT", 4: "INT", 5: "LONG", 6: "HALF"}
    names |= {10: "COMPLEXFLOAT", 11: "COMPLEXDOUBLE", 33: "FLOAT8E8M0FNU"}
    for number, name in SCALARS.items():
        assert ScalarType(number).name in (name, names.get(number))
    assert set(STORAGE) <= set(BITS)
    for kind in STORAGE:
        assert np.dtype(STORAGE[kind]).itemsize * 8 == BITS[kind]


def with_table(path: Path, content: bytes, change: Callable[[Any], object]) -> Path:
    """Write a program whose table of weights was changed."""
    path.write_bytes(content)
    with zipfile.ZipFile(path) as z:
        made = json.loads(z.read(f"model/{WEIGHTS}"))
    changed = change(made)
    data = changed if isinstance(changed, bytes) else json.dumps(changed or made).encode()
    repacked(path, {WEIGHTS: data})
    return path


def entry(**fields: Any) -> Callable[[Any], None]:
    """Change one entry, or what it says of its tensor."""

    def change(made: Any) -> None:
        weight = made["config"]["linear.weight"]
        for name, value in fields.items():
            (weight if name in weight else weight["tensor_meta"])[name] = value

    return change


def ints(*numbers: object) -> list[dict[str, object]]:
    return [{"as_int": each} for each in numbers]


def of(offset: object) -> dict[str, object]:
    return {"as_int": offset}


DAMAGED: dict[str, Callable[[Any], object]] = {
    "no JSON": lambda made: b"{",
    "no text": lambda made: b"\xff\xfe\xfd",
    "nothing": lambda made: b"",
    "nested": lambda made: b"[" * 200_000,
    "a list": lambda made: [1],
    "a number": lambda made: 7,
    "without entries": lambda made: {"other": 1},
    "a list of entries": lambda made: {"config": [1]},
    "an entry of nothing": lambda made: {"config": {"a": None}},
    "an entry of text": lambda made: {"config": {"a": "text"}},
    "no path": lambda made: made["config"]["linear.weight"].pop("path_name") and None,
    "a description of nothing": entry(tensor_meta=0),
    "no sizes": entry(sizes=None),
    "sizes without numbers": entry(sizes=[1, 2]),
    "sizes by name": entry(sizes=[{"as_expr": "s0"}, {"as_int": 1}]),
    "endless sizes": entry(sizes=ints(float("inf"), 4)),
    "no numbers": entry(sizes=ints(float("nan"), 4)),
    "negative sizes": entry(sizes=ints(-6, 4)),
    "negative strides": entry(strides=ints(-4, 1)),
    "a negative offset": entry(storage_offset=of(-1)),
    "an endless offset": entry(storage_offset=of(float("inf"))),
    "no offset": entry(storage_offset=None),
    "too few strides": entry(strides=ints(1)),
    "an endless type": entry(dtype=float("inf")),
    "no type": entry(dtype=None),
    "a number of many digits": lambda made: b'{"config": {"a": ' + b"9" * 9999 + b"}}",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_of_a_program_is_refused(
    name: str, path: Path, program: bytes
) -> None:
    error = refusal(with_table(path, program, DAMAGED[name]))
    assert type(error) is InputError
    assert error.message == f"'{WEIGHTS}' in the archive is damaged"


LARGER: dict[str, tuple[Callable[[Any], object], str]] = {
    "sizes": (entry(sizes=ints(7, 4)), "28 values of type FLOAT need more"),
    "strides": (entry(strides=ints(5, 1)), "29 values of type FLOAT need more"),
    "an offset": (entry(storage_offset=of(1)), "25 values of type FLOAT need more"),
    "huge sizes": (entry(sizes=ints(10**4000, 1)), "need more"),
    "a larger type": (entry(dtype=8), "24 values of type DOUBLE need more"),
    "another member": (entry(path_name="weight_9"), "'data/weights/weight_9' is missing"),
    "a member above": (entry(path_name="../../../x"), "'data/weights/../../../x' is missing"),
}


@pytest.mark.parametrize("name", LARGER)
def test_a_table_that_says_more_than_there_is_is_refused(
    name: str, path: Path, program: bytes
) -> None:
    change, message = LARGER[name]
    error = refusal(with_table(path, program, change))
    assert type(error) is InputError
    assert message in error.message


def test_what_a_program_keeps_as_pickles_is_not_looked_at(path: Path, program: bytes) -> None:
    _, views = static(with_table(path, program, entry(use_pickle=True)))
    assert "linear.weight" not in views
    assert "tied.weight" in views


def test_a_program_without_tables_has_no_tensors(path: Path, program: bytes) -> None:
    path.write_bytes(program)
    repacked(path, {WEIGHTS: None, "data/constants/model_constants_config.json": None})
    assert static(path) == (PROGRAM, {})


def test_the_program_decides_where_an_archive_is_both(path: Path) -> None:
    script_file(path, whole(script(a=tensor())), archive_format=b"pt2")
    with archive(path) as opened:
        assert kind_of(opened) == PROGRAM


def test_scripts_are_told_before_their_pickles_are_read(path: Path) -> None:
    with archive(script_file(path, whole(called("os.system")))) as opened:
        assert kind_of(opened) == SCRIPT
    assert isinstance(refusal(path), UnsafeError)


def test_values_of_a_type_that_nothing_is_known_of_are_not_measured(path: Path) -> None:
    content = whole(script(a=tensor(values=storage(kind="QInt8", size=10**9))))
    _, views = static(script_file(path, content))
    assert views["a"].storage.kind == "QINT8"


def test_a_pickle_too_large_to_be_one_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchArchive.read, "__defaults__", (20,))
    script_file(path, whole(script(a=tensor())))
    error = refusal(path)
    assert type(error) is LimitError
    assert error.message.startswith("'data.pkl' in the archive takes ")


def test_checksums_of_pickles_are_checked(path: Path) -> None:
    script_file(path, whole(script(a=tensor())))
    content = path.read_bytes()
    (crc,) = struct.unpack_from("<I", content, 14)
    assert content.count(struct.pack("<I", crc)) == 2
    path.write_bytes(content.replace(struct.pack("<I", crc), b"\0\0\0\0"))
    assert str(refusal(path)) == "'data.pkl' in the archive is damaged"

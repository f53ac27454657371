"""Pickles: what is taken from them, and that nothing in them runs, hangs or takes all memory."""

import os
import pickle
import random
import struct
import time
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from onnxprune.errors import InputError, LimitError, OnnxpruneError, UnsafeError
from onnxprune.formats import torch_pickle
from onnxprune.formats.torch_pickle import Scripted, Storage, StoredView, unpickle, views
from tests.formats import torch_nets as nets
from tests.formats.torch_made import (
    Attributes,
    Calls,
    Quantized,
    Restores,
    called,
    damaged,
    named,
    plain,
    row,
    script,
    storage,
    table,
    tensor,
    whole,
)

VIEW = StoredView(Storage("data/0", "FLOAT", 6), 0, (2, 3), (3, 1))


def read(data: bytes) -> Any:
    return unpickle(data, "data")


def paths(data: bytes) -> list[str]:
    return [path for path, _ in views(read(data))]


def saved(folder: Path, value: object, **options: Any) -> bytes:
    """Return the pickle that torch.save makes of an object."""
    torch.save(value, folder / "saved.pt", **options)
    return member(folder / "saved.pt")


def member(path: Path, name: str = "data.pkl") -> bytes:
    with zipfile.ZipFile(path) as z:
        return z.read(f"{path.stem}/{name}")


def scripted(folder: Path, module: torch.nn.Module) -> dict[str, StoredView]:
    return dict(views(read(member(nets.scripted(folder / "model.pt", module)))))


def refused(data: bytes) -> OnnxpruneError | None:
    """Return the error that a pickle is refused with; any other exception is a failure."""
    try:
        for _ in views(read(data)):
            pass
    except OnnxpruneError as error:
        return error
    return None


def test_a_tensor_is_a_view_of_a_storage() -> None:
    assert read(whole(tensor())) == VIEW
    turned = tensor((3, 2), (1, 3), values=storage("seven", 9, "Half"))
    assert read(whole(turned)) == StoredView(
        Storage("data/seven", "FLOAT16", 9), 0, (3, 2), (1, 3)
    )
    assert read(whole(tensor((2,), (2,), 1))).offset == 1
    assert read(whole(tensor((), (), 5))).shape == ()
    assert read(whole(tensor((0, 7), (7, 1), 6))).shape == (0, 7)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Float", "FLOAT"),
        ("Double", "DOUBLE"),
        ("Half", "FLOAT16"),
        ("BFloat16", "BFLOAT16"),
        ("Long", "INT64"),
        ("Int", "INT32"),
        ("Short", "INT16"),
        ("Char", "INT8"),
        ("Byte", "UINT8"),
        ("Bool", "BOOL"),
        ("UInt16", "UINT16"),
        ("ComplexDouble", "COMPLEX128"),
        ("Float8_e4m3fn", "FLOAT8E4M3FN"),
        ("Float8_e5m2fnuz", "FLOAT8E5M2FNUZ"),
        ("QInt8", "QINT8"),
    ],
)
def test_types_have_the_names_of_onnx(kind: str, name: str) -> None:
    assert read(whole(storage(kind=kind))).kind == name


def test_tensors_are_found_wherever_they_are() -> None:
    inner = script(weight=tensor(), training=plain(True), name=plain("x"))
    listed = called("torch.jit._pickle.build_tensorlist", row(tensor(), tensor()))
    content = script(
        inner=inner,
        listed=listed,
        table=table(a=tensor(), b=row(tensor())),
        weight=called("torch._utils._rebuild_parameter", tensor(), plain(True), b"}"),
        tagged=called("torch.jit._pickle.restore_type_tag", row(tensor()), plain("T")),
    )
    assert paths(whole(content)) == [
        "inner.weight",
        "listed.0",
        "listed.1",
        "table.a",
        "table.b.0",
        "weight",
        "tagged.0",
    ]
    assert paths(whole(tensor())) == [""]
    assert paths(whole(row(tensor(), tensor()))) == ["0", "1"]


def test_what_is_put_aside_is_found_under_all_its_paths() -> None:
    shared = script(weight=tensor()) + b"q\x05"
    assert paths(whole(script(one=shared, other=b"h\x05"))) == ["one.weight", "other.weight"]


def test_states_that_are_no_tables_are_taken(tmp_path: Path) -> None:
    assert list(scripted(tmp_path, Restores())) == ["0"]
    assert list(scripted(tmp_path, Quantized())) == ["linear._packed_params._packed_params.1"]


def test_attributes_of_all_kinds_are_taken(tmp_path: Path) -> None:
    assert scripted(tmp_path, Attributes()).keys() == {
        "linear.weight",
        "linear.bias",
        "listed.0",
        "listed.1",
        "table.a",
        "numbered.4",
        "small",
        "empty",
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_checkpoints_of_every_protocol_are_taken(protocol: int, tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    content = OrderedDict(a=base, b=base.t(), c=[base[1], {"d": base[:, 2]}], e=base[:0])
    content |= {1: (None, 1.5, 2**40, -3, b"bytes", "text", 10**30)}
    content["dtype"], content["size"] = torch.float16, base.shape
    content["nested"] = OrderedDict(w=torch.nn.Parameter(base.half()))
    data = saved(tmp_path, content, pickle_protocol=protocol)
    if protocol == 2:
        # Python's old way with bytes is a call.
        assert "calls _codecs.encode" in str(refused(data))
        del content[1]
        data = saved(tmp_path, content, pickle_protocol=protocol)
    found = read(data)
    assert found["size"] == (3, 4)
    assert {path: view.shape for path, view in views(found)} == {
        "a": (3, 4),
        "b": (4, 3),
        "c.0": (4,),
        "c.1.d": (3,),
        "e": (0, 4),
        "nested.w": (3, 4),
    }
    assert found["b"].stride == (1, 4)
    assert found["c"][0].offset == 4
    assert found["a"].storage is found["b"].storage or found["a"].storage == found["b"].storage


@pytest.mark.parametrize("protocol", range(1, 6))
def test_plain_values_are_those_that_python_reads(protocol: int) -> None:
    value = [None, True, False, 0, -1, 255, 2**16, 2**31, -(2**40), 10**30, 1.5, "é\n", ()]
    value += [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[1], [2, 3]], {}, {"a": {"b": 1}}]
    assert read(pickle.dumps(value, protocol)) == value


def test_names_in_tables_are_texts() -> None:
    found = read(pickle.dumps({"a": 1, 2: 3, None: 4, 1.5: 5, (1, 2): 6}))
    assert found == {"a": 1, "2": 3, "None": 4, "1.5": 5, "key 4": 6}


@pytest.mark.parametrize("protocol", range(6))
def test_what_a_pickle_calls_is_named_and_does_not_run(protocol: int, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for call, name in {
        Calls(os.system, f"touch {canary}"): "posix.system",
        Calls(eval, f"open({str(canary)!r}, 'w')"): "builtins.eval",
        Calls(open, str(canary), "w"): "io.open",
        Calls(os.mkdir, str(canary)): "posix.mkdir",
        Calls(torch.load, str(canary)): "torch.serialization.load",
        Calls(torch.hub.load, str(canary)): "torch.hub.load",
    }.items():
        error = refused(pickle.dumps([call, 1], protocol))
        assert isinstance(error, UnsafeError)
        assert error.message == (
            f"a pickle in it calls {name}: refused, for it could do anything"
        )
        assert not canary.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"(S'true'\nios\nsystem\n.",
        whole(b"cos\nsystem\n", row(plain("true")), b"\x81"),
        whole(script(a=script(b=called("os.system", plain("true"))))),
        whole(b"]", b"cos\nsystem\n", b"a"),
        whole(b"cos\nsystem\n", b"0", plain(1)),
    ],
    ids=["named", "named on the stack", "an old call", "a new object", "deep", "kept", "left"],
)
def test_a_name_is_refused_wherever_it_is(data: bytes) -> None:
    error = refused(data)
    assert isinstance(error, UnsafeError)
    assert "calls os.system: refused" in error.message


@pytest.mark.parametrize(
    "name",
    [
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch.storage._load_from_bytes",
        "torch.jit._pickle.build_other",
        "torch.Storage.load",
        "collections.defaultdict",
        "builtins.object",
        "_torch_.Module",
        "onnxprune.formats.torch_pickle._tensor",
    ],
)
def test_names_that_only_look_harmless_are_refused(name: str) -> None:
    assert f"calls {name}: refused" in str(refused(whole(named(name))))


@pytest.mark.parametrize(
    "body",
    [
        row(named("torch.FloatStorage"), row(plain("x")), b"R"),
        row(named("torch.float32"), row(plain("x")), b"R"),
        row(plain("text"), row(), b"R"),
        row(tensor(), row(), b"R"),
        row(named("torch._utils._rebuild_tensor_v2"), plain([1]), b"R"),
        row(named("torch._utils._rebuild_tensor_v2"), row(), b"R"),
        row(named("torch.Size"), row(*[plain(1)] * 65), b"R"),
        b"K\x01K\x02a",
        b"K\x01K\x02K\x03s",
        b"}(K\x01u",
        b"h\x09",
        b"K\x01Q",
        row(plain("storage"), plain("x"), plain("0"), plain("cpu")) + b"Q",
        row(plain("other"), plain("x"), plain("0"), plain("cpu"), plain(1)) + b"Q",
        row(plain("storage"), plain("x"), plain(0), plain("cpu"), plain(1)) + b"Q",
        row(plain("storage"), plain(1), plain("0"), plain("cpu"), plain(1)) + b"Q",
        row(plain("storage"), plain("x"), plain("0"), plain("cpu"), plain("1")) + b"Q",
        storage(key="k" * 2000),
        tensor(values=plain("no storage")),
        tensor((1.5,), (1,)),  # type: ignore[arg-type]
        tensor(("2",), (1,)),  # type: ignore[arg-type]
        tensor((1,) * 65, (1,) * 65),
        b"\x82\x01",
        b"\x97",
        b"",
        b"R",
        b"\x81",
        b"b",
        b"t",
        b"u",
        b"2",
        b"X\xff\xff\xff\xffabc",
        b"\x8d" + b"\xff" * 8,
        b"L" + b"9" * 9999 + b"\n",
    ],
)
def test_what_makes_no_sense_is_a_damaged_pickle(body: bytes) -> None:
    error = refused(whole(body))
    assert isinstance(error, InputError), error
    assert error.message == "a pickle in the archive is damaged"


@pytest.mark.parametrize("data", [b"", b".", b"N", b"\x80\x02", b"\x80\xff.", b"\xff."])
def test_what_is_no_pickle_is_a_damaged_one(data: bytes) -> None:
    assert isinstance(refused(data), InputError)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (tensor((-1, 4), (4, 1)), "a negative size"),
        (tensor((2, 3), (-3, 1)), "a negative size"),
        (tensor(offset=-1), "a negative size"),
        (tensor((1 << 62,), (0,)), "a negative size, or too large a one"),
        (tensor((1,), (1 << 70000,)), "a negative size, or too large a one"),
        (tensor((2, 3), (1,)), "another number of strides than sizes"),
        (tensor((), (1,)), "another number of strides than sizes"),
        (tensor((7,), (1,)), "a tensor is larger than its storage of 6 values"),
        (tensor((2, 3), (4, 1)), "a tensor is larger than its storage of 6 values"),
        (tensor(offset=1), "a tensor is larger than its storage of 6 values"),
        (tensor((), (), 6), "a tensor is larger than its storage of 6 values"),
        (tensor(values=storage(size=-1)), "a tensor is larger than its storage of -1 values"),
        (tensor((1 << 40, 1 << 40), (1 << 40, 1)), "a tensor is larger than its storage"),
    ],
)
def test_a_tensor_that_cannot_be_is_refused(made: bytes, message: str) -> None:
    error = refused(whole(made))
    assert isinstance(error, InputError)
    assert message in error.message


def test_steps_of_nought_show_one_value_many_times() -> None:
    assert read(whole(tensor((1 << 40, 6), (0, 1)))).shape == (1 << 40, 6)


def nested(depth: int) -> bytes:
    return whole(b"]" * depth, b"a" * (depth - 1))


def doubled(depth: int) -> bytes:
    """Return a list that holds the next one twice, and so on."""
    return whole(b"]q\x00" + b"](h\x00h\x00eq\x00" * depth)


def test_what_is_nested_too_deep_is_refused() -> None:
    assert refused(nested(200)) is None
    for depth in (201, 5_000, 200_000):
        error = refused(nested(depth))
        assert isinstance(error, LimitError)
        assert error.message == "the objects in a pickle of the archive are nested too deep"


@pytest.mark.parametrize(
    "made",
    [
        doubled(60),
        whole(b")q\x00" + b"h\x00h\x00\x86q\x00" * 60),
        whole(b"}q\x00" + b"}(K\x01h\x00K\x02h\x00uq\x00" * 60),
        whole(b"]q\x00h\x00a"),
        whole(b"]q\x00(h\x00h\x00e"),
        whole(named("__torch__.A"), b")\x81q\x00", table(a=b"h\x00", b=b"h\x00"), b"b"),
    ],
    ids=["lists", "tuples", "tables", "a circle", "two circles", "modules"],
)
def test_references_that_never_end_do_end(made: bytes) -> None:
    start = time.perf_counter()
    assert isinstance(refused(made), LimitError)
    assert time.perf_counter() - start < 20


SIZE = 100_000
BOMBS = {
    "a place far away": whole(b"Nr\xff\xff\xff\xff"),
    "a place written out": whole(b"Np99999999999\n"),
    "a name that is never hashed": whole(b"})q\x00", b"h\x00h\x00\x86q\x00" * 60, b"Ns"),
    "names that hash alike": whole(
        b"}(",
        *(
            b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") + b"N"
            for n in range(20_000)
        ),
        b"u",
    ),
    "a list copied": whole(
        b"](" + b"N" * SIZE + b"eq\x00(",
        *[called("torch.Size", b"h\x00")] * 2_000,
        b"t",
    ),
    "a table copied": whole(
        b"}(" + b"".join(plain(n) + b"N" for n in range(10_000)) + b"uq\x00(",
        *[called("collections.OrderedDict", b"h\x00")] * 2_000,
        b"t",
    ),
    "a state again and again": whole(
        b"}(" + b"".join(plain(n) + b"N" for n in range(10_000)) + b"uq\x00",
        script() + b"h\x00b" * 20_000,
    ),
    "arguments without end": whole(
        row(*[b"N"] * SIZE) + b"q\x00(", *[named("torch.device") + b"h\x00R"] * 5_000, b"t"
    ),
    "sizes without end": whole(
        row(*[plain(1)] * SIZE) + b"q\x00(",
        storage() + b"q\x01",
        *[called("torch._utils._rebuild_tensor_v2", b"h\x01K\x00h\x00h\x00")] * 2_000,
        b"t",
    ),
    "a long key": whole(
        plain("k" * SIZE) + b"q\x02(",
        *[
            row(plain("storage"), plain("x"), b"h\x02", plain("cpu"), plain(1)) + b"Q",
        ]
        * 5_000,
        b"t",
    ),
    "long paths": whole(
        table(**{"k" * SIZE: b"](" + tensor() + b"q\x00" + b"h\x00" * SIZE + b"e"})
    ),
    "a number to be multiplied": whole(
        b"\x8b" + struct.pack("<I", 2_000_000) + b"\x7f" * 2_000_000 + b"q\x00",
        called(
            "torch._utils._rebuild_tensor_v2",
            storage(),
            plain(0),
            row(b"h\x00", b"h\x00"),
            row(b"h\x00", b"h\x00"),
        ),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_takes_much_memory_or_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pickle, "OBJECTS", 200_000)
    start = time.perf_counter()
    tracemalloc.start()
    refused(BOMBS[name])
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert memory < 100 << 20
    assert time.perf_counter() - start < 20


def test_more_steps_than_any_model_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pickle, "STEPS", 1_000)
    assert refused(whole(b"](" + b"N" * 900 + b"e")) is None
    error = refused(whole(b"](" + b"N" * 1_000 + b"e"))
    assert isinstance(error, LimitError)
    assert error.message == "a pickle in the archive takes more than 1,000 steps"


def test_objects_of_scripts_keep_nothing_but_their_state() -> None:
    made = read(whole(script(__class__=plain("x"), __init__=plain(1), __del__=plain(2))))
    assert type(made) is Scripted
    assert made.state == {"__class__": "x", "__init__": 1, "__del__": 2}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("real")
    path = nets.scripted(folder / "model.pt", Attributes().eval())
    checkpoint = saved(folder, {"a": torch.ones(2, 3), "b": [torch.ones(3).t()]})
    modern = saved(folder, {"a": torch.ones(2, 3)}, pickle_protocol=4)
    return [member(path), checkpoint, modern]


def test_a_pickle_cut_anywhere_is_refused(real: list[bytes]) -> None:
    for data in real:
        assert refused(data) is None
        for end in range(len(data)):
            assert isinstance(refused(data[:end]), InputError | UnsafeError), end


def test_damaged_pickles_never_end_in_a_bug(real: list[bytes]) -> None:
    for data in real:
        for made in damaged(data, 500):
            refused(made)


def test_operations_at_random_never_end_in_a_bug(real: list[bytes]) -> None:
    chance = random.Random(0)
    pieces = [
        storage(),
        tensor(),
        row(),
        b"]",
        b"}",
        b"(",
        b"t",
        b"e",
        b"u",
        b"R",
        b"b",
        b"\x81",
    ]
    pieces += [named("__torch__.A"), named("torch.device"), plain("a"), plain(3), b"q\x00"]
    pieces += [b"h\x00", b"\x86", b"a", b"s", b"Q", named("collections.OrderedDict"), b"\x94"]
    for _ in range(2_000):
        refused(whole(*chance.choices(pieces, k=chance.randint(1, 30))))

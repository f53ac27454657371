"""External data: only from the model's own folder, however the path is spelled."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from onnxprune.errors import OnnxpruneError
from onnxprune.formats import files
from onnxprune.formats.onnx_file import load_onnx
from tests.formats.files_made import (
    FLOAT,
    field,
    graph_of,
    model_of,
    outside,
    prune,
    some,
    tensor,
)

SHAPE = (4, 8)
VALUES = some(FLOAT, SHAPE)
DATA = VALUES.tobytes()

Setup = Callable[[Path], object]


def nothing(folder: Path) -> None:
    return None


def link(name: str, target: str) -> Setup:
    return lambda folder: (folder / name).symlink_to(target)


def hard_link(folder: Path) -> None:
    (folder / "h.bin").hardlink_to(folder.parent / "secret.bin")


def file_of(name: str, content: bytes) -> Setup:
    return lambda folder: (folder / name).write_bytes(content)


def folder_of(name: str) -> Setup:
    return lambda folder: (folder / name).mkdir()


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "p")


REFUSED: dict[str, tuple[dict[str, Any], Setup, int, str]] = {
    "e_dotdot": ({"location": "../secret.bin"}, nothing, 4, "leaves the model's folder"),
    "e_mid_dotdot": ({"location": "x/../../secret.bin"}, folder_of("x"), 4, "leaves"),
    "e_abs": ({"location": "/tmp/w.bin"}, nothing, 4, "absolute"),
    "e_passwd": ({"location": "/etc/passwd", "length": 128}, nothing, 4, "absolute"),
    "e_backslash": ({"location": "..\\secret.bin"}, nothing, 4, "backslash"),
    "e_drive": ({"location": "C:w.bin"}, nothing, 4, "drive letter"),
    "e_symlink": ({"location": "l.bin"}, link("l.bin", "../secret.bin"), 4, "outside"),
    "e_symdir": ({"location": "dd/secret.bin"}, link("dd", ".."), 4, "outside"),
    "e_hardlink": ({"location": "h.bin"}, hard_link, 4, "2 hard links"),
    "e_missing": ({"location": "nope.bin"}, nothing, 3, "'nope.bin': no such file"),
    "e_dangling": ({"location": "l.bin"}, link("l.bin", "gone"), 3, "dangling link"),
    "e_loop": ({"location": "l.bin"}, link("l.bin", "l.bin"), 3, "symbolic links"),
    "e_isdir": ({"location": "dd"}, folder_of("dd"), 3, "is a directory"),
    "e_dot": ({"location": "."}, nothing, 4, "is a directory"),
    "e_dot_again": ({"location": "x/.."}, folder_of("x"), 4, "is a directory"),
    "e_emptyloc": ({"location": ""}, nothing, 3, "no external data location"),
    "e_noloc": ({"offset": 0, "length": 128}, nothing, 3, "no external data location"),
    "e_fifo": ({"location": "p"}, fifo, 4, "not a regular file"),
    "e_devzero": ({"location": "z"}, link("z", "/dev/zero"), 4, "outside"),
    "e_self": ({"location": "model.onnx", "length": 128}, nothing, 4, "the model file itself"),
    "e_self_by_link": ({"location": "m"}, link("m", "model.onnx"), 4, "the model file itself"),
    "e_nulbyte": ({"location": "w.bin\0.txt"}, nothing, 4, "control character"),
    "e_newline": ({"location": "w.bin\n"}, nothing, 4, "control character"),
    "e_ortmem": ({"location": "*/_ORT_MEM_ADDR_/*", "offset": 4096}, nothing, 4, "in-memory"),
    "e_off_eof": ({"location": "w.bin", "offset": 4096}, nothing, 3, "4,096 to 4,224"),
    "e_len_eof": ({"location": "w.bin", "offset": 64, "length": 128}, nothing, 3, "64 to 192"),
    "e_off_neg": ({"location": "w.bin", "offset": -1}, nothing, 3, "bad offset '-1'"),
    "e_len_neg": ({"location": "w.bin", "length": -1}, nothing, 3, "bad length '-1'"),
    "e_off_text": ({"location": "w.bin", "offset": "abc"}, nothing, 3, "bad offset 'abc'"),
    "e_off_digits": ({"location": "w.bin", "offset": "٣"}, nothing, 3, "bad offset"),
    "e_off_long": ({"location": "w.bin", "offset": "9" * 4096}, nothing, 3, "bad offset"),
    "e_off_big": ({"location": "w.bin", "offset": 1 << 63}, nothing, 3, "bad offset"),
    "e_off_big2": ({"location": "w.bin", "offset": (1 << 64) - 128}, nothing, 3, "bad offset"),
    "e_len_big": ({"location": "w.bin", "length": 10**15}, nothing, 3, "length 1,000,000"),
    "e_len_short": ({"location": "w.bin", "length": 124}, nothing, 3, "length 124"),
    "e_len_long": (
        {"location": "ww", "length": 256},
        file_of("ww", DATA * 2),
        3,
        "length 256",
    ),
    "e_len_zero": ({"location": "w.bin", "length": 0}, nothing, 3, "length 0"),
    "e_checksum": ({"location": "w.bin", "checksum": "0" * 40}, nothing, 3, "SHA-1"),
}
ACCEPTED: dict[str, tuple[dict[str, Any], Setup]] = {
    "ok_external": ({"location": "w.bin", "offset": 0, "length": 128}, nothing),
    "e_inner_dotdot": ({"location": "x/../w.bin"}, folder_of("x")),
    "e_symlink_in": ({"location": "l.bin"}, link("l.bin", "w.bin")),
    "e_symdir_in": ({"location": "dd/w.bin"}, link("dd", ".")),
    "e_two_dots": ({"location": "..w.bin"}, file_of("..w.bin", DATA)),
    "e_len_none_long": ({"location": "ww.bin"}, file_of("ww.bin", DATA * 2)),
    "e_off_unaligned": ({"location": "u.bin", "offset": 1}, file_of("u.bin", b"\0" + DATA)),
    "e_attrkey": ({"location": "w.bin", "__class__": "x", "__dict__": "y"}, nothing),
}


def made(folder: Path, entries: dict[str, Any], setup: Setup, extra: bytes = b"") -> Path:
    (folder / "secret.bin").write_bytes(b"SECRET__" * 16)
    inside = folder / "model"
    inside.mkdir()
    (inside / "w.bin").write_bytes(DATA)
    setup(inside)
    path = inside / "model.onnx"
    weight = outside("w", FLOAT, SHAPE, **entries) + extra
    path.write_bytes(model_of([weight], graph_of(FLOAT, SHAPE)))
    return path


def refusal(path: Path) -> OnnxpruneError:
    began = time.process_time()
    with pytest.raises(OnnxpruneError) as caught, load_onnx(path):
        pass
    assert time.process_time() - began < 5
    assert "SECRET" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("case", REFUSED)
def test_external_data_from_elsewhere_is_refused(tmp_path: Path, case: str) -> None:
    entries, setup, code, message = REFUSED[case]
    error = refusal(made(tmp_path, entries, setup))
    assert (error.exit_code, error.message.startswith("'w': ")) == (code, True)
    assert message in error.message


@pytest.mark.parametrize("case", ACCEPTED)
def test_external_data_from_the_folder_is_taken(tmp_path: Path, case: str) -> None:
    path = made(tmp_path, *ACCEPTED[case])
    with load_onnx(path) as model:
        assert model.stored("w").stored(0, 32).tobytes() == DATA


def test_keys_that_we_do_not_know_are_kept(tmp_path: Path) -> None:
    path = made(tmp_path, *ACCEPTED["e_attrkey"])
    prune(path, path.with_name("out.onnx"))
    model = onnx.ModelProto.FromString(path.with_name("out.onnx").read_bytes())
    said = {entry.key: entry.value for entry in model.graph.initializer[0].external_data}
    assert said.pop("location").startswith("out-")
    assert said == {"__class__": "x", "__dict__": "y"}


def test_a_hard_link_can_be_allowed(tmp_path: Path) -> None:
    path = made(tmp_path, {"location": "h.bin"}, hard_link)
    with load_onnx(path, allow_hardlinks=True) as model:
        assert model.stored("w").stored(0, 32).tobytes() == b"SECRET__" * 16


def test_a_cache_of_links_into_one_folder_is_taken(tmp_path: Path) -> None:
    real = made(tmp_path, {"location": "model.onnx_data"}, nothing)
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "model.onnx").symlink_to("../model/model.onnx")
    (snapshot / "model.onnx_data").symlink_to("../model/w.bin")
    with load_onnx(snapshot / "model.onnx") as model:
        assert model.stored("w").stored(0, 32).tobytes() == DATA
    assert refusal(real).exit_code == 3
    (snapshot / "model.onnx_data").unlink()
    (snapshot / "model.onnx_data").symlink_to("../secret.bin")
    assert refusal(snapshot / "model.onnx").exit_code == 4


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (field(9, DATA), "external and inline data both"),
        (field(13, field(1, b"location") + field(2, b"w.bin")), "is given twice"),
    ],
    ids=["e_both", "e_dupkey"],
)
def test_data_in_two_places_is_refused(tmp_path: Path, extra: bytes, message: str) -> None:
    error = refusal(made(tmp_path, {"location": "w.bin"}, nothing, extra))
    assert error.exit_code == 3
    assert message in error.message


def hidden(where: str, proto: TensorProto) -> onnx.ModelProto:
    """Put a tensor where only a walk over the whole model finds it."""
    graph = graph_of(FLOAT, SHAPE)
    graph.initializer.add().ParseFromString(tensor("w", FLOAT, VALUES))
    constant = helper.make_node("Constant", [], ["k"], value=proto)
    opset = helper.make_opsetid("", 21)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    if where == "e_attr_const":
        model.graph.node.append(constant)
    elif where == "e_sub_const":
        output = helper.make_tensor_value_info("k", FLOAT, SHAPE)
        proto.name = "k"
        branch = helper.make_graph([], "b", [], [output], [proto])
        node = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
        model.graph.node.append(node)
    elif where == "e_func_const":
        body = helper.make_function("my", "F", [], ["k"], [constant], [opset])
        model.functions.append(body)
    elif where == "e_training":
        model.training_info.add().initialization.initializer.append(proto)
    else:
        indices = helper.make_tensor("", TensorProto.INT64, [32], range(32))
        sparse = onnx.SparseTensorProto(values=proto, indices=indices, dims=[64])
        model.graph.sparse_initializer.append(sparse)
    return model


@pytest.mark.parametrize(
    "where", ["e_attr_const", "e_sub_const", "e_func_const", "e_sparse", "e_training"]
)
def test_no_tensor_of_a_model_reaches_outside(tmp_path: Path, where: str) -> None:
    path = made(tmp_path, {"location": "w.bin"}, nothing)
    for location, code in (("../secret.bin", 4), ("nope.bin", 3)):
        proto = TensorProto.FromString(outside("t", FLOAT, (32,), location=location))
        path.write_bytes(hidden(where, proto).SerializeToString())
        assert refusal(path).exit_code == code
    proto = TensorProto.FromString(outside("t", FLOAT, (32,), location="w.bin"))
    path.write_bytes(hidden(where, proto).SerializeToString())
    with load_onnx(path) as model:
        assert [weight.path for weight in model.weights] == ["w"]


def test_thousands_of_tensors_over_few_bytes_are_over_a_limit(tmp_path: Path) -> None:
    path = made(tmp_path, {"location": "w.bin"}, nothing)
    with (path.parent / "m.bin").open("wb") as file:
        file.truncate(1 << 22)
    alias = [outside(f"a{i}", FLOAT, (1 << 20,), location="m.bin") for i in range(5_000)]
    weight = tensor("w", FLOAT, VALUES)
    path.write_bytes(model_of([weight, *alias], graph_of(FLOAT, SHAPE)))
    assert refusal(path).exit_code == 5


def test_the_data_needs_no_more_descriptors_than_there_are_files(tmp_path: Path) -> None:
    path = made(tmp_path, {"location": "w.bin"}, nothing)
    spelled = [outside(f"a{i}", FLOAT, SHAPE, location="./" * i + "w.bin") for i in range(500)]
    path.write_bytes(model_of([tensor("w", FLOAT, VALUES), *spelled], graph_of(FLOAT, SHAPE)))
    before = len(os.listdir("/proc/self/fd"))
    with load_onnx(path) as model:
        assert len(os.listdir("/proc/self/fd")) == before + 2
        assert len(model.all_files()) == 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_refused_model_leaves_nothing_open(tmp_path: Path) -> None:
    path = made(tmp_path, {"location": "w.bin", "offset": 64}, nothing)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        refusal(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_that_is_turned_outside_after_it_was_checked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path, *ACCEPTED["e_symlink_in"])
    turned = path.with_name("l.bin")
    opening = files._open

    def late(target: Path) -> int:
        if target == turned:
            turned.unlink()
            turned.symlink_to("../secret.bin")
        return opening(target)

    monkeypatch.setattr(files, "_open", late)
    error = refusal(path)
    assert error.exit_code == 4
    assert "resolves outside" in error.message

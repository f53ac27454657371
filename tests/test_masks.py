"""Masks as files: what is exported is what the zeros are, and applies to the same bytes."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import onnxprune
from onnxprune.errors import InputError, UsageError
from onnxprune.masks import MaskFile, export, load, write
from tests import models
from tests.conftest import Ran
from tests.reference_weights import onnx_values

Run = Callable[..., Ran]
WEIGHTS = ("conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight")


@pytest.fixture
def pruned(digits: Path, tmp_path: Path) -> Path:
    output = tmp_path / "pruned.onnx"
    onnxprune.prune(digits, 0.9, output=output, verify=False)
    return output


def test_a_mask_is_true_where_the_weight_is_kept(pruned: Path) -> None:
    masks, values = load(pruned), onnx_values(pruned)
    assert tuple(masks) == WEIGHTS
    for name, mask in masks.items():
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, values[name] != 0)
    assert sum(int((~mask).sum()) for mask in masks.values()) == 64_411


def test_the_exported_masks_are_those_of_the_model(pruned: Path, tmp_path: Path) -> None:
    made = export(pruned, tmp_path / "m.npz")
    assert (made.tensors, made.size, made.zeros) == (4, 71_568, 64_411)
    assert (made.output, made.source) == (str(tmp_path / "m.npz"), str(pruned))
    of_file, of_model = load(tmp_path / "m.npz"), load(pruned)
    assert list(of_file) == list(of_model)
    for name, mask in of_model.items():
        np.testing.assert_array_equal(of_file[name], mask, strict=True)
    # A bit per weight, before it is compressed.
    assert (tmp_path / "m.npz").stat().st_size < 71_568 / 8 + 2000


def test_masks_applied_to_the_dense_model_give_the_pruned_file(
    digits: Path, pruned: Path, run: Run, tmp_path: Path
) -> None:
    masks = tmp_path / "m.npz"
    assert run("mask", "export", pruned, "-o", masks) == (
        0,
        f"{masks}: 4 tensors, 64,411 of 71,568 weights pruned (90.0 %)\n",
        "",
    )
    for source in (masks, pruned):
        output = tmp_path / f"{source.name}.onnx"
        ran = run("mask", "apply", digits, source, "-o", output, "--no-verify")
        assert (ran.code, ran.err) == (0, "")
        assert "64,411" in ran.out
        assert output.read_bytes() == pruned.read_bytes()


def test_the_same_masks_make_the_same_bytes(pruned: Path, tmp_path: Path) -> None:
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for file in files:
        export(pruned, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    again = tmp_path / "c.npz"
    export(files[0], again)
    assert load(again).keys() == load(files[0]).keys()


def test_numpy_reads_the_file_too(pruned: Path, tmp_path: Path) -> None:
    export(pruned, tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        bits = np.unpackbits(archive["m0"], count=144).astype(bool)
    np.testing.assert_array_equal(bits.reshape(16, 1, 3, 3), load(pruned)["conv1.weight"])


@pytest.mark.parametrize("shape", [(), (1,), (7,), (8,), (3, 5, 2), (0, 4)])
def test_masks_of_every_size_come_back(shape: tuple[int, ...], tmp_path: Path) -> None:
    random = np.random.default_rng(len(shape))
    mask = random.random(shape) < 0.5
    write(tmp_path / "m.npz", [("a/b", np.array(mask)), ("::", ~np.array(mask))], "0" * 64)
    found = load(tmp_path / "m.npz")
    np.testing.assert_array_equal(found["a/b"], mask, strict=True)
    np.testing.assert_array_equal(found["::"], ~np.array(mask), strict=True)
    with MaskFile(tmp_path / "m.npz") as file:
        assert file.source == "0" * 64


def test_an_export_leaves_what_is_there_alone(pruned: Path, tmp_path: Path, run: Run) -> None:
    masks = tmp_path / "m.npz"
    masks.write_bytes(b"old")
    ran = run("mask", "export", pruned, "-o", masks)
    assert (ran.code, ran.out) == (2, "")
    assert "m.npz exists; --force replaces it" in ran.err
    assert masks.read_bytes() == b"old"
    assert run("mask", "export", pruned, "-o", masks, "--force", "-q") == (0, "", "")
    assert zipfile.is_zipfile(masks)


def test_an_export_never_replaces_what_it_reads(pruned: Path, tmp_path: Path) -> None:
    masks = tmp_path / "m.npz"
    export(pruned, masks)
    for source in (pruned, masks):
        before = source.read_bytes()
        with pytest.raises(UsageError, match="the output is the input file"):
            export(source, source, force=True)
        assert source.read_bytes() == before


def test_a_model_without_weights_has_no_masks(tmp_path: Path) -> None:
    path = models.save(
        tmp_path / "m.onnx",
        models.model([models.node("Relu x -> y")], {"x": [2]}),
    )
    with pytest.raises(UsageError, match="no prunable weight to take masks from"):
        export(path, tmp_path / "m.npz")
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "m: "),
        (b"text\n", "m: not an ONNX file"),
        (b"PK\x03\x04", "m: not a whole zip file"),
    ],
)
def test_what_is_neither_model_nor_masks_is_named(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m").write_bytes(content)
    with pytest.raises(InputError) as refused:
        load("m")
    assert refused.value.message.startswith(message)
    with pytest.raises(InputError, match="none: no such file"):
        load("none")


def quantised(path: Path, seed: int = 0) -> Path:
    """Save a model of one int8 weight with a zero point for each column."""
    codes = np.random.default_rng(seed).integers(-128, 128, (6, 3), np.int8)
    points = np.array([0, 7, -128], np.int8)
    codes[seed, :] = points
    tensors = [
        models.constant("q", codes, np.int8),
        models.constant("scale", [0.5, 0.25, 2.0]),
        models.constant("point", points, np.int8),
    ]
    nodes = [
        models.node("DequantizeLinear q scale point -> w", axis=1),
        models.node("MatMul x w -> y"),
    ]
    return models.save(path, models.model(nodes, {"x": [1, 6]}, "y", tensors))


def test_the_zero_of_a_quantised_weight_is_its_zero_point(tmp_path: Path) -> None:
    dense, pruned = quantised(tmp_path / "q.onnx"), tmp_path / "p.onnx"
    onnxprune.prune(dense, 0.5, output=pruned, verify=False)
    for path in (dense, pruned):
        values = onnx_values(path)
        np.testing.assert_array_equal(load(path)["q"], values["q"] != values["point"])
    assert not load(dense)["q"][0].any()
    made = export(pruned, tmp_path / "m.npz")
    assert (made.tensors, made.size, made.zeros) == (1, 18, 9)


def test_masks_of_a_quantised_model_fit_another_by_its_zero_points(
    run: Run, tmp_path: Path
) -> None:
    dense, other = quantised(tmp_path / "q.onnx"), quantised(tmp_path / "o.onnx", 1)
    onnxprune.prune(dense, 0.5, output=tmp_path / "p.onnx", verify=False)
    export(tmp_path / "p.onnx", tmp_path / "m.npz")
    for model, name in ((dense, "a.onnx"), (other, "b.onnx")):
        words = ["-o", tmp_path / name, "-q", "--no-verify"]
        assert run("mask", "apply", model, tmp_path / "m.npz", *words) == (0, "", "")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "p.onnx").read_bytes()
    values, kept = onnx_values(other), load(tmp_path / "m.npz")["q"]
    expected = np.where(kept, values["q"], values["point"])
    np.testing.assert_array_equal(onnx_values(tmp_path / "b.onnx")["q"], expected)


def remade(path: Path, name: str, content: bytes) -> Path:
    """Replace a member of a mask file."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, old in members.items():
            archive.writestr(member, content if member == name else old)
    return path


def header(text: str) -> bytes:
    body = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


@pytest.mark.parametrize(
    "text",
    [
        "(",
        "-" * 4000 + "1",
        "{[]: 1}",
        "{1: 1, 'a': 2}",
        "{'descr': ('|u1',), 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1L,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }",
    ],
    ids=["open", "deep", "unhashable", "keys", "types", "python 2", "count"],
)
def test_a_header_that_numpy_does_not_write_is_damage(
    text: str, run: Run, digits: Path, tmp_path: Path
) -> None:
    shapes = {name: mask.shape for name, mask in load(digits).items()}
    ones = [(name, np.ones(shape, bool)) for name, shape in shapes.items()]
    write(tmp_path / "m.npz", ones, "")
    masks = remade(tmp_path / "m.npz", "m0.npy", header(text) + b"\xff")
    for words in (["compare", masks, masks], ["apply", digits, masks, "-o", tmp_path / "x"]):
        ran = run("mask", *words)
        assert (ran.code, ran.out, ran.err.count("\n")) == (3, "", 1)
        assert f"{masks}: the member m0 is damaged" in ran.err
    assert list(tmp_path.iterdir()) == [masks]


@pytest.mark.parametrize("flag", [0x01, 0x20, 0x40])
def test_a_member_that_python_cannot_unpack_is_bad_input(flag: int, tmp_path: Path) -> None:
    write(tmp_path / "m.npz", [("w", np.ones(8, bool))], "")
    content = bytearray((tmp_path / "m.npz").read_bytes())
    content[content.find(b"PK\x01\x02") + 8] |= flag
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(InputError, match="encrypted or compressed in an unknown way"):
        load(tmp_path / "m.npz")


@pytest.mark.parametrize("shape", ["[8.0]", '["8"]', '"8"', "[null]", "8"])
def test_a_shape_is_a_list_of_integers(shape: str, tmp_path: Path) -> None:
    write(tmp_path / "m.npz", [("w", np.ones(8, bool))], "")
    for given, accepted in (("[8]", True), (shape, False)):
        index = (
            f'{{"schema": 1, "source": "", "tensors": [{{"path": "w", "shape": {given}}}]}}'
        )
        plain = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(index)},), }}"
        remade(tmp_path / "m.npz", "index.npy", header(plain) + index.encode())
        if accepted:
            assert load(tmp_path / "m.npz")["w"].all()
            continue
        with pytest.raises(InputError, match="its index is wrong"):
            load(tmp_path / "m.npz")


def test_a_file_is_named_even_where_its_name_begins_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("the"), [("w", np.ones(8, bool))], "")
    remade(Path("the"), "index.npy", header("") + b"{}")
    with pytest.raises(InputError) as refused:
        load("the")
    assert str(refused.value) == "the: the member index is damaged"

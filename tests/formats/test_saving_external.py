"""External data: which files are written, under which names, and what the model then says."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxprune.errors import InputError, UnsupportedError
from tests.formats.data_files import (
    SHAPE,
    hashes,
    one_file,
    onnx_location,
    runs_alike,
    sha1,
    write,
)
from tests.formats.files_made import (
    FLOAT,
    Array,
    graph_of,
    model_of,
    one_weight,
    outside,
    prune,
    read,
    some,
    tensor,
    zeroed,
)

HASHED = re.compile(r"-[0-9a-f]{8}\.data")


def test_in_the_same_folder_the_data_gets_a_file_of_its_own(tmp_path: Path) -> None:
    values = some(FLOAT, SHAPE)
    path = one_file(tmp_path, values)
    before = hashes(tmp_path)
    output = tmp_path / "out.onnx"
    report = prune(path, output)
    expected = zeroed(values, np.abs(values), 0.5)
    (name,) = {each.name for each in tmp_path.iterdir()} - {"model.onnx", "w.bin", "out.onnx"}
    assert name.startswith("out")
    assert HASHED.fullmatch(name.removeprefix("out"))
    assert (tmp_path / name).read_bytes() == b"?" * 64 + expected.tobytes() + b"!" * 7
    said = {"location": name, "offset": 64, "length": values.nbytes}
    again = model_of([outside("w", FLOAT, SHAPE, **said)], graph_of(FLOAT, SHAPE))
    assert output.read_bytes() == again
    assert report.files == (str(output), str(tmp_path / name))
    assert runs_alike(output, {"w": expected})
    assert before.items() <= hashes(tmp_path).items()


def test_in_an_empty_folder_the_data_keeps_its_name_and_the_model_its_bytes(
    tmp_path: Path,
) -> None:
    values = some(FLOAT, SHAPE)
    path = one_file(tmp_path / "in", values)
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "any.onnx"
    prune(path, output)
    expected = zeroed(values, np.abs(values), 0.5)
    assert output.read_bytes() == path.read_bytes()
    assert (tmp_path / "out" / "w.bin").read_bytes() == (
        b"?" * 64 + expected.tobytes() + b"!" * 7
    )
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"any.onnx", "w.bin"}
    assert runs_alike(output, {"w": expected})


def test_a_file_of_that_name_is_never_touched(tmp_path: Path) -> None:
    path = one_file(tmp_path / "in", some(FLOAT, SHAPE))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "w.bin").write_bytes(b"another model's data")
    prune(path, tmp_path / "out" / "model.onnx", force=True)
    assert (tmp_path / "out" / "w.bin").read_bytes() == b"another model's data"
    assert HASHED.search(onnx_location(tmp_path / "out" / "model.onnx", "w"))


def test_the_model_may_take_the_name_of_the_data(tmp_path: Path) -> None:
    values = some(FLOAT, SHAPE)
    path = one_file(tmp_path / "in", values)
    (tmp_path / "out").mkdir()
    prune(path, tmp_path / "out" / "w.bin")
    expected = zeroed(values, np.abs(values), 0.5)
    assert read(tmp_path / "out" / "w.bin").tobytes() == expected.tobytes()


def three_files(folder: Path, values: Sequence[Array]) -> Path:
    (folder / "sub").mkdir(parents=True)
    places = {"a": "a.bin", "b": "sub/b.bin", "c": "c.bin"}
    for content, place in zip(values, places.values(), strict=True):
        (folder / place).write_bytes(content.tobytes())
    tensors = [outside(name, FLOAT, SHAPE, location=at) for name, at in places.items()]
    return write(folder, tensors, list(places))


def graded() -> list[Array]:
    """Return three weights, the second of which is smaller than the others."""
    large = [np.float32(2) + np.abs(some(FLOAT, SHAPE, seed)) for seed in range(3)]
    return [large[0], some(FLOAT, SHAPE) / 100, large[2]]


def test_only_the_data_file_that_changes_is_written_anew(tmp_path: Path) -> None:
    values = graded()
    path = three_files(tmp_path / "in", values)
    before = hashes(tmp_path)
    output = tmp_path / "in" / "out.onnx"
    report = prune(path, output, 0.25)
    expected = zeroed(values[1], np.abs(values[1]), 0.75)
    assert [row.mask_zeros for row in report.tensors] == [0, 54, 0]
    assert [onnx_location(output, name) for name in "ac"] == ["a.bin", "c.bin"]
    made = onnx_location(output, "b")
    assert HASHED.fullmatch(made.removeprefix("out"))
    assert len(report.files) == 2
    assert runs_alike(output, {"a": values[0], "b": expected, "c": values[2]})
    assert before.items() <= hashes(tmp_path).items()
    assert len(hashes(tmp_path)) == len(before) + 2


def test_into_another_folder_all_data_files_go(tmp_path: Path) -> None:
    values = graded()
    path = three_files(tmp_path / "in", values)
    before = hashes(tmp_path)
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "model.onnx"
    prune(path, output, 0.25)
    expected = zeroed(values[1], np.abs(values[1]), 0.75)
    assert [onnx_location(output, name) for name in "ac"] == ["a.bin", "c.bin"]
    # A nested file cannot keep its name: no folder is made for it.
    assert HASHED.fullmatch(onnx_location(output, "b").removeprefix("model"))
    assert (tmp_path / "out" / "a.bin").read_bytes() == values[0].tobytes()
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert runs_alike(output, {"a": values[0], "b": expected, "c": values[2]})
    assert before.items() <= hashes(tmp_path).items()


def test_other_tensors_of_a_data_file_stay(tmp_path: Path) -> None:
    values = graded()
    both = b"".join(each.tobytes() for each in values)
    (tmp_path / "all.bin").write_bytes(both)
    tensors = [
        outside(name, FLOAT, SHAPE, location="all.bin", offset=index * 288, length=288)
        for index, name in enumerate("abc")
    ]
    path = write(tmp_path, tensors, list("abc"))
    output = tmp_path / "out.onnx"
    prune(path, output, 0.25)
    expected = zeroed(values[1], np.abs(values[1]), 0.75)
    made = {onnx_location(output, name) for name in "abc"}
    assert len(made) == 1
    content = (tmp_path / made.pop()).read_bytes()
    assert content == both[:288] + expected.tobytes() + both[576:]


def test_data_of_many_chunks_is_patched_alike(tmp_path: Path) -> None:
    shape = (700, 801)
    values = some(FLOAT, shape)
    before, behind = np.full(1_500_000, 7, np.uint8).tobytes(), b"!" * 2_000_000
    (tmp_path / "w.bin").write_bytes(before + values.tobytes() + behind)
    said = {"offset": len(before), "checksum": sha1(before + values.tobytes() + behind)}
    weight = outside("w", FLOAT, shape, location="w.bin", **said)
    path, output = tmp_path / "model.onnx", tmp_path / "out.onnx"
    path.write_bytes(one_weight(FLOAT, weight, shape))
    prune(path, output, 0.3)
    expected = zeroed(values, np.abs(values), 0.3)
    made = tmp_path / onnx_location(output, "w")
    content = before + expected.tobytes() + behind
    assert made.read_bytes() == content
    assert sha1(content).encode() in output.read_bytes()


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_a_checksum_is_made_again(tmp_path: Path, spelled: Any) -> None:
    values = some(FLOAT, SHAPE)
    content = b"?" * 64 + values.tobytes() + b"!" * 7
    path = one_file(tmp_path, values, checksum=spelled(sha1(content)))
    output = tmp_path / "out.onnx"
    prune(path, output)
    model = onnx.load(output, load_external_data=False)
    said = {entry.key: entry.value for entry in model.graph.initializer[0].external_data}
    assert said["checksum"] == sha1((tmp_path / said["location"]).read_bytes())
    assert said["checksum"] != sha1(content)
    prune(output, tmp_path / "again.onnx")


def test_the_checksum_of_a_file_that_only_moves_stays(tmp_path: Path) -> None:
    values = some(FLOAT, SHAPE)
    content = b"?" * 64 + values.tobytes() + b"!" * 7
    path = one_file(tmp_path / "in", values, checksum=sha1(content).upper())
    (tmp_path / "out").mkdir()
    prune(path, tmp_path / "out" / "model.onnx", 0.0)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == path.read_bytes()


def test_an_empty_checksum_gets_filled(tmp_path: Path) -> None:
    values = some(FLOAT, SHAPE)
    path = one_file(tmp_path, values, checksum="")
    output = tmp_path / "out.onnx"
    prune(path, output)
    model = onnx.load(output, load_external_data=False)
    said = {entry.key: entry.value for entry in model.graph.initializer[0].external_data}
    assert said["checksum"] == sha1((tmp_path / said["location"]).read_bytes())
    assert said["offset"] == "64"
    assert runs_alike(output, {"w": zeroed(values, np.abs(values), 0.5)})


def test_the_checksum_of_every_tensor_is_looked_at(tmp_path: Path) -> None:
    values = some(FLOAT, SHAPE)
    (tmp_path / "w.bin").write_bytes(values.tobytes() * 2)
    good = outside("a", FLOAT, SHAPE, location="w.bin", offset=0)
    bad = outside("b", FLOAT, SHAPE, location="w.bin", offset=288, checksum="0" * 40)
    path = write(tmp_path, [good, bad], ["a", "b"])
    with pytest.raises(InputError) as caught:
        prune(path, tmp_path / "out.onnx")
    assert "'b': the SHA-1 sum of 'w.bin'" in caught.value.message


@pytest.mark.parametrize("stem", ["o" * 100, "o" * 200])
def test_a_long_name_makes_the_length_prefixes_around_it_longer(
    tmp_path: Path, stem: str
) -> None:
    values = some(FLOAT, SHAPE)
    path = one_file(tmp_path, values)
    output = tmp_path / f"{stem}.onnx"
    prune(path, output)
    assert runs_alike(output, {"w": zeroed(values, np.abs(values), 0.5)})
    name = onnx_location(output, "w")
    assert name.startswith(stem)
    assert len(output.read_bytes()) - len(path.read_bytes()) > len(name) - len("w.bin")


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "C:a", "..a", "層"])
def test_the_data_of_an_oddly_named_output_can_be_read_again(
    tmp_path: Path, name: str
) -> None:
    values = some(FLOAT, SHAPE)
    path = one_file(tmp_path, values)
    prune(path, tmp_path / f"{name}.onnx")
    report = prune(tmp_path / f"{name}.onnx", tmp_path / "again.onnx", 0.5)
    assert report.zeros == 36
    assert report.tensors[0].tally.zeros_before == 36


def test_a_name_that_no_library_could_open_is_neither_read_nor_written(
    tmp_path: Path,
) -> None:
    path = one_file(tmp_path, some(FLOAT, SHAPE))
    odd = tmp_path / "caf\udce9.onnx"
    with pytest.raises(UnsupportedError, match="the name is not UTF-8, and no library"):
        prune(path, odd)
    assert not odd.exists()
    path.rename(odd)
    with pytest.raises(UnsupportedError, match="its name is not UTF-8, and no library"):
        prune(odd, path)
    assert not path.exists()


def test_unpruned_external_data_beside_an_inline_weight_stays_where_it_is(
    tmp_path: Path,
) -> None:
    values = graded()
    (tmp_path / "a.bin").write_bytes(values[0].tobytes())
    tensors = [
        outside("a", FLOAT, SHAPE, location="a.bin"),
        tensor("b", FLOAT, values[1], "packed"),
    ]
    path = write(tmp_path, tensors, ["a", "b"])
    output = tmp_path / "out.onnx"
    report = prune(path, output, 0.5)
    expected = zeroed(values[1], np.abs(values[1]), 1)
    tensors[1] = tensor("b", FLOAT, expected, "packed")
    assert output.read_bytes() == model_of(tensors, graph_of(FLOAT, SHAPE, ["a", "b"]))
    assert report.files == (str(output),)
    assert any("'b' ends with no weight" in warning for warning in report.warnings)

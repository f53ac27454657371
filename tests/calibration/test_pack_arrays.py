"""Arrays are packed into a set that can be mapped."""

import zipfile
from pathlib import Path

import numpy as np

from tests.calibration.recipe import run_recipe
from tests.samples.made import floats


def test_arrays_become_one_set_with_the_same_bytes_again(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(floats(3, 2)))
    np.save(tmp_path / "k.npy", np.array(16000))
    np.save(tmp_path / "right.npy", np.array([1, 0, 2]))
    for name in ("one.npz", "two.npz"):
        code, out, error = run_recipe(
            "pack_arrays.py",
            "-o",
            tmp_path / name,
            f"k={tmp_path}/k.npy",
            f"/in/x={tmp_path}/a.npy",
            "--labels",
            tmp_path / "right.npy",
        )
        assert (code, out, error) == (0, f"{tmp_path}/{name}: 3 samples\n", "")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as arrays:
        assert arrays.files == ["k", "/in/x", "labels"]
        assert arrays["k"].item() == 16000
        assert np.array_equal(arrays["/in/x"], floats(3, 2))
        assert arrays["labels"].tolist() == [1, 0, 2]
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_what_makes_no_set_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", floats(3, 2))
    np.save(tmp_path / "b.npy", floats(2, 2))
    np.save(tmp_path / "k.npy", np.array(1))
    np.save(tmp_path / "o.npy", np.array([{}, {}]), allow_pickle=True)
    output = tmp_path / "set.npz"
    for words, code, message in (
        (["a"], 2, "arrays are given as NAME=FILE.npy, not 'a'"),
        ([f"x={tmp_path}/a.npy", f"x={tmp_path}/b.npy"], 2, "two arrays named 'x'"),
        ([f"x={tmp_path}/k.npy"], 3, "there is no array with samples"),
        ([f"x={tmp_path}/o.npy"], 4, f"{tmp_path}/o.npy: 'o' holds pickled objects; store"),
        ([f"x={tmp_path}/a.npy", f"y={tmp_path}/b.npy"], 3, "3 samples of 'x', but 2 of 'y'"),
        ([f"x={tmp_path}/gone.npy"], 3, f"{tmp_path}/gone.npy: cannot be read: no such file"),
    ):
        found = run_recipe("pack_arrays.py", "-o", output, *words)
        assert found[:2] == (code, "")
        assert found[2].startswith(f"error: {message}")
        assert found[2].count("\n") == 1
        assert not output.exists()

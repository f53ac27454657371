"""Images are packed into one array of pixels, and their classes."""

from pathlib import Path

import numpy as np

from tests.calibration.recipe import run_recipe
from tests.samples.made import floats, image, opened, port, read


def test_a_packed_set_feeds_what_the_folder_feeds(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    for name, value in (("cat", 10), ("dog", 20)):
        for number in (1, 2):
            pixels = np.full((4, 5, 3), value + number, np.uint8)
            image(folder / name / f"{number}.png", pixels)
    for name in ("one.npz", "two.npz"):
        words = (folder, "-o", tmp_path / name, "--size", "2x6")
        expected = (0, f"{tmp_path}/{name}: 4 samples\n", "")
        assert run_recipe("pack_images.py", *words) == expected
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as arrays:
        assert arrays["images"].shape == (4, 2, 6, 3)
        assert arrays["images"].dtype == np.uint8
        assert arrays["images"][:, 0, 0, 0].tolist() == [11, 12, 21, 22]
        assert arrays["labels"].tolist() == [0, 0, 1, 1]
    own = port("x", (None, 3, 2, 6))
    packed = opened(tmp_path / "one.npz", own, inputs={"images": "x"}, mean=(0.5,))
    assert np.array_equal(read(packed), read(opened(folder, own, mean=(0.5,))))


def test_a_flat_folder_of_grey_images_has_no_labels(tmp_path: Path) -> None:
    image(tmp_path / "flat" / "1.png", np.full((4, 5), 9, np.uint8))
    words = (tmp_path / "flat", "-o", tmp_path / "set.npz", "--size", "3", "--grey")
    assert run_recipe("pack_images.py", *words)[0] == 0
    with np.load(tmp_path / "set.npz", allow_pickle=False) as arrays:
        assert arrays.files == ["images"]
        assert np.array_equal(arrays["images"], np.full((1, 3, 3, 1), 9))


def test_what_makes_no_set_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "1.png").write_bytes(b"no image")
    empty = tmp_path / "empty"
    empty.mkdir()
    np.save(empty / "x.npy", floats(2, 2))
    output = tmp_path / "set.npz"
    for source, size, code, message in (
        (folder, "2", 3, f"{folder}: 1.png is no image that can be read"),
        (folder, "2y", 2, "--image-size is written like 224 or 224x320, not '2y'"),
        (empty, "2", 3, f"{empty}: there are no images"),
        (
            tmp_path / "gone",
            "2",
            3,
            f"{tmp_path}/gone: cannot be read: no such file or directory",
        ),
    ):
        found = run_recipe("pack_images.py", source, "-o", output, "--size", size)
        assert found == (code, "", f"error: {message}\n")
        assert not output.exists()

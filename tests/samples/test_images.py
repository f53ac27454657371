"""Image files: which there are, what class they have, and what is decoded of them."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxprune.errors import InputError, LimitError, UnsupportedError, UsageError
from onnxprune.samples import images
from tests.samples.made import Array, batches, image, opened, port, read, refusal

COLOUR = port("x", (None, 3, 2, 2))
GREY = port("x", (None, 1, 2, 2))


def plain(*colour: int, size: tuple[int, int] = (2, 2)) -> Array:
    """Return an image of one colour."""
    return np.broadcast_to(np.array(colour, np.uint8), (*size, len(colour))).copy()


def first(folder: Path, *ports: Any, **reading: Any) -> list[float]:
    """Return the first pixel of the first image, between 0 and 255."""
    values = read(opened(folder, *(ports or (COLOUR,)), pixel_range=255, **reading))
    return [round(float(value)) for value in values[0, :, 0, 0]]


def test_class_folders_are_labels_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, value in (("b10", 2), ("b9", 3), ("a", 1)):
        image(tmp_path / name / "1.png", plain(value, 0, 0))
    samples = opened(tmp_path, COLOUR, pixel_range=255)
    (batch,) = batches(samples, 8)
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1, 2]
    assert batch.feeds["x"][:, 0, 0, 0].tolist() == [1, 2, 3]
    assert samples.labelled


def test_class_folders_that_are_numbers_are_ordered_as_numbers(tmp_path: Path) -> None:
    for name in ("10", "2", "0"):
        image(tmp_path / name / "1.png", plain(int(name), 0, 0))
    (batch,) = batches(opened(tmp_path, COLOUR, pixel_range=255), 8)
    assert batch.feeds["x"][:, 0, 0, 0].tolist() == [0, 2, 10]


def test_an_empty_class_keeps_its_number(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / ".hidden").mkdir()
    image(tmp_path / "b" / "1.png", plain(1, 2, 3))
    image(tmp_path / "b" / "._1.png", plain(9, 9, 9))
    samples = opened(tmp_path, COLOUR)
    assert samples.size == 1
    assert batches(samples)[0].labels == [1]
    assert samples.notes == ("class folder 'a' holds no images",)


def test_a_single_class_is_worth_a_note(tmp_path: Path) -> None:
    image(tmp_path / "all" / "1.png", plain(1, 2, 3))
    assert opened(tmp_path, COLOUR).notes == (
        "there is one class folder, 'all': all labels are 0",
    )


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    for number in (10, 9):
        image(tmp_path / f"{number}.PNG", plain(number, 0, 0))
    (tmp_path / "notes.txt").write_text("no image")
    samples = opened(tmp_path, COLOUR, pixel_range=255)
    (batch,) = batches(samples)
    assert not samples.labelled
    assert batch.labels is None
    assert batch.feeds["x"][:, 0, 0, 0].tolist() == [9, 10]


def test_images_beside_class_folders_are_refused(tmp_path: Path) -> None:
    image(tmp_path / "1.png", plain(1, 2, 3))
    image(tmp_path / "a" / "1.png", plain(1, 2, 3))
    assert refusal(tmp_path, COLOUR).message == f"{tmp_path}: images beside folders of images"


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "bmp", "webp"])
def test_every_kind_of_image_is_read(tmp_path: Path, suffix: str) -> None:
    options = {"webp": {"lossless": True}}.get(suffix, {})
    image(tmp_path / f"1.{suffix}", plain(200, 100, 50), **options)
    assert np.allclose(first(tmp_path), [200, 100, 50], atol=3)


def test_files_are_resized_straight_to_the_size_of_the_input(tmp_path: Path) -> None:
    half = np.concatenate([plain(0, 0, 0, size=(4, 4)), plain(255, 255, 255, size=(4, 4))], 1)
    image(tmp_path / "1.png", half)
    found = read(opened(tmp_path, port("x", (None, 2, 4, 3))))
    assert found.shape == (1, 2, 4, 3)
    expected = np.asarray(Image.fromarray(half).resize((4, 2), Image.Resampling.BILINEAR))
    assert np.allclose(found[0] * 255, expected, atol=1e-4)


def test_the_size_option_serves_inputs_that_leave_it_open(tmp_path: Path) -> None:
    image(tmp_path / "1.png", plain(1, 2, 3))
    free = port("x", (None, 3, None, None))
    assert read(opened(tmp_path, free, image_size=(4, 6))).shape == (1, 3, 4, 6)
    error = refusal(tmp_path, free)
    assert (type(error), error.message) == (
        UsageError,
        "the model's input 'x' does not fix the size of images",
    )
    unclear = port("x", (None, None, None, None))
    error = refusal(tmp_path, unclear, image_size=(4, 6))
    assert error.message == (
        "the shape of the model's input 'x' does not tell where its channels are"
    )
    assert read(opened(tmp_path, unclear, image_size=(4, 6), layout="NHWC")).shape == (
        1,
        4,
        6,
        3,
    )


def test_an_input_of_another_rank_takes_no_images(tmp_path: Path) -> None:
    image(tmp_path / "1.png", plain(1, 2, 3))
    error = refusal(tmp_path, port("x", (None, 12)))
    assert (
        error.message == f"{tmp_path}: the model's input 'x' of 2 dimensions takes no images"
    )
    huge = refusal(tmp_path, port("x", (None, 3, 1 << 20, 1 << 20)))
    assert isinstance(huge, LimitError)


def test_colours_become_grey_for_one_channel_and_grey_becomes_three(tmp_path: Path) -> None:
    image(tmp_path / "a" / "1.png", plain(255, 255, 255))
    image(tmp_path / "b" / "1.png", plain(7)[:, :, 0])
    assert read(opened(tmp_path, GREY, pixel_range=255))[:, 0, 0, 0].tolist() == [255, 7]
    assert read(opened(tmp_path, COLOUR, pixel_range=255))[1, :, 0, 0].tolist() == [7, 7, 7]


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    image(tmp_path / "1.png", np.array([[0, 257], [25700, 65535]], np.uint16))
    found = read(opened(tmp_path, GREY, pixel_range=255))
    assert found[0, 0].tolist() == [[0, 1], [100, 255]]


def test_pixels_of_32_bits_are_not_supported() -> None:
    # Older versions of Pillow read some files so.
    for mode in ("I", "F"):
        with pytest.raises(UnsupportedError) as caught:
            images._in_mode(Image, Image.new(mode, (2, 2)), "L", Path("1.png"))
        assert caught.value.message == "1.png has pixels of 32 bits"


def test_transparency_is_dropped(tmp_path: Path) -> None:
    image(tmp_path / "1.png", plain(10, 20, 30, 0))
    assert first(tmp_path) == [10, 20, 30]
    (tmp_path / "1.png").unlink()
    image(tmp_path / "2.png", plain(40, 0))
    assert first(tmp_path) == [40, 40, 40]


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    picture = Image.fromarray(plain(10, 20, 30)).convert("P")
    picture.save(tmp_path / "1.png", transparency=b"\x00\x80\xff")
    assert np.allclose(first(tmp_path), [10, 20, 30], atol=26)


def test_the_rotation_that_a_camera_notes_is_not_applied(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    image(tmp_path / "1.png", pixels, exif=exif)
    assert first(tmp_path) == [255, 255, 255]


def png(width: int, height: int) -> bytes:
    """Return a file that says how large it is, and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_an_image_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(60_000, 60_000))
    error = refusal(tmp_path, COLOUR)
    assert (type(error), error.message) == (
        LimitError,
        f"{tmp_path}: 1.png has too many pixels",
    )


@pytest.mark.parametrize("name", ["1.png", "1.jpg", "1.bmp", "1.webp"])
def test_every_way_of_cutting_an_image_short_is_an_input_error(
    tmp_path: Path, name: str
) -> None:
    stream = io.BytesIO()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8))
    picture.save(stream, {"jpg": "JPEG"}.get(name[2:], name[2:].upper()))
    whole = stream.getvalue()
    for length in range(0, len(whole) // 2, 5):
        (tmp_path / name).write_bytes(whole[:length])
        error = refusal(tmp_path, COLOUR)
        assert (type(error), error.message) == (
            InputError,
            f"{tmp_path}: {name} is no image that can be read",
        )


def test_other_formats_under_these_names_are_not_opened(tmp_path: Path) -> None:
    Image.fromarray(plain(1, 2, 3)).save(tmp_path / "1.eps")
    (tmp_path / "1.eps").rename(tmp_path / "1.png")
    error = refusal(tmp_path, COLOUR)
    assert error.message == f"{tmp_path}: 1.png is no image that can be read"


def test_a_broken_image_in_a_class_folder_is_named_with_it(tmp_path: Path) -> None:
    image(tmp_path / "cat" / "1.png", plain(1, 2, 3))
    (tmp_path / "cat" / "2.png").write_bytes(b"no image")
    error = refusal(tmp_path, COLOUR)
    assert error.message == f"{tmp_path}: cat/2.png is no image that can be read"


def test_a_pipe_among_images_is_refused(tmp_path: Path) -> None:
    image(tmp_path / "1.png", plain(1, 2, 3))
    os.mkfifo(tmp_path / "2.png")
    assert refusal(tmp_path, COLOUR).message == f"{tmp_path}: 2.png is not a regular file"


def test_which_input_takes_images_can_be_said(tmp_path: Path) -> None:
    image(tmp_path / "1.png", plain(1, 2, 3))
    ports = (COLOUR, port("images", (None, 3, 2, 2)))
    error = refusal(tmp_path, *ports)
    assert (
        error.message
        == f"{tmp_path}: no array for the model's input 'x'; the set has 'images'"
    )
    two = (COLOUR, port("z"))
    error = refusal(tmp_path, *two)
    assert (error.message, error.hint) == (
        "which input takes the images? the model has x, z",
        "--input images=NAME says it",
    )
    assert read(opened(tmp_path, COLOUR, inputs={"images": "x"})).shape == (1, 3, 2, 2)
    error = refusal(tmp_path, COLOUR, inputs={"images": "y"})
    assert error.message == "--input images=y: the model has no input 'y'"
    error = refusal(tmp_path, COLOUR, inputs={"cats": "x"})
    assert error.message == "--input cats=x: a folder of images has no array 'cats'"


def test_without_pillow_images_are_not_supported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image(tmp_path / "1.png", plain(1, 2, 3))
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    error = refusal(tmp_path, COLOUR)
    assert (type(error), error.message, error.hint) == (
        UnsupportedError,
        f"{tmp_path}: image files need Pillow",
        "pip install 'onnxprune[images]'",
    )


def test_sums_depend_on_pixels_and_classes_but_not_on_names(tmp_path: Path) -> None:
    def total(name: str, *files: tuple[str, int]) -> str:
        for file, value in files:
            image(tmp_path / name / file, plain(value, 0, 0))
        return opened(tmp_path / name, COLOUR).digest()

    one = total("one", ("a/1.png", 1), ("b/1.png", 2))
    assert total("two", ("c/7.png", 1), ("d/8.png", 2)) == one
    assert total("three", ("a/1.png", 2), ("b/1.png", 1)) != one
    assert total("four", ("a/1.png", 1), ("a/2.png", 2)) != one
    assert total("five", ("1.png", 1), ("2.png", 2)) != one

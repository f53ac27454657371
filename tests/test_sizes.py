"""What a compressor makes of files: of all their bytes, or of even samples."""

import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxprune.formats.files import SourceFile, open_regular
from onnxprune.sizes import BLOCK, LEVEL, SAMPLES, compressed_size, measure

LARGE = SAMPLES * BLOCK + 1


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., list[Path]]:
    def written(*contents: bytes) -> list[Path]:
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"{len(list(tmp_path.iterdir()))}-{number}")
            paths[-1].write_bytes(content)
        return paths

    return written


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def opened(paths: list[Path]) -> list[SourceFile]:
    return [open_regular(path) for path in paths]


def size_of(paths: list[Path], exact: bool) -> int:
    sources = opened(paths)
    try:
        return compressed_size([source.descriptor for source in sources], exact)
    finally:
        for source in sources:
            source.close()


@pytest.mark.parametrize("size", [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
@pytest.mark.parametrize("exact", [False, True])
def test_a_small_file_is_compressed_whole(
    size: int, exact: bool, files: Callable[..., list[Path]]
) -> None:
    content = (noise(size // 2 + 1) + bytes(size))[:size]
    expected = len(zlib.compress(content, LEVEL)) if size else 0
    assert size_of(files(content), exact) == expected


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=40_000), min_size=1, max_size=4))
def test_several_files_count_as_one_after_the_other(contents: list[bytes]) -> None:
    descriptors = [os.memfd_create("part") for _ in contents]
    try:
        for descriptor, content in zip(descriptors, contents, strict=True):
            os.write(descriptor, content)
        together = b"".join(contents)
        expected = len(zlib.compress(together, LEVEL)) if together else 0
        assert compressed_size(descriptors, True) == expected
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_a_large_file_is_sampled_evenly(files: Callable[..., list[Path]]) -> None:
    # The first half is noise, the second all zeros.
    content = noise(5 * LARGE) + bytes(5 * LARGE)
    paths = files(content)
    exact, about = size_of(paths, True), size_of(paths, False)
    assert exact == len(zlib.compress(content, LEVEL))
    assert about != exact
    assert about == pytest.approx(exact, rel=0.15)


def test_an_estimate_says_so_and_a_measurement_does_not(
    files: Callable[..., list[Path]],
) -> None:
    small, large = files(noise(1000), noise(LARGE))
    for path, exact, estimated in [
        (small, False, False),
        (small, True, False),
        (large, False, True),
        (large, True, False),
    ]:
        sources = opened([path])
        alone = measure(sources, [], exact)
        pair = measure(sources, [path], exact)
        sources[0].close()
        size = path.stat().st_size
        assert (alone.before, alone.after, alone.compressed_after) == (size, None, None)
        assert (pair.before, pair.after) == (size, size)
        assert pair.compressed_before == pair.compressed_after == alone.compressed_before
        assert alone.estimated == pair.estimated == estimated


def test_all_files_of_a_model_count(files: Callable[..., list[Path]]) -> None:
    before, after = files(noise(3000), bytes(500)), files(bytes(2000))
    sources = opened(before)
    sizes = measure(sources, after, True)
    for source in sources:
        source.close()
    assert (sizes.before, sizes.after) == (3500, 2000)
    assert sizes.compressed_before is not None
    assert sizes.compressed_before > 3000 > 100 > (sizes.compressed_after or 0)

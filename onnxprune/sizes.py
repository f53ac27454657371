"""Measures files: their bytes, and what a compressor makes of them."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from onnxprune.formats.files import SourceFile
from onnxprune.outcomes import Sizes

BLOCK = 1 << 15
SAMPLES = 16
LEVEL = 6


def measure(before: Sequence[SourceFile], after: Sequence[Path], exact: bool) -> Sizes:
    """Measure a model's files, and those of its pruned form if there is one."""
    size_before = sum(source.size for source in before)
    compressed = compressed_size([source.descriptor for source in before], exact)
    if not after:
        return Sizes(size_before, None, compressed, None, _samples(size_before, exact))
    descriptors = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in after]
    try:
        size_after = sum(os.fstat(descriptor).st_size for descriptor in descriptors)
        compressed_after = compressed_size(descriptors, exact)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    sampled = _samples(max(size_before, size_after), exact)
    return Sizes(size_before, size_after, compressed, compressed_after, sampled)


def compressed_size(descriptors: Sequence[int], exact: bool) -> int:
    """Return what zlib makes of some files, from evenly spaced blocks or from all of them."""
    sizes = [os.fstat(descriptor).st_size for descriptor in descriptors]
    total = sum(sizes)
    blocks = -(-total // BLOCK)
    sampled = _samples(total, exact)
    step = blocks / SAMPLES if sampled else 1
    chosen = [int(index * step) for index in range(SAMPLES if sampled else blocks)]
    compressor = zlib.compressobj(LEVEL)
    read = made = 0
    for number in chosen:
        data = _read(descriptors, sizes, number * BLOCK)
        read += len(data)
        made += len(compressor.compress(data))
    made += len(compressor.flush())
    return round(made * total / read) if read else 0


def _samples(total: int, exact: bool) -> bool:
    """Whether so many bytes are sampled rather than compressed whole."""
    return not exact and total > SAMPLES * BLOCK


def _read(descriptors: Sequence[int], sizes: Sequence[int], start: int) -> bytes:
    parts = []
    wanted = BLOCK
    for descriptor, size in zip(descriptors, sizes, strict=True):
        if start < size and wanted:
            part = os.pread(descriptor, min(wanted, size - start), start)
            parts.append(part)
            wanted -= len(part)
            start += len(part)
        start -= size
    return b"".join(parts)

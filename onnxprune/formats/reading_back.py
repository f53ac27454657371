"""Compares what can be read of a written model with what was to be written."""

from collections.abc import Mapping

from onnxprune.errors import OnnxpruneError, OutputError
from onnxprune.formats.loading import Model
from onnxprune.formats.tallies import count_zeros, value_checksum
from onnxprune.threads import parallel


def read_back(model: Model, zeros: Mapping[str, int], checksums: Mapping[str, int]) -> None:
    """See that every zero and every new value can be read back.

    Args:
        model: what was written, opened again.
        zeros: how many every edited tensor should have.
        checksums: of the tensors that have new values.
    """
    try:
        found = parallel(lambda path: count_zeros(model, path), list(zeros))
        sums = parallel(lambda path: value_checksum(model, path), list(checksums))
    except OnnxpruneError as error:
        raise OutputError(f"the written model cannot be read back: {error}") from error
    for (path, wanted), count in zip(zeros.items(), found, strict=True):
        if count != wanted:
            raise OutputError(
                f"'{path}': {wanted:,} zeros were written, {count:,} were read back"
            )
    for (path, total), read in zip(checksums.items(), sums, strict=True):
        if total != read:
            raise OutputError(f"'{path}': other values were read back than were written")

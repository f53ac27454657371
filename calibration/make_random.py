"""Makes a set of random samples for a model, to try things that need some samples.

Run from the repository root: `python calibration/make_random.py MODEL -o set.npz --samples 64`.
Floats are normal, integers are zeros and ones: such samples say nothing of accuracy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from onnxprune.errors import OnnxpruneError, UsageError, about
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.output import Temporary, check_output, write_errors
from onnxprune.report.text import show
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.samples.packing import Packed, pack
from onnxprune.samples.reading import parse_reading
from onnxprune.samples.table import Spec
from onnxprune.trials.ports import input_ports
from onnxprune.types import Array

BATCH = 16


def rows_of(samples: Samples, name: str) -> Iterator[Array]:
    """Go through one input's samples, without those that fill a fixed batch."""
    for batch in samples.batches(BATCH):
        yield batch.feeds[name][: batch.count]


def packed_samples(samples: Samples, count: int) -> list[Packed]:
    """Return an array for each input; those without dimensions stay one value."""
    first = next(samples.batches(1))
    arrays = []
    for name, array in first.feeds.items():
        if array.ndim == 0:
            arrays.append(Packed(name, Spec.of(array), [array]))
        else:
            spec = Spec(array.dtype, (count, *array.shape[1:]))
            arrays.append(Packed(name, spec, rows_of(samples, name)))
    return arrays


def main() -> int:
    """Write the set that the command line asks for."""
    parser = argparse.ArgumentParser(description="Make random samples for a model.")
    parser.add_argument("model", type=Path, metavar="MODEL", help="the ONNX file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SET.npz")
    parser.add_argument("--samples", type=int, default=64, metavar="N", help="default: 64")
    parser.add_argument("--seed", type=int, default=0, help="where random numbers start")
    parser.add_argument(
        "--shape", action="append", metavar="INPUT=3x224x224", help="sizes of one sample"
    )
    parser.add_argument("--force", action="store_true", help="replace the output")
    given = parser.parse_args()
    try:
        if given.samples < 1:
            raise UsageError(f"--samples is at least 1, got {given.samples}")
        reading = parse_reading(shapes=given.shape, seed=given.seed)
        target = check_output(given.output, [], given.force)
        with about(given.model), load_onnx(given.model) as model:
            ports = input_ports(model)
        with open_samples(f"random:{given.samples}", reading, ports) as samples:
            arrays = packed_samples(samples, given.samples)
            with Temporary(target) as temporary, write_errors(target):
                with open(temporary.descriptor, "w+b", closefd=False) as stream:
                    pack(stream, arrays)
                temporary.commit()
    except OnnxpruneError as error:
        hint = f"; {show(error.hint)}" if error.hint else ""
        print(f"error: {show(str(error))}{hint}", file=sys.stderr)
        return error.exit_code
    print(f"{show(str(given.output))}: {given.samples:,} samples")
    return 0


if __name__ == "__main__":
    sys.exit(main())

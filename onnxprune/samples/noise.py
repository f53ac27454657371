"""Random samples of the shapes that a model's inputs have, for want of better ones."""

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxprune.errors import LimitError, UnsupportedError, UsageError
from onnxprune.outcomes import ANY, Port
from onnxprune.samples.table import Rows, Spec, Table

COUNT = 64
"""How many random samples there are unless a number is given."""

SAMPLE_LIMIT = 1 << 30
"""The bytes that one sample may take."""

UNKNOWN = (None, "str", "bfloat16")


class Noise(Table):
    """Normal values for floats, zeros and ones for integers; scalars are drawn once."""

    random = True

    def __init__(
        self,
        ports: Sequence[Port],
        count: int,
        seed: int,
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.source = f"random:{count}"
        self._count = count
        self._seed = seed
        names = [port.name for port in ports]
        for name in shapes:
            if name not in names:
                raise UsageError(
                    f"--shape {name}: the model has no input '{name}'; its inputs are"
                    f" {', '.join(names)}"
                )
        self.columns: Mapping[str, Spec] = {
            port.name: _column(port, count, shapes) for port in ports if port.shape != ()
        }
        self.constants = {
            port.name: _draw(self._generator(port.name), Spec(_dtype(port), (1,)))
            for port in ports
            if port.shape == ()
        }

    def pieces(self, size: int) -> Iterator[Rows]:
        """Go through all rows in order, at most so many at a time."""
        generators = {name: self._generator(name) for name in self.columns}
        for start in range(0, self._count, size):
            count = min(size, self._count - start)
            # One sample after the other: how many go together must not matter.
            yield {
                name: np.stack([_draw(generator, self.columns[name]) for _ in range(count)])
                for name, generator in generators.items()
            }

    def digest(self) -> str:
        """Return a SHA-256 sum of all that the rows come from."""
        specs = {name: (spec.dtype.str, spec.shape) for name, spec in self.columns.items()}
        constants = {name: value.dtype.str for name, value in self.constants.items()}
        return hashlib.sha256(repr((self._seed, specs, constants)).encode()).hexdigest()

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(name.encode())])


def _column(port: Port, count: int, shapes: Mapping[str, tuple[int, ...]]) -> Spec:
    spec = Spec(_dtype(port), (count, *_sample_shape(port, shapes.get(port.name))))
    if spec.row_bytes > SAMPLE_LIMIT:
        raise LimitError(
            f"one random sample for '{port.name}' takes {spec.row_bytes:,} bytes,"
            f" more than {SAMPLE_LIMIT:,}"
        )
    return spec


def _dtype(port: Port) -> np.dtype[np.generic]:
    if port.dtype == ANY:
        return np.dtype(np.float32)
    if port.dtype in UNKNOWN:
        kind = {None: "no tensor that numpy knows", "str": "text"}.get(port.dtype, port.dtype)
        raise UnsupportedError(f"no random samples for input '{port.name}': it takes {kind}")
    return np.dtype(port.dtype)


def _sample_shape(port: Port, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of one random sample."""
    if port.shape is None:
        if given is None:
            raise _needed(port)
        return given
    rest = port.shape[1:]
    if given is None:
        known = tuple(size for size in rest if size is not None)
        if len(known) < len(rest):
            raise _needed(port)
        return known
    spelled = "x".join(map(str, given))
    if len(given) != len(rest):
        raise UsageError(
            f"--shape {port.name}={spelled} has {len(given)} sizes, one sample of the input"
            f" has {len(rest)}"
        )
    if any(size not in (None, wanted) for size, wanted in zip(rest, given, strict=True)):
        wanted = "x".join("?" if size is None else str(size) for size in rest)
        raise UsageError(f"--shape {port.name}={spelled}: the input takes {wanted}")
    return given


def _needed(port: Port) -> UsageError:
    return UsageError(
        f"random samples for '{port.name}' need sizes that the model leaves free",
        f"--shape {port.name}=... gives those of one sample, such as 3x224x224",
    )


def _draw(generator: np.random.Generator, spec: Spec) -> Any:
    shape = spec.shape[1:]
    if spec.dtype.kind == "f":
        return np.asarray(generator.standard_normal(shape)).astype(spec.dtype)
    return np.asarray(generator.integers(0, 2, shape)).astype(spec.dtype)

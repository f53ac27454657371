"""Makes the digits sample sets, and owns the split that the digits example trains on.

Run from the repository root: `python calibration/make_digits.py [--output DIR]`. It needs
scikit-learn, which ships the data; nothing is downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 20
CALIBRATION_SAMPLES = 200
TEST_SAMPLES = 400
LARGEST_PIXEL = 16


class Samples(NamedTuple):
    """Images [n, 1, 8, 8] with pixels in [0, 1], and the digit that each one shows."""

    image: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


class Split(NamedTuple):
    """Three sets that share no image."""

    train: Samples
    calibration: Samples
    test: Samples


def split_digits() -> Split:
    """Cut the 1,797 digits into train, calibration and test sets of equal class shares."""
    digits = load_digits()
    image = (digits.images[:, np.newaxis] / LARGEST_PIXEL).astype(np.float32)
    labels = digits.target.astype(np.int64)
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SAMPLES, stratify=labels, random_state=SEED
    )
    train, calibration = train_test_split(
        rest, test_size=CALIBRATION_SAMPLES, stratify=labels[rest], random_state=SEED
    )
    return Split(*(Samples(image[rows], labels[rows]) for rows in (train, calibration, test)))


def write_sets(folder: Path) -> list[Path]:
    """Write the calibration and the test set, and return their paths."""
    split = split_digits()
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, samples in (("calibration", split.calibration), ("test", split.test)):
        path = folder / f"digits_{name}.npz"
        np.savez_compressed(path, image=samples.image, labels=samples.labels)
        written.append(path)
    return written


def main() -> None:
    """Write the sets where the command line says."""
    parser = argparse.ArgumentParser(description="Make the digits sample sets.")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parent,
        metavar="DIR",
        help="folder to write to (default: the folder of this script)",
    )
    for path in write_sets(parser.parse_args().output):
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""What each of several processes does in the tests of ranks: measure, and keep what came out."""

import json
import os
import sys
from pathlib import Path

import numpy as np

from onnxprune.errors import OnnxpruneError
from onnxprune.statistics.collecting import STATISTICS
from tests.statistics.nets import collector, drawn, samples_of, smooth

NAMES = tuple(name for name in STATISTICS if name != "gram")


def main(folder: Path, precision: str, spoilt: str) -> None:
    """Measure a net, in some steps, on a set in which one sample may be spoilt."""
    x, labels = drawn(7, 22, 3), np.arange(22) % 3
    if spoilt != "none":
        x[int(spoilt)] = np.nan
    net = smooth()
    for each in net.tensors.values():
        each.data = each.data.to(getattr(__import__("torch"), precision))
    samples = samples_of(x.astype(precision), labels)
    measuring = collector(net, samples, batch=4, batches_per_step=4, precision=precision)
    ranks = measuring.ranks
    arrays = {}
    error = ""
    try:
        for step in (1, 2):
            found = measuring.collect(NAMES, {"first": drawn(9, 3, 4) > 0}, step)
            for name, tensors in found.items():
                arrays |= {f"{step} {name} {path}": each for path, each in tensors.items()}
            arrays[f"{step} loss"] = np.array(measuring.loss)
    except OnnxpruneError as caught:
        error = f"{type(caught).__name__}: {caught.message}"
    np.savez(folder / f"{ranks.rank}.npz", **arrays)
    said = {
        "world": ranks.world,
        "threads": measuring.threads,
        "shared": ranks.share(f"of {ranks.rank}") if not error else "",
        "error": error,
    }
    (folder / f"{ranks.rank}.json").write_text(json.dumps(said))
    if not error:
        ranks.leave()
    # Threads of gloo may outlive the group, and would abort an orderly end.
    os._exit(1 if error and ranks.leads else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])

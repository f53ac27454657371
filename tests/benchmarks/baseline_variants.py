"""Sessions of pruned variants of a model: from memory, or from files that are written first."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onnxprune.formats.edits import Edit, Edits
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.formats.saving import Saving
from onnxprune.planning import make_plan
from onnxprune.recipe import make_recipe
from onnxprune.trials.runner import Runner
from onnxprune.trials.variants import Variants

Open = Callable[[Edits], object]
SPARSITIES = (0.5, 0.9)


def decide(model: OnnxModel, sparsity: float) -> Edits:
    """Decide what goes; that is the same work for both ways."""
    plan = make_plan(make_recipe({"sparsity": sparsity}), model.weights, model.values)
    return {cut: Edit(plan.pruner(cut)) for cut in plan.cuts}


@contextmanager
def injecting(model: OnnxModel, runner: Runner, _: Path) -> Iterator[Open]:
    """Hand weights to the runtime in memory."""
    with Variants(model) as variants:
        yield lambda edits: variants.open(runner, "variant", edits)


@contextmanager
def writing(model: OnnxModel, runner: Runner, folder: Path) -> Iterator[Open]:
    """Write each variant to a file, as pruning does, and load that."""
    output = folder / "variant.onnx"

    def write(edits: Edits) -> object:
        Saving(model, output, edits).run()
        return runner.open("variant", output)

    yield write


WAYS = {"inject": injecting, "write": writing}


def seconds_each(path: Path, folder: Path, count: int, way: str) -> float:
    """Open so many variants and return the seconds that each took."""
    with (
        load_onnx(path) as model,
        Runner("cpu") as runner,
        WAYS[way](model, runner, folder) as open_variant,
    ):
        decided = [decide(model, sparsity) for sparsity in SPARSITIES]
        runner.open("dense", path)
        began = time.perf_counter()
        for number in range(count):
            open_variant(decided[number % len(decided)])
        return (time.perf_counter() - began) / count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--way", choices=WAYS, required=True)
    given = parser.parse_args()
    print(seconds_each(given.model, given.folder, given.count, given.way))

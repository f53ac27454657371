"""A model's tensors under the names that its module has for them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.recover.state import State
from onnxprune.translating import Places
from onnxprune.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Names:
    """Reads and writes a module's tensors as the file has them.

    Args:
        state: the module's values.
        places: for tensors of the file, the module's tensor and where its values come from;
            the others have the same name and order in both.
    """

    state: State
    places: Places

    def inner(self, path: str) -> str:
        """Return what the module calls a tensor."""
        return self.places[path][0] if path in self.places else path

    def read(self, path: str, start: int, stop: int) -> Array:
        """Return some of a tensor's values as they are now, in the order of the file."""
        return self.outward(path, self.state.flat(self.inner(path)))[start:stop]

    def outward(self, path: str, values: Array) -> Array:
        """Put a module's values into the order of the file."""
        if path not in self.places:
            return values
        result = np.empty_like(values)
        result[self.places[path][1]] = values
        return result

    def inward(self, masks: Mapping[str, Array]) -> dict[str, Array]:
        """Return masks by the module's names and in its order."""
        return {
            self.inner(path): mask[self.places[path][1]] if path in self.places else mask
            for path, mask in masks.items()
        }


def pair_tensors(model: Model, converted: OnnxModel, places: Places) -> Places:
    """Find, beside weights, what else of a file of torch's is in its ONNX form: by its values.

    Args:
        model: the file.
        converted: its ONNX form.
        places: where its weights are.
    """
    if isinstance(model, OnnxModel):
        return {}
    taken = {name for name, _ in places.values()}
    weights = {weight.path for weight in converted.weights} | taken
    made: dict[bytes, list[str]] = {}
    for constant in converted.graph.constants:
        if constant.path not in weights and converted.editable(constant.path) is None:
            stored = converted.stored(constant.path)
            key = stored.values(0, stored.size).tobytes()
            made.setdefault(key, []).append(constant.path)
    found = dict(places)
    kept: dict[bytes, list[str]] = {}
    for path, region in model.regions.items():
        if path not in places and region.path == path and model.editable(path) is None:
            key = model.values(path, 0, region.size).tobytes()
            kept.setdefault(key, []).append(path)
    for key, paths in kept.items():
        # Equal values tell nothing of which is which.
        if len(paths) == len(made.get(key, ())) == 1:
            size = model.stored(paths[0]).size
            found[paths[0]] = made[key][0], np.arange(size)
    return found

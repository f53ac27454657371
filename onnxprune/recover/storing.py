"""Rounds what was found to what the file can hold, before it is judged for the last time."""

import numpy as np

from onnxprune.formats.loading import Model
from onnxprune.recover.attempts import Attempts
from onnxprune.recover.workshop import Workshop
from onnxprune.recoveries import Standing


def round_values(shop: Workshop, model: Model, attempts: Attempts) -> Standing:
    """Give all tensors the values that will be read from the file; return how it stands then.

    Args:
        shop: the model and its values.
        model: the file that is pruned.
        attempts: knows how it stood before.
    """
    state, names = shop.state, shop.names
    back = {inner: path for path, (inner, _) in names.places.items()}
    rounded = False
    for name, array in state.changed(sorted(state.free)).items():
        if name in shop.created.values():
            continue
        path = back.get(name, name)
        stored = model.stored(path)
        if stored.kind == "FLOAT":
            continue
        given = names.outward(path, array)
        real = stored.real(stored.encoded(given.astype(np.float64), 0), 0)
        order = names.places[path][1] if path in names.places else slice(None)
        state.put(name, real[order])
        rounded = True
    return attempts.judge.stand(state.current()) if rounded else attempts.standing

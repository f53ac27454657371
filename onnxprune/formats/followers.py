"""What goes with a filter that falls: its bias, and its scale and shift in a normalisation."""

from collections.abc import Callable, Mapping

from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_biases import Surroundings, surroundings
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.types import Array

Around = Callable[[str], Surroundings | None]
"""weight -> what stands behind it, if that is known."""


def followers_of(
    model: Model, fallen: Mapping[str, Array]
) -> tuple[dict[str, Array], list[str]]:
    """Return which values of biases and normalisations go with filters, and what stays.

    Args:
        model: the model.
        fallen: which outputs of a weight fell as wholes, by its path.
    """
    if not isinstance(model, OnnxModel):
        return {}, list(fallen)
    return _followers(fallen, lambda path: surroundings(model, path), model.editable)


def followers_among(
    around: Mapping[str, Surroundings], fallen: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the same where it is known what stands behind weights."""
    return _followers(fallen, around.get, lambda path: None)[0]


def _followers(
    fallen: Mapping[str, Array], around: Around, editable: Callable[[str], str | None]
) -> tuple[dict[str, Array], list[str]]:
    found: dict[str, Array] = {}
    apart = []
    for path, rows in fallen.items():
        place = around(path)
        if place is None:
            apart.append(path)
            continue
        norm = place.normalisation
        names = [place.bias] if place.bias is not None else []
        names += [norm.scale, norm.bias] if norm is not None else []
        # Without a bias of its own there may still be one that others use, too.
        if not (names or place.creatable) or any(editable(name) is not None for name in names):
            apart.append(path)
        found |= {name: rows for name in names if editable(name) is None}
    return found, apart

"""The values of an archive, divided into regions that one or more tensors show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onnxprune.formats.torch_pickle import StoredView
from onnxprune.formats.torch_surveying import Used

NOT_TOGETHER = "its values do not lie together in the file"
TWO_TYPES = "its bytes are values of two types"


@dataclass(slots=True, eq=False)
class Region:
    """Values that lie together, and the tensors that show all of them.

    Args:
        key: the member that they are in; `start`: which of its values is the first.
        kind: their type.
        shape: their sizes in the order in which they lie.
        paths: of the tensors, the one that a user knows first.
        permuted: whether they lie in another order than the sizes of the first tensor say.
        uses: what is done with them.
    """

    key: str
    start: int
    kind: str
    shape: tuple[int, ...]
    paths: list[str]
    permuted: bool = False
    uses: list[Used] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The name that they go by."""
        return self.paths[0]

    @property
    def size(self) -> int:
        """How many values they are."""
        size = 1
        for each in self.shape:
            size *= each
        return size


def divide(
    views: Mapping[str, StoredView], parameters: Sequence[str]
) -> tuple[list[Region], list[tuple[str, str]]]:
    """Return the regions of all tensors, and the tensors that have none, with the reason.

    Args:
        views: the tensors by path.
        parameters: paths whose names come first.
    """
    first = [path for path in parameters if path in views]
    found: dict[tuple[str, int, int], Region] = {}
    kinds: dict[str, set[str]] = {}
    for view in views.values():
        kinds.setdefault(view.storage.key, set()).add(view.storage.kind)
    unusable = []
    for path in dict.fromkeys([*first, *views]):
        view = views[path]
        if not all(view.shape):
            continue
        order = dense_order(view.shape, view.stride)
        alike = len(kinds[view.storage.key]) == 1
        if order is None or not alike:
            unusable.append((path, NOT_TOGETHER if alike else TWO_TYPES))
            continue
        plain = sorted(order)
        shape = view.shape if order == plain else tuple(view.shape[each] for each in order)
        region = Region(
            view.storage.key, view.offset, view.storage.kind, shape, [path], order != plain
        )
        key = (region.key, region.start, region.size)
        if key in found:
            found[key].paths.append(path)
        else:
            found[key] = region
    return list(found.values()), unusable


def dense_order(shape: Sequence[int], stride: Sequence[int]) -> list[int] | None:
    """Return the dimensions in the order of memory, if values lie there without gaps."""
    wide = [each for each in range(len(shape)) if shape[each] != 1]
    order = sorted(wide, key=lambda each: (stride[each], shape[each]), reverse=True)
    expected = 1
    for each in reversed(order):
        if stride[each] != expected:
            return None
        expected *= shape[each]
    return order

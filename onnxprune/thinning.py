"""Which of a model's tensors are written sparse, and what a report says of how they lie."""

from collections.abc import Mapping, Sequence

from onnxprune.errors import UnsupportedError
from onnxprune.formats.edits import Edit
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_sparsifying import Choice, choose
from onnxprune.storage import DENSE, SPARSE, Storage
from onnxprune.types import Weight

NONE_SMALLER = (
    "no tensor gets smaller stored sparse, so the file is dense: that takes more than 66.7 %"
    " zeros in float32, 80 % in float16, 88.9 % in int8"
)


def choose_sparse(
    model: Model, weights: Sequence[Weight], edits: Mapping[str, Edit], form: str
) -> Choice | None:
    """Choose which tensors are written sparse, if that is wanted.

    Args:
        model: the open model.
        weights: that are pruned; what was sparse in the model's file comes to them.
        edits: what becomes of them.
        form: `dense` or `sparse`.
    """
    if form == DENSE:
        return None
    if not isinstance(model, OnnxModel):
        raise UnsupportedError(
            f"--storage sparse: {model.kind} has no form for that",
            "prune an ONNX file with it",
        )
    were = () if model.densified is None else model.densified.names
    paths = dict.fromkeys((*(weight.path for weight in weights), *were))
    return choose(model, list(paths), edits)


def storage_of(model: Model, form: str = SPARSE) -> Storage | None:
    """Return which tensors are sparse in a model's own file, if any are.

    Args:
        model: the open model.
        form: of these tensors in the file that the report is about.
    """
    were = model.densified if isinstance(model, OnnxModel) else None
    if were is None:
        return None
    return Storage(form, were.tensors, were.dense_bytes, were.sparse_bytes)


def settled_storage(
    model: Model, choice: Choice | None, written: Storage | None
) -> tuple[Storage | None, list[str]]:
    """Return how the tensors of a pruned model lie, and what a user should know of that.

    Args:
        model: what was pruned.
        choice: which tensors are written sparse, if that was wanted.
        written: which ones were, if a file was written so.
    """
    if choice is not None:
        return written or choice.storage, [] if choice.forms else [NONE_SMALLER]
    made = storage_of(model, DENSE)
    if made is None:
        return None, []
    one = made.tensors == 1
    warning = (
        f"{made.tensors} sparse tensor{'' if one else 's'} {'was' if one else 'were'} made"
        f" dense; --storage sparse writes {'it' if one else 'them'} so again"
    )
    return made, [warning]

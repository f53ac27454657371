"""The noun of how tensors lie in a file: whole, or their non-zero values with their places."""

from dataclasses import dataclass

from onnxprune.errors import UsageError

DENSE, SPARSE = "dense", "sparse"


@dataclass(frozen=True, slots=True)
class Storage:
    """How tensors lie in a file that are, or were, stored sparse.

    Args:
        form: `sparse` where they are so in the file; `dense` where they were so before.
        tensors: how many these are.
        dense_bytes: what they take as dense ones; `sparse_bytes`: as sparse ones.
        sparse_bytes: see above.
        stay: why others stay dense, with their numbers.
    """

    form: str
    tensors: int
    dense_bytes: int
    sparse_bytes: int
    stay: tuple[tuple[str, int], ...] = ()


def check_storage(form: str) -> None:
    """Refuse a form of storage that there is not."""
    if form not in (DENSE, SPARSE):
        raise UsageError(f"--storage takes {DENSE} or {SPARSE}, not '{form}'")

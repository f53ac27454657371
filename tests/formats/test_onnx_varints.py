"""Numbers of varying width: read, and written again with some of them changed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.formats.onnx_varints import decode_varints, rewrite_varints, widths_of
from tests.formats.files_made import varint

NUMBERS = st.one_of(
    st.integers(0, 300),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 63).map(lambda power: 1 << power),
)
ROWS = st.tuples(NUMBERS, st.integers(1, 10), NUMBERS, st.booleans())


@given(st.lists(ROWS, max_size=30))
def test_numbers_keep_their_width_where_that_is_enough(
    rows: list[tuple[int, int, int, bool]],
) -> None:
    parts = [varint(old, width) for old, width, _, _ in rows]
    content = b"".join(parts)
    widths = widths_of(content)
    assert widths.tolist() == [len(part) for part in parts]
    assert decode_varints(content).tolist() == [old for old, _, _, _ in rows]
    changed = np.array([flag for _, _, _, flag in rows], bool)
    numbers = np.array([new for _, _, new, _ in rows], np.uint64)
    made = rewrite_varints(content, widths, changed, numbers)
    assert made == b"".join(
        varint(new, len(part)) if flag else part
        for part, (_, _, new, flag) in zip(parts, rows, strict=True)
    )


def test_what_lies_beyond_64_bits_stays_where_nothing_changes() -> None:
    content = b"\xff" * 9 + b"\x7f" + b"\x05"
    made = rewrite_varints(
        content, widths_of(content), np.array([False, True]), np.array([0, 300], np.uint64)
    )
    assert made == content[:10] + varint(300)

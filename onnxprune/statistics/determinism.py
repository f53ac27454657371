"""Runs torch so that the same numbers come out each time on the same build, device and threads."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def reproducible() -> Iterator[None]:
    """Let torch take the algorithms whose results do not depend on timing, where there are any."""
    # cuBLAS reads this when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_deterministic_debug_mode()
    benchmark = torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic
    filling = memory.fill_uninitialized_memory
    try:
        torch.backends.cudnn.benchmark = False
        memory.fill_uninitialized_memory = False
        # As torch.use_deterministic_algorithms, without loading torch's compiler: that takes seconds.
        torch.set_deterministic_debug_mode("warn")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*deterministic", UserWarning)
            yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = filling

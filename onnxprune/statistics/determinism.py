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
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    memory: Any = torch.utils.deterministic
    filling = memory.fill_uninitialized_memory
    try:
        torch.backends.cudnn.benchmark = False
        memory.fill_uninitialized_memory = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*deterministic", UserWarning)
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        memory.fill_uninitialized_memory = filling

"""How many threads the work may use, and how it is spread; results never depend on it."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count() -> int:
    """Return the number of processors this process may use, at most eight."""
    asked = os.environ.get("ONNXPRUNE_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:
        available = os.cpu_count() or 1
    return max(1, min(available, 8))


def parallel(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Apply a function to all items, in threads, and return the results in order."""
    with ThreadPoolExecutor(worker_count()) as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            # What has not begun need not be finished before the user gets the prompt back.
            pool.shutdown(wait=False, cancel_futures=True)
            raise

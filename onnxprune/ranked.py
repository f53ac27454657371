"""The processes that torchrun starts for one command: who leads, who does what, who failed.

They meet in a store of small values: orders, finished work, signs of life. The first process
decides, writes and reports; the others do what it gives out, print nothing and end with 0. Sums
of tensors go another way, which `gather` opens for statistics/ranks.py.
"""

import contextlib
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

from onnxprune.errors import LibraryError, LimitError, OnnxpruneError

Made = TypeVar("Made")
MEETING = timedelta(seconds=120)
SILENCE = 120.0
"""After so many seconds without a sign of life a process counts as dead."""

BEAT = 5.0
PAUSE = 0.02
ANSWER = 600.0
"""How long a process may wait for another one's tensors, in seconds."""

FAILED = "failed"
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
HINT = "torchrun reports which process ended, and why"


class Dismissed(BaseException):
    """The leading process needs nothing more of this one."""


class Company:
    """The processes of a command, as one of them sees them.

    Args:
        rank: the number of this one.
        world: how many there are.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank = rank
        self.world = world
        self._store: Any = None
        self._over = threading.Event()
        self._signaller: threading.Thread | None = None
        self._signs: dict[int, tuple[int, float]] = {}
        self._orders = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that decides, writes and reports."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.world == 1

    def meet(self) -> Any:
        """Meet the others, unless that was done; return the store where they do."""
        if self._store is None and not self.alone:
            from torch.distributed.distributed_c10d import PrefixStore
            from torch.distributed.rendezvous import rendezvous

            with _connected():
                store, _, _ = next(iter(rendezvous("env://", timeout=MEETING)))
                self._store = PrefixStore("onnxprune", store)
            self._signaller = threading.Thread(target=self._live, daemon=True)
            self._signaller.start()
        return self._store

    def gather(self, cuda: bool, seconds: float = ANSWER) -> None:
        """Let the processes exchange tensors, once all of them are ready for it.

        Args:
            cuda: whether the tensors are on a GPU.
            seconds: how long one may wait for another's.
        """
        import torch.distributed as distributed
        from torch.distributed.distributed_c10d import PrefixStore

        if self.alone or distributed.is_initialized():
            return
        store = self.meet()
        store.set(f"ready/{self.rank}", "")
        ready = [f"ready/{rank}" for rank in range(self.world)]
        self._until(lambda: bool(store.check(ready)))
        with _connected():
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if cuda else "gloo",
                store=PrefixStore("tensors", store),
                rank=self.rank,
                world_size=self.world,
                timeout=timedelta(seconds=seconds),
            )

    def order(self, order: object) -> None:
        """Tell the other processes what to do next; None is that there is nothing more."""
        with _connected():
            self.meet().set(f"order/{self._orders}", pickle.dumps(order))
        self._orders += 1

    def orders(self) -> Iterator[Any]:
        """Wait for what the leading process wants done, and for the next, until the end."""
        while True:
            order = self._await(f"order/{self._orders}")
            self._orders += 1
            if order is None:
                return
            yield order

    def share_out(
        self, wanted: Sequence[int], work: Callable[[int], Made]
    ) -> Iterator[tuple[int, Made]]:
        """Do numbered pieces of work together; the leading process gets them as they come.

        Args:
            wanted: their numbers, as the leading process has them.
            work: does one of them.
        """
        if self.alone:
            for number in wanted:
                yield number, work(number)
            return
        store = self.meet()
        if self.leads:
            with _connected():
                store.set("wanted", pickle.dumps(list(wanted)))
        numbers: list[int] = self._await("wanted")
        missing = set(range(len(numbers)))
        while (taken := self._take(len(numbers))) is not None:
            made = work(numbers[taken])
            if not self.leads:
                with _connected():
                    store.set(f"made/{taken}", pickle.dumps(made))
                continue
            missing.discard(taken)
            yield numbers[taken], made
            for each in self._arrived(missing):
                yield numbers[each], self._await(f"made/{each}")
        while self.leads and missing:
            self._until(lambda: any(store.check([f"made/{each}"]) for each in missing))
            for each in self._arrived(missing):
                yield numbers[each], self._await(f"made/{each}")

    def refuse_failed(self) -> None:
        """End if another process failed: with its error where this one leads."""
        if self._store is None:
            return
        with _connected():
            if not self._store.check([FAILED]):
                return
            kind, message, hint = pickle.loads(self._store.get(FAILED))
        if not self.leads:
            raise Dismissed
        kinds = {each.__name__: each for each in OnnxpruneError.__subclasses__()}
        raise kinds.get(kind, LibraryError)(message, hint)

    def part(self, error: BaseException | None, code: int) -> int:
        """Part from the others and return the exit code: only the leading one's says a thing.

        Args:
            error: what ended the command here.
            code: the exit code of that.
        """
        if self.alone:
            return code
        # Whoever cannot be reached any more has ended as well.
        with contextlib.suppress(OnnxpruneError, RuntimeError):
            if self._store is None:
                pass  # nobody knows of this one
            elif error is None or isinstance(error, Dismissed):
                self._leave()
            else:
                self._tell(error)
        self._over.set()
        if self._signaller is not None:
            self._signaller.join(1)
        interrupted = code > 128
        return code if self.leads or interrupted else 0

    def _tell(self, error: BaseException) -> None:
        """Let the others know that this process failed, unless one did before."""
        match error:
            case OnnxpruneError():
                told: OnnxpruneError = error
            case MemoryError():
                told = LimitError(f"process {self.rank} needs more memory than there is")
            case _:
                words = " ".join(str(error).split())
                told = LibraryError(
                    f"process {self.rank} ended with {type(error).__name__}: {words}", HINT
                )
        said = pickle.dumps((type(told).__name__, told.message, told.hint))
        if self._store.add("failures", 1) == 1:
            self._store.set(FAILED, said)

    def _leave(self) -> None:
        import torch.distributed as distributed

        if self.leads:
            self.order(None)
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def _live(self) -> None:
        """Give signs of life until the end."""
        with contextlib.suppress(RuntimeError):
            while True:
                self._store.add(f"alive/{self.rank}", 1)
                if self._over.wait(BEAT):
                    return

    def _take(self, count: int) -> int | None:
        """Return the place of a piece of work that nobody has taken, if there is one."""
        self.refuse_failed()
        with _connected():
            taken = int(self._store.add("taken", 1)) - 1
        return taken if taken < count else None

    def _arrived(self, missing: set[int]) -> list[int]:
        """Return, and count as done, what other processes have finished."""
        self.refuse_failed()
        with _connected():
            arrived = [each for each in sorted(missing) if self._store.check([f"made/{each}"])]
        missing.difference_update(arrived)
        return arrived

    def _await(self, key: str) -> Any:
        store = self.meet()
        self._until(lambda: bool(store.check([key])))
        with _connected():
            return pickle.loads(store.get(key))

    def _until(self, ready: Callable[[], bool]) -> None:
        """Wait as long as nobody fails or falls silent."""
        self._signs.clear()
        while True:
            with _connected():
                if ready():
                    return
            self.refuse_failed()
            self._refuse_silence()
            time.sleep(PAUSE)

    def _refuse_silence(self) -> None:
        """Stop waiting for processes that have not been heard of for long."""
        now = time.monotonic()
        # The others depend on the leading process alone.
        for rank in range(1, self.world) if self.leads else (0,):
            with _connected():
                sign = int(self._store.add(f"alive/{rank}", 0))
            known, since = self._signs.get(rank, (-1, now))
            if sign != known:
                self._signs[rank] = sign, now
            elif now - since > SILENCE:
                raise LibraryError(
                    f"process {rank} of this run gave no sign of life for {SILENCE:g} s", HINT
                )


ALONE = Company()
_current: ContextVar[Company] = ContextVar("company", default=ALONE)


def company() -> Company:
    """Return the processes that this command runs in."""
    return _current.get()


def join() -> Company:
    """Take part in the command for which torchrun started this process, if it did."""
    found = [os.environ.get(variable, "") for variable in VARIABLES]
    rank, world = (int(each) if each.isdigit() else 0 for each in found[:2])
    if all(found) and world > 1:
        _current.set(Company(rank, world))
        # What torchrun says of threads holds for all that runs here, ONNX Runtime included.
        os.environ.setdefault("ONNXPRUNE_THREADS", os.environ.get("OMP_NUM_THREADS", ""))
    return company()


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Say so if another process cannot be reached."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        words = " ".join(str(error).split())
        raise LibraryError(
            f"another process of this run cannot be reached: {words}", HINT
        ) from error

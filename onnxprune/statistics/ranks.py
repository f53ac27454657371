"""The processes that share a run under torchrun, and how what each measured becomes one sum.

Batches are numbered before they are shared out. The first process adds up what came of each,
in order and in double precision, so that the sum does not depend on how many processes there are.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor

from onnxprune.errors import LibraryError, OnnxpruneError
from onnxprune.threads import worker_count

Item = TypeVar("Item")
CPU = torch.device("cpu")
FINE, FAILED = 0.0, 1.0


@dataclass(slots=True, eq=False)
class Part:
    """What some samples add to a mean.

    Args:
        count: how many samples.
        loss: the sum of their losses.
        tensors: sums over them, by path, in double precision.
    """

    count: int = 0
    loss: float = 0.0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def add(self, other: "Part") -> None:
        """Add what other samples add."""
        self.count += other.count
        self.loss += other.loss
        for path, tensor in other.tensors.items():
            if path in self.tensors:
                self.tensors[path] += tensor
            else:
                self.tensors[path] = tensor


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a run.

    Args:
        rank: the number of this one.
        world: how many there are.
        device: where tensors are that they send each other.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Whether this is the process that decides, writes and reports."""
        return self.rank == 0

    def total(
        self,
        items: Iterable[Item],
        work: Callable[[Item], Part],
        like: dict[str, Tensor],
    ) -> Part:
        """Add up, in order, what comes of items that are shared out; all get the sum.

        Args:
            items: the same ones in all processes.
            work: what is done with an item by one of the processes.
            like: tensors of the shapes that come of it.
        """
        total = Part()
        for number, item in enumerate(items):
            owner = number % self.world
            if owner == self.rank:
                part = self._done(work, item)
                if not self.leads:
                    with _connected():
                        self._send(part)
            elif self.leads:
                with _connected():
                    part = self._receive(owner, like)
            if self.leads:
                total.add(part)
        return self._spread(total, like)

    def share(self, value: Any) -> Any:
        """Return, in all processes, what the leading one has."""
        if self.world == 1:
            return value
        box = [value if self.leads else None]
        with _connected():
            distributed.broadcast_object_list(box, 0, device=self.device)
        return box[0]

    def leave(self) -> None:
        """Part from the other processes, once all have come so far."""
        if self.world > 1 and distributed.is_initialized():
            with _connected():
                distributed.barrier()
            distributed.destroy_process_group()

    def _done(self, work: Callable[[Item], Part], item: Item) -> Part:
        try:
            return work(item)
        except OnnxpruneError as error:
            if not self.leads:
                with _connected():
                    self._send_failure(error)
            raise

    def _send(self, part: Part) -> None:
        distributed.send(self._head(FINE, part.count, part.loss), 0)
        for tensor in part.tensors.values():
            distributed.send(tensor.to(self.device).contiguous(), 0)

    def _send_failure(self, error: OnnxpruneError) -> None:
        said = f"{type(error).__name__}\n{error.message}\n{error.hint or ''}".encode()
        distributed.send(self._head(FAILED, length=len(said)), 0)
        text = torch.frombuffer(bytearray(said), dtype=torch.uint8)
        distributed.send(text.to(self.device), 0)

    def _receive(self, owner: int, like: dict[str, Tensor]) -> Part:
        head = self._head(FINE)
        distributed.recv(head, owner)
        state, count, loss, length = head.tolist()
        if state == FAILED:
            text = torch.zeros(int(length), dtype=torch.uint8, device=self.device)
            distributed.recv(text, owner)
            kind, message, hint = bytes(text.cpu().tolist()).decode().split("\n", 2)
            kinds = {each.__name__: each for each in OnnxpruneError.__subclasses__()}
            raise kinds.get(kind, LibraryError)(message, hint or None)
        tensors = {}
        for path, model in like.items():
            received = self._empty(model)
            distributed.recv(received, owner)
            tensors[path] = received.to(model.device)
        return Part(int(count), loss, tensors)

    def _spread(self, total: Part, like: dict[str, Tensor]) -> Part:
        if self.world == 1:
            return total
        with _connected():
            head = self._head(FINE, total.count, total.loss)
            distributed.broadcast(head, 0)
            tensors = {}
            for path, model in like.items():
                tensor = (
                    total.tensors[path].to(self.device).contiguous()
                    if self.leads
                    else self._empty(model)
                )
                distributed.broadcast(tensor, 0)
                tensors[path] = tensor.to(model.device)
        _, count, loss, _ = head.tolist()
        return Part(int(count), loss, tensors)

    def _head(
        self, state: float, count: int = 0, loss: float = 0.0, length: int = 0
    ) -> Tensor:
        numbers = [state, count, loss, length]
        return torch.tensor(numbers, dtype=torch.float64, device=self.device)

    def _empty(self, model: Tensor) -> Tensor:
        return torch.empty(model.shape, dtype=torch.float64, device=self.device)


def join_ranks(device: torch.device) -> Ranks:
    """Return the processes that this one is of: itself alone if torchrun did not start it.

    Args:
        device: where this one computes.
    """
    world = _number("WORLD_SIZE", 1)
    if world < 2 or not distributed.is_available():
        return Ranks()
    with _connected():
        if not distributed.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        place = device if device.type == "cuda" else CPU
        return Ranks(distributed.get_rank(), distributed.get_world_size(), place)


def settle_threads() -> int:
    """Set and return how many threads torch computes with; torchrun's choice is kept."""
    count = worker_count()
    if _number("WORLD_SIZE", 1) > 1:
        count = _number("OMP_NUM_THREADS", count)
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return count


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() and int(text) > 0 else default


@contextmanager
def _connected() -> Iterator[None]:
    """Say so if another process cannot be reached."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise LibraryError(
            f"another process of this run cannot be reached: {said}",
            "torchrun reports which one ended, and why",
        ) from error

"""Steps over numbered values: what a model has become once its names and constants are settled.

A program knows no ONNX. Its frame holds one value per number; subgraphs are blocks of steps on
the same frame, so that they read what lies around them; a function is a program of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from onnxprune.errors import LimitError, OnnxpruneError, UnsupportedError

Frame = list[Any]
Call = Callable[..., Any]
NOTHING, TENSORS, WASTE = 0, 1, 2
"""The numbers of: an input that is not there, the tensors by path, outputs nobody wants."""

WORDS = 200


@dataclass(slots=True, eq=False)
class Step:
    """One node.

    Args:
        call: computes it, from values or, with `inner`, on the frame.
        sources: the numbers of what it reads.
        targets: the numbers of what it makes.
        label: the node's name and operator, for messages.
        inner: whether it runs blocks, and so reads and writes the frame itself.
        captured: what its blocks read from around them.
        fixed: whether the shapes of its inputs alone decide what it makes.
        random: whether it may make something else every time.
        rescue: finds another way to compute the node when the first one fails, or None.
        dead: the numbers that no later step of the block reads.
    """

    call: Call
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    label: str = ""
    inner: bool = False
    captured: frozenset[int] = frozenset()
    fixed: bool = False
    random: bool = False
    rescue: Callable[[Sequence[Any], Exception], Call | None] | None = None
    dead: tuple[int, ...] = ()

    def compute(self, frame: Frame) -> None:
        """Compute the node, by another way if the first one fails."""
        try:
            if self.inner:
                self.call(frame)
                return
            result = self.call(*[frame[source] for source in self.sources])
        except Exception as error:
            if self.rescue is None:
                raise explained(error, self.label) from error
            result = self._again(frame, error)
        if isinstance(result, tuple):
            self._place(frame, result)
        else:
            frame[self.targets[0]] = result

    def _again(self, frame: Frame, error: Exception) -> Any:
        """Compute the node by another way, and from now on so, or say why it failed."""
        assert self.rescue is not None
        values = [frame[source] for source in self.sources]
        call = self.rescue(values, error)
        if call is None:
            raise explained(error, self.label) from error
        try:
            result = call(*values)
        except Exception as second:
            raise explained(second, self.label) from second
        self.call, self.rescue = call, None
        return result

    def _place(self, frame: Frame, result: tuple[Any, ...]) -> None:
        if len(result) < len(self.targets):
            missing = self.targets[len(result) :]
            if any(target != WASTE for target in missing):
                raise UnsupportedError(
                    f"{self.label} has {len(self.targets)} outputs; {len(result)} are known"
                )
        for target, value in zip(self.targets, result, strict=False):
            frame[target] = value


@dataclass(slots=True, eq=False)
class Block:
    """Steps in order, on a frame that is given."""

    steps: list[Step] = field(default_factory=list)

    def run(self, frame: Frame) -> None:
        """Compute all steps."""
        for step in self.steps:
            step.compute(frame)
            for number in step.dead:
                frame[number] = None

    def reads(self) -> frozenset[int]:
        """Return the numbers that its steps read, and do not make."""
        read: set[int] = set()
        made: set[int] = set()
        for step in self.steps:
            read.update(source for source in step.sources if source not in made)
            read |= step.captured - made
            made.update(step.targets)
        return frozenset(read)

    def release(self, kept: Iterable[int], given: Iterable[int] = ()) -> None:
        """Note after which step each value is no longer needed.

        Args:
            kept: what is read after the last step.
            given: what is there before the first, and may go, too.
        """
        seen = set(kept) | {NOTHING, TENSORS, WASTE}
        own = {target for step in self.steps for target in step.targets} | set(given)
        for step in reversed(self.steps):
            touched = {*step.sources, *step.captured, *step.targets}
            step.dead = tuple(sorted((touched & own) - seen))
            seen |= touched


@dataclass(slots=True, eq=False)
class Program:
    """A block with its constants, its inputs and its outputs.

    Args:
        template: the frame before anything is computed: constants at their numbers.
        parameters: the numbers that take a tensor, with its path.
        inputs, outputs: the numbers of what goes in and comes out.
    """

    template: Frame
    block: Block
    parameters: list[tuple[int, str]]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def run(
        self,
        values: Sequence[Any],
        tensors: Mapping[str, Tensor],
        frame: Frame | None = None,
    ) -> tuple[Any, ...]:
        """Compute the outputs.

        Args:
            values: one per input.
            tensors: the parameters, by path.
            frame: where to compute, if the caller wants to see it afterwards.
        """
        frame = [] if frame is None else frame
        frame[:] = self.template
        frame[TENSORS] = tensors
        for number, path in self.parameters:
            frame[number] = tensors[path]
        for number, value in zip(self.inputs, values, strict=False):
            frame[number] = value
        self.block.run(frame)
        return tuple([frame[number] for number in self.outputs])


def explained(error: Exception, label: str) -> OnnxpruneError:
    """Say at which node computing failed."""
    if isinstance(error, OnnxpruneError):
        if label and label not in error.message and not error.message.startswith("node '"):
            error.message = f"{label}: {error.message}"
        return error
    words = " ".join(str(error).split())
    if len(words) > WORDS:
        words = words[:WORDS] + "..."
    memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    if memory or "allocate memory" in words:
        return LimitError(f"{label}: out of memory", "--batch 1 needs the least")
    return UnsupportedError(
        f"{label} cannot be computed here: {words or type(error).__name__}"
    )

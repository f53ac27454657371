"""Settles, for inputs of one shape, whatever follows from shapes alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from onnxprune.reimport.program import WASTE, Block, Frame, Program, Step


def signature(values: Sequence[Any]) -> object:
    """Return the shapes of inputs as a key."""
    return tuple([tuple(value.shape) if hasattr(value, "shape") else None for value in values])


def specialised(
    program: Program, values: Sequence[Any], tensors: Mapping[str, Tensor]
) -> Program:
    """Return a program for inputs of the shapes of these, which computes nothing of shapes.

    Args:
        program: for inputs of any shape.
        values: inputs of the shapes that are wanted.
        tensors: the parameters, by path.
    """
    settled = _settled(program)
    made = {target for step in settled for target in step.targets} - {WASTE}
    kept = [
        replace(step, dead=tuple(number for number in step.dead if number not in made))
        for step in program.block.steps
    ]
    frame: Frame = []
    replace(program, block=Block(kept)).run(values, tensors, frame)
    left = Block([replace(step) for step in program.block.steps if step not in settled])
    left.release(program.outputs, program.inputs)
    template = list(program.template)
    for number in made & (left.reads() | set(program.outputs)):
        template[number] = frame[number]
    return replace(program, template=template, block=left)


def _settled(program: Program) -> set[Step]:
    """Return the steps whose results follow from the inputs' shapes."""
    open_numbers = {*program.inputs, *(number for number, _ in program.parameters)}
    settled: set[Step] = set()
    for step in program.block.steps:
        closed = not step.inner and not step.random and not open_numbers & {*step.sources}
        if step.fixed or closed:
            settled.add(step)
        else:
            open_numbers.update(step.targets)
    return settled

from typing import Any

import pytest
import torch

from onnxprune.errors import InputError, LimitError, UnsupportedError
from onnxprune.reimport.program import WASTE, Block, Program, Step


def program(steps: list[Step], size: int, outputs: tuple[int, ...]) -> Program:
    block = Block(steps)
    block.release(outputs, (3,))
    return Program([None] * size, block, [], (3,), outputs)


def test_steps_read_and_write_the_frame() -> None:
    steps = [Step(lambda x: x + 1, (3,), (4,)), Step(lambda a, b: a * b, (4, 4), (5,))]
    assert program(steps, 6, (5,)).run([2], {}) == (9,)


def test_a_step_may_give_several_values_of_which_some_are_not_wanted() -> None:
    steps = [Step(lambda x: (x, -x, 2 * x), (3,), (WASTE, 4, 5))]
    assert program(steps, 6, (4, 5)).run([2], {}) == (-2, 4)


def test_values_that_nobody_gives_are_an_error_only_if_they_are_wanted() -> None:
    assert program([Step(lambda x: (x,), (3,), (4, WASTE))], 6, (4,)).run([2], {}) == (2,)
    with pytest.raises(UnsupportedError) as caught:
        program([Step(lambda x: (x,), (3,), (4, 5), "node 'n' (Op)")], 6, (5,)).run([2], {})
    assert str(caught.value) == "node 'n' (Op) has 2 outputs; 1 are known"


def test_a_list_is_one_value() -> None:
    assert program([Step(lambda x: [x, x], (3,), (4,))], 5, (4,)).run([2], {}) == ([2, 2],)


def test_values_are_released_behind_their_last_reader() -> None:
    steps = [
        Step(lambda x: x, (3,), (4,)),
        Step(lambda x: x, (4,), (5,)),
        Step(lambda x, y: x, (4, 5), (6,)),
    ]
    program(steps, 7, (6,))
    assert [step.dead for step in steps] == [(3,), (), (4, 5)]


def test_a_value_that_nobody_reads_is_released_at_once() -> None:
    steps = [Step(lambda x: (x, x), (3,), (4, 5))]
    program(steps, 6, (4,))
    assert steps[0].dead == (3, 5)


def test_what_blocks_read_from_around_them_is_kept_until_then() -> None:
    steps = [
        Step(lambda x: x, (3,), (4,)),
        Step(lambda frame: None, (), (5,), inner=True, captured=frozenset((3, 4))),
    ]
    program(steps, 6, (5,))
    assert [step.dead for step in steps] == [(), (3, 4)]


def test_a_step_that_fails_is_computed_by_another_way_from_then_on() -> None:
    tries: list[str] = []

    def fails(x: Any) -> Any:
        tries.append("first")
        raise UnsupportedError("no")

    step = Step(fails, (3,), (4,), rescue=lambda values, error: lambda x: x + 1)
    made = program([step], 5, (4,))
    assert made.run([1], {}) == (2,)
    assert made.run([2], {}) == (3,)
    assert tries == ["first"]


def test_a_step_without_another_way_says_where_it_failed() -> None:
    def fails(x: Any) -> Any:
        raise RuntimeError("shapes\n do not fit")

    step = Step(fails, (3,), (4,), "node 'n' (Op)", rescue=lambda values, error: None)
    with pytest.raises(UnsupportedError) as caught:
        program([step], 5, (4,)).run([1], {})
    assert str(caught.value) == "node 'n' (Op) cannot be computed here: shapes do not fit"


def test_our_own_errors_keep_their_kind_and_name_the_node_once() -> None:
    def fails(x: Any) -> Any:
        raise InputError("a number is wrong")

    step = Step(fails, (3,), (4,), "node 'n' (Op)")
    with pytest.raises(InputError) as caught:
        program([step], 5, (4,)).run([1], {})
    assert str(caught.value) == "node 'n' (Op): a number is wrong"


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("no room")])
def test_a_lack_of_memory_is_a_limit(error: Exception) -> None:
    def fails(x: Any) -> Any:
        raise error

    with pytest.raises(LimitError) as caught:
        program([Step(fails, (3,), (4,), "node 'n' (Op)")], 5, (4,)).run([1], {})
    assert str(caught.value) == "node 'n' (Op): out of memory"

"""Sets of labels: united, frozen for the first reason."""

import itertools

import numpy as np

from onnxprune.structure.labels import Labels


def test_labels_are_channels_of_their_own_until_they_are_united() -> None:
    labels = Labels()
    first, second = labels.fresh(3), labels.fresh(3)
    assert len(set(labels.roots(np.concatenate([first, second])).tolist())) == 6
    labels.unite(first, second)
    assert labels.roots(first).tolist() == labels.roots(second).tolist() == [0, 1, 2]


def test_a_union_reaches_all_that_were_united_before() -> None:
    labels = Labels()
    chain = [labels.fresh(1) for _ in range(5)]
    for one, other in itertools.pairwise(chain):
        labels.unite(one, other)
    assert {labels.root(int(each[0])) for each in chain} == {0}


def test_the_first_reason_is_kept_by_whichever_set_remains() -> None:
    labels = Labels()
    first, second, third = labels.fresh(1), labels.fresh(1), labels.fresh(1)
    labels.freeze(second, "an output")
    labels.unite(first, second)
    assert labels.reason(int(first[0])) == "an output"
    labels.freeze(first, "something else")
    labels.unite(third, second)
    assert labels.reason(int(third[0])) == "an output"
    assert labels.reason(int(labels.fresh(1)[0])) is None

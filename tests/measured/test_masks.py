"""Masks of methods that measure are the reference's, entry by entry, in double precision."""

from pathlib import Path

import numpy as np
import pytest

from tests.measured import reference
from tests.measured.nets import Array, Net, convolving, layered
from tests.measured.pruning import kept_by
from tests.measured.reference import Asked

NETS = {"layered": layered(), "convolving": convolving()}
LOSS_MODELS = ("linear", "obd", "quadratic")
ASKED = [
    Asked("snip", 0.7),
    *(Asked("iterative_snip", 0.9, steps) for steps in (1, 5, 20)),
    *(Asked("force", 0.9, steps) for steps in (1, 5, 20)),
    *(Asked("grasp_it", 0.8, steps) for steps in (1, 5)),
    Asked("grasp", 0.6),
    Asked("synflow", 0.9, 100),
    Asked("synflow", 0.8, 5),
    *(
        Asked(method, 0.85, steps, penalty)
        for method in LOSS_MODELS
        for steps in (1, 6, 14)
        for penalty in (0.0, 0.1)
    ),
    # Several batches in a step, up to the whole set; zeros that grow by the same number.
    Asked("snip", 0.7, width=5),
    Asked("grasp", 0.6, batch=7, width=2),
    Asked("force", 0.8, 4, batch=4, width=3),
    Asked("quadratic", 0.8, 4, batch=6, width=2, linear=True),
    Asked("iterative_snip", 0.5, 3, linear=True),
]


def spell(asked: Asked) -> str:
    parts = [
        asked.method,
        f"{asked.steps}",
        f"{asked.penalty:g}",
        f"{asked.batch}x{asked.width}",
    ]
    return "-".join(parts) + ("-linear" if asked.linear else "")


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
@pytest.mark.parametrize("asked", ASKED, ids=spell)
def test_a_mask_is_the_references_entry_by_entry(
    asked: Asked, net: Net, tmp_path: Path
) -> None:
    found = kept_by(net, asked, tmp_path)
    for name, wanted in reference.masks(net, asked).items():
        np.testing.assert_array_equal(found[name], wanted, err_msg=name)


def test_single_precision_keeps_other_weights_only_where_scores_are_close(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # How many differ is printed, not asserted.
    lines = []
    for asked in (Asked("snip", 0.7), Asked("force", 0.9, 20), Asked("quadratic", 0.85, 14)):
        for name, net in NETS.items():
            found = kept_by(net, asked, tmp_path, precision="float32")
            wanted = reference.masks(net, asked)
            other = sum(int((found[path] != wanted[path]).sum()) for path in wanted)
            lines.append(f"{spell(asked)} {name}: {other} of {net.size} differ in float32")
            if asked.method == "snip":
                assert_close_to_the_cut(net, asked, found)
    with capsys.disabled():
        print("\n" + "\n".join(lines))


def assert_close_to_the_cut(net: Net, asked: Asked, found: dict[str, Array]) -> None:
    """Hold what single precision kept and what it took to the double-precision scores."""
    everything = {name: np.ones(each.shape, bool) for name, each in net.weights.items()}
    scores = reference.scored(net, asked, everything, 1)
    kept = np.concatenate([scores[name][found[name]] for name in scores])
    gone = np.concatenate([scores[name][~found[name]] for name in scores])
    assert gone.max() <= kept.min() + 1e-5 * kept.max()

"""Who decides recipes: by weights alone, by measuring the model, or winning back what masks cost."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from onnxprune.choosing import measured
from onnxprune.errors import UsageError, about
from onnxprune.formats.loading import load_model
from onnxprune.pruning import Planner, Settings, plan_weights
from onnxprune.ranked import ALONE, Company, Dismissed, company
from onnxprune.types import Recipe

if TYPE_CHECKING:
    from onnxprune.trials.trial import Trial


@contextlib.contextmanager
def planning(
    recipes: Sequence[Recipe],
    calibration: "Trial | None",
    settings: Settings,
    sharing: Company = ALONE,
) -> Iterator[Planner]:
    """Return what plans recipes; torch is loaded only if a method measures the model.

    Args:
        recipes: all that will be planned.
        calibration: on what a model is measured.
        settings: how to work.
        sharing: the processes that measure it together.
    """
    recovers = any(recipe.recover for recipe in recipes)
    if not recovers and not any(measured(recipe) for recipe in recipes):
        yield plan_weights
        return
    from onnxprune.calibrating import Calibrator, on_samples

    if any(on_samples(recipe) for recipe in recipes):
        sharing.meet()
    with Calibrator(calibration, settings.checkpoint, settings.progress, sharing) as planner:
        if recovers:
            from onnxprune.recovering import Recovering

            yield Recovering(planner, settings.progress)
        else:
            yield planner


def assist(
    model: Path, recipe: Recipe, allow_hardlinks: bool, calibration: "Trial | None"
) -> NoReturn:
    """Do what the leading process gives out for one model, then end."""
    if measured(recipe) and calibration is not None:
        from onnxprune.calibrating import Calibrator, on_samples

        if on_samples(recipe):
            company().meet()
            with (
                about(model),
                load_model(model, allow_hardlinks=allow_hardlinks) as opened,
                Calibrator(calibration, company=company()) as calibrator,
            ):
                calibrator.assist(opened, recipe)
    raise Dismissed


def refuse_recovery(recipe: Recipe) -> None:
    """Refuse to win accuracy back where many masks are compared."""
    if recipe.recover or recipe.rewind is not None:
        option = "--recover" if recipe.recover else "--rewind"
        raise UsageError(
            f"{option}: studies compare masks by what they cost alone",
            f"onnxprune prune takes {option} for the mask that was chosen",
        )

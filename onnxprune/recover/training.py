"""One distillation of a model in its workshop, from the beginning or from a checkpoint."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from onnxprune.calibrating import Calibrator
from onnxprune.errors import InputError, UsageError, about
from onnxprune.formats.onnx_file import file_hash
from onnxprune.formats.output import check_output, write_whole
from onnxprune.pruning import Progress as Told
from onnxprune.recover.attempts import Attempts
from onnxprune.recover.augmenting import Augmenting, choose_ways
from onnxprune.recover.course import Course
from onnxprune.recover.distilling import Distillation, Progress
from onnxprune.recover.falling import Falling
from onnxprune.recover.workshop import Workshop
from onnxprune.recoveries import Standing
from onnxprune.types import Recipe

EPOCHS = 60
RATES = {"adamw": 0.08, "sgd": 0.02}
"""The largest step: of AdamW as a share of a tensor's values, up to the usual number of epochs."""

NAME = "onnxprune.training"
SHARES = 1000


def train(  # noqa: PLR0913 - a model, what was asked, and who takes part
    shop: Workshop,
    recipe: Recipe,
    attempts: Attempts,
    falling: Falling,
    calibrator: Calibrator,
    told: Told | None,
) -> None:
    """Bring a model back by training; with more than one event weights fall on the way."""
    anew = falling.events > 1
    course = _course(recipe, shop)
    ways = choose_ways(recipe.augment, bool(shop.pictures), bool(shop.samples.images))
    if "mix" in ways and attempts.judge.labelled:
        raise UsageError(
            "--augment mix mixes samples, and labels do not mix", "--label-weight 0"
        )
    distillation = Distillation(
        shop.module,
        shop.teacher,
        shop.state,
        shop.pool,
        attempts.judge,
        course,
        lambda order: Augmenting(ways, shop.pictures, order),
        falling.events if anew else 0,
        falling,
        _telling(told, course),
    )
    kept: _Kept | None = None
    if calibrator.checkpoint is not None:
        own = _fingerprint(shop, recipe, calibrator, falling.events)
        kept = _Kept(calibrator.checkpoint, own, shop, falling)
        distillation.keep = kept.keep

    def work() -> str:
        begun = kept.read(distillation) if kept is not None else None
        if begun is None and anew:
            shop.start_anew()
        done = distillation.run(begun)
        falling.notes += done.notes
        return _note(done, falling.events if anew else 0, ways)

    attempts.attempt("distill", work)


def _course(recipe: Recipe, shop: Workshop) -> Course:
    epochs = recipe.epochs
    if epochs is None and recipe.time_budget is None:
        epochs = EPOCHS
    return Course(
        epochs,
        recipe.time_budget,
        recipe.lr or usual_rate(recipe.optimizer, epochs),
        recipe.optimizer,
        shop.estimation.batch,
        recipe.seed,
    )


def usual_rate(optimizer: str, epochs: int | None) -> float:
    """Return the largest step of a training, which is smaller where there are more of them.

    So a long training goes no further from the dense model than a short one, and forgets less of
    what the samples do not show.
    """
    return RATES[optimizer] * min(1.0, EPOCHS / max(epochs or EPOCHS, 1))


def _note(done: Progress, events: int, ways: tuple[str, ...]) -> str:
    words = [f"{done.clock.epoch:.0f} epochs"]
    if events:
        words.append(f"pruned in {events} steps on the way")
    if ways:
        words.append(f"samples changed by {', '.join(ways)}")
    return ", ".join(words)


def _telling(told: Told | None, course: Course) -> Callable[[Progress], None]:
    """Return what tells of a training: its loss, how it stands, and through a bar its end."""

    def tell(progress: Progress) -> None:
        if told is None:
            return
        epoch = progress.clock.epoch
        words = [f"epoch {int(epoch)}" + (f" of {course.epochs}" if course.epochs else "")]
        if progress.loss == progress.loss:
            words.append(f"loss {progress.loss:.3g}")
        if progress.standing is not None:
            words.append(_stands(progress.standing))
        told("distilling: " + ", ".join(words), round(progress.clock.share * SHARES), SHARES)

    return tell


def _stands(standing: Standing) -> str:
    if standing.agreement is not None:
        return f"held out {standing.agreement:.1%} agree"
    return f"held out {standing.loss:.3g}"


class _Kept:
    """A file in a folder, with all that a training needs to go on.

    Args:
        folder: where it is.
        fingerprint: what the training depends on.
        shop: the model.
        falling: knows what has fallen.
    """

    def __init__(
        self, folder: Path, fingerprint: str, shop: Workshop, falling: Falling
    ) -> None:
        self.path = folder / NAME
        self._fingerprint = fingerprint
        self._shop = shop
        self._falling = falling
        folder.mkdir(parents=True, exist_ok=True)
        self._target = check_output(self.path, [], force=True)

    def keep(self, progress: Progress, optimizer: dict[str, Any]) -> None:
        """Write how far the training is over what was there before."""
        state = self._shop.state
        clock = progress.clock
        standing = progress.standing
        content = {
            "fingerprint": self._fingerprint,
            "values": {path: each.detach() for path, each in state.values.items()},
            "masks": state.masks,
            "best": progress.best,
            "standing": None if standing is None else list(asdict(standing).values()),
            "optimizer": optimizer,
            "order": progress.order.get_state(),
            "numbers": [
                clock.done,
                clock.elapsed,
                progress.events,
                progress.slower,
                progress.at,
                progress.loss,
                progress.failures,
            ],
            "fallen": {
                path: torch.from_numpy(mask) for path, mask in self._falling.done.masks.items()
            },
            "notes": progress.notes,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        whole = buffer.getvalue()
        write_whole(self._target, hashlib.sha256(whole).digest() + whole)

    def read(self, distillation: Distillation) -> tuple[Progress, dict[str, Any]] | None:
        """Return where an earlier run of the same training stopped, and put the model there."""
        if not self.path.exists():
            return None
        with about(self.path):
            whole = self.path.read_bytes()
            if hashlib.sha256(whole[32:]).digest() != whole[:32]:
                raise InputError(
                    "no whole checkpoint of onnxprune", "another folder, or none, starts anew"
                )
            content = torch.load(io.BytesIO(whole[32:]), weights_only=True)
            if content["fingerprint"] != self._fingerprint:
                raise InputError(
                    "the training of another pruning: model, data or options differ",
                    "another folder, or none, starts anew",
                )
        return self._put_back(content, distillation)

    def _put_back(
        self, content: dict[str, Any], distillation: Distillation
    ) -> tuple[Progress, dict[str, Any]]:
        state = self._shop.state
        state.masks.clear()
        state.masks.update(content["masks"])
        state.restore(content["values"])
        self._falling.done.masks = {
            path: mask.numpy() for path, mask in content["fallen"].items()
        }
        progress = distillation.begin()
        clock = progress.clock
        (
            clock.done,
            clock.spent,
            progress.events,
            progress.slower,
            progress.at,
            progress.loss,
            progress.failures,
        ) = content["numbers"]
        self._falling.done.step = progress.events
        progress.order.set_state(content["order"])
        progress.best = content["best"]
        standing = content["standing"]
        progress.standing = None if standing is None else Standing(*standing)
        progress.notes = content["notes"]
        return progress, content["optimizer"]


def _fingerprint(shop: Workshop, recipe: Recipe, calibrator: Calibrator, events: int) -> str:
    """Hash everything that a training depends on."""
    parts = [
        [file_hash(file) for file in shop.model.all_files()],
        calibrator.digest(shop.model),
        asdict(recipe),
        asdict(shop.estimation),
        events,
        torch.__version__,
    ]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()

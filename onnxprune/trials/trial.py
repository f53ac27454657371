"""How models are compared: on which samples, where, by what, and what they have to meet."""

from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from onnxprune.bounds import bounds
from onnxprune.errors import UsageError
from onnxprune.samples.opening import Source
from onnxprune.samples.reading import Reading
from onnxprune.trials.gate import Gate, parse_limit
from onnxprune.trials.own_metric import OwnFunction, load_metric
from onnxprune.trials.runner import DEVICES, TIMEOUT

TASKS = ("auto", "classes", "values")


def patience() -> float:
    """Return how long the runtime may take for one answer unless a trial says otherwise."""
    return bounds().seconds(TIMEOUT)


@dataclass(frozen=True, slots=True)
class Trial:
    """How models are compared: on which samples, where, by what.

    Args:
        data: the samples; a path, arrays, or a function.
        reading: how they are read.
        device: `auto`, `cpu` or `cuda`.
        batch: samples at once; None finds a number.
        timeout: seconds that the runtime may take for one answer.
        task: what outputs are taken for: `auto`, `classes` or `values`.
        own: the user's own metric.
        gate: conditions that the pruned model has to meet.
        cache: a folder that keeps the dense model's outputs.
        latency: whether both models are timed.
    """

    data: Source
    reading: Reading = field(default_factory=Reading)
    device: str = "auto"
    batch: int | None = None
    timeout: float = field(default_factory=patience)
    task: str = "auto"
    own: OwnFunction | None = None
    gate: Gate = field(default_factory=Gate)
    cache: Path | None = None
    latency: bool = True

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise UsageError(f"--device is one of {', '.join(DEVICES)}, not '{self.device}'")
        if self.task not in TASKS:
            raise UsageError(f"--task is one of {', '.join(TASKS)}, not '{self.task}'")
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"--batch is at least 1, got {self.batch}")
        if not self.timeout > 0:
            raise UsageError(f"--timeout is more than 0 seconds, got {self.timeout:g}")


GATE = {
    "max_drop": "--max-drop",
    "min_accuracy": "--min-accuracy",
    "min_agreement": "--min-agreement",
    "max_kl": "--max-kl",
}


def make_trial(data: Source | None, **given: Any) -> Trial:
    """Build a trial from plain values, as options or keywords have them.

    Args:
        data: the samples.
        given: the fields of Trial and of Reading, the limits of Gate as numbers or text, and
            `metric`, a function or where it is; None stands for the default.
    """
    if data is None:
        raise UsageError(
            "nothing to run the model on",
            "--data SET names samples, --data random takes noise",
        )
    known = {name: value for name, value in given.items() if value is not None}
    reading = known.pop("reading", Reading())
    limits = {
        name: parse_limit(str(known.pop(name)), option)
        for name, option in GATE.items()
        if name in known
    }
    metric = known.pop("metric", None)
    own_fields = {each.name for each in fields(Trial)} - {"data", "reading", "gate", "own"}
    own = {name: known.pop(name) for name in own_fields & set(known)}
    if "cache" in own:
        own["cache"] = Path(own["cache"])
    readings = {each.name for each in fields(Reading)}
    for name in known.keys() - readings:
        options = sorted(readings | own_fields | GATE.keys() | {"metric", "reading"})
        near = get_close_matches(name, options, 1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(options)}"
        raise UsageError(f"a trial has no option '{name}'", hint)
    return Trial(
        data=data,
        reading=replace(reading, **known),
        gate=Gate(**limits),
        own=load_metric(metric) if metric is not None else None,
        **own,
    )

"""How a model was measured, as lines that all forms of a report share."""

from onnxprune.outcomes import Calibration
from onnxprune.report.spelling import number
from onnxprune.report.text import Fact, count, show

WORDS = {
    "gradient": "gradient",
    "curvature": "curvature",
    "hessian_gradient": "Hessian times gradient",
    "flow": "flow",
    "input_norm": "norms of inputs",
    "gram": "inputs' Gram matrices",
}
"""What people call a statistic."""


def calibration_facts(made: Calibration) -> list[Fact]:
    """Say what was measured of a model, on what, and where."""
    return [Fact("measured", _measured(made)), Fact("computed", _computed(made))]


def _measured(made: Calibration) -> str:
    text = " and ".join(WORDS.get(name, name) for name in made.statistics)
    if made.source is None:
        text += ", without samples"
    else:
        text += f" on {_counted(made.samples, 'sample')} of {show(made.source)}"
        if made.samples > made.batch:
            text += f" in batches of {count(made.batch)}"
    if made.steps > 1:
        each = " in each of " if made.source is not None else ", in "
        text += f"{each}{count(made.steps)} steps ({made.schedule})"
    return text + _losses(made)


def _losses(made: Calibration) -> str:
    if made.loss is None:
        return ""
    texts = []
    if made.dense_loss is not None:
        texts.append(f"{number(made.dense_loss, 3)} of the dense model")
    if made.steps > 1 and made.last_loss is not None:
        texts.append(f"{number(made.last_loss, 3)} before the last step")
    return (
        f"; {show(made.loss, 60)} {', '.join(texts)}" if texts else f"; {show(made.loss, 60)}"
    )


def _computed(made: Calibration) -> str:
    threads = _counted(made.threads, "thread")
    if made.processes > 1:
        threads = f"{count(made.processes)} processes of {threads}"
    text = f"{made.precision} on {show(made.device, 60)}, {threads}, torch {made.torch}; "
    if made.native:
        return text + "it ran the file itself"
    if made.error is None:
        return text + "not compared with ONNX Runtime: the shapes of inputs are not known"
    if made.error == 0:
        return text + "outputs equal ONNX Runtime's"
    return text + f"outputs within {made.error:.1e} of ONNX Runtime's"


def _counted(amount: int, noun: str) -> str:
    return f"{count(amount)} {noun}{'s' if amount != 1 else ''}"

"""How many zeros there are after each of several steps."""

from onnxprune.errors import UsageError

SCHEDULES = ("exponential", "linear")


def sparsity_after(step: int, steps: int, sparsity: float, schedule: str) -> float:
    """Return the sparsity that a schedule reaches after a step, the first of which is 1.

    Args:
        step: the step.
        steps: how many there are.
        sparsity: what the last one reaches, exactly.
        schedule: `exponential` keeps the same share in each step, `linear` takes the same.
    """
    if schedule not in SCHEDULES:
        raise UsageError(f"--schedule is {' or '.join(SCHEDULES)}, not '{schedule}'")
    if step >= steps:
        return sparsity
    if schedule == "linear":
        return sparsity * step / steps
    return float(1 - (1 - sparsity) ** (step / steps))

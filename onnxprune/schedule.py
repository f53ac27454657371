"""How many zeros there are after each of several steps."""

from onnxprune.errors import UsageError

SCHEDULES = ("exponential", "linear", "cubic")


def sparsity_after(step: int, steps: int, sparsity: float, schedule: str) -> float:
    """Return the sparsity that a schedule reaches after a step, the first of which is 1.

    Args:
        step: the step.
        steps: how many there are.
        sparsity: what the last one reaches, exactly.
        schedule: `exponential` keeps the same share in each step, `linear` takes the same,
            `cubic` takes most in the first steps and ever less.
    """
    if schedule not in SCHEDULES:
        raise UsageError(
            f"--schedule is {', '.join(SCHEDULES[:-1])} or {SCHEDULES[-1]}, not '{schedule}'"
        )
    if step >= steps:
        return sparsity
    if schedule == "linear":
        return sparsity * step / steps
    if schedule == "cubic":
        return float(sparsity * (1 - (1 - step / steps) ** 3))
    return float(1 - (1 - sparsity) ** (step / steps))

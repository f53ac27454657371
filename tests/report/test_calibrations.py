"""What a report says of how a model was measured."""

from dataclasses import replace

from onnxprune.outcomes import Calibration
from onnxprune.report.calibrations import calibration_facts

MADE = Calibration(
    statistics=("gradient", "curvature"),
    steps=14,
    schedule="exponential",
    precision="float32",
    device="cpu",
    threads=2,
    processes=1,
    torch="2.13.0",
    source="set.npz",
    samples=1024,
    batch=64,
    loss="cross-entropy",
    dense_loss=0.03125,
    last_loss=0.5,
    error=3.2e-7,
    allowed=1e-5,
)


def lines(**changed: object) -> list[str]:
    facts = calibration_facts(replace(MADE, **changed))  # type: ignore[arg-type]
    assert [fact.label for fact in facts] == ["measured", "computed"]
    return [fact.text for fact in facts]


def test_steps_samples_losses_and_the_comparison_are_told() -> None:
    assert lines() == [
        "gradient and curvature on 1,024 samples of set.npz in batches of 64 in each of 14"
        " steps (exponential); cross-entropy 0.0312 of the dense model, 0.5 before the last"
        " step",
        "float32 on cpu, 2 threads, torch 2.13.0; outputs within 3.2e-07 of ONNX Runtime's",
    ]


def test_one_step_on_one_batch_needs_few_words() -> None:
    measured, computed = lines(
        statistics=("gradient",), steps=1, samples=1, batch=1, threads=1, processes=3
    )
    assert measured == (
        "gradient on 1 sample of set.npz; cross-entropy 0.0312 of the dense model"
    )
    assert computed.startswith("float32 on cpu, 3 processes of 1 thread, ")


def test_the_loss_of_a_dense_model_that_an_earlier_run_measured_is_not_known() -> None:
    assert lines(dense_loss=None)[0].endswith("; cross-entropy 0.5 before the last step")
    assert lines(dense_loss=None, last_loss=None)[0].endswith("; cross-entropy")


def test_without_samples_nothing_is_said_of_losses() -> None:
    changed = {"source": None, "samples": 0, "batch": 0, "loss": None, "dense_loss": None}
    measured, _ = lines(statistics=("flow",), last_loss=None, **changed)
    assert measured == "flow, without samples, in 14 steps (exponential)"


def test_what_was_not_compared_is_said_so() -> None:
    end = "; not compared with ONNX Runtime: the shapes of inputs are not known"
    assert lines(error=None, allowed=None)[1].endswith(end)
    assert lines(error=0.0)[1].endswith("; outputs equal ONNX Runtime's")


def test_a_name_from_outside_cannot_act_on_a_terminal() -> None:
    assert "\x1b" not in lines(source="\x1b[2Jset.npz")[0]

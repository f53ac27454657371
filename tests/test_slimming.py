"""Channels that fall are taken out: of every kind of net, and nothing else changes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxprune
from onnxprune import slimming
from onnxprune.errors import GateFailed, TargetError, UsageError
from onnxprune.removals import Removal
from onnxprune.types import Report
from tests.models import save
from tests.shared import needs_models
from tests.structure import nets
from tests.structure.cutting import TOLERANCE, apart, tensors_of

NETS = [
    *(nets.plain, nets.residual, nets.mobile, nets.unet, nets.grouped, nets.shuffled),
    *(nets.transformer, nets.folded_heads, nets.counted_heads),
]
SET = Path(__file__).parents[1] / "calibration" / "digits_test.npz"
CALIBRATION = SET.with_name("digits_calibration.npz")


@pytest.fixture
def zeroed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the model with its zeros is kept, which the user does not see."""
    kept = tmp_path / "zeroed.onnx"
    original: Callable[..., Removal] = slimming.shrink_model

    def watched(path: Path, opened: Any, *others: Any) -> Removal:
        shutil.copy(opened.source.path, kept)
        return original(path, opened, *others)

    monkeypatch.setattr(slimming, "shrink_model", watched)
    return kept


def removed(path: Path, sparsity: float, **more: Any) -> Report:
    given = {"remove": True, "verify": False, "output": path.with_name("out.onnx")} | more
    return onnxprune.prune(path, sparsity, **given)


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize(("sparsity", "method"), [(0.3, "lamp"), (0.5, "uniform")])
def test_what_fell_is_gone_and_the_rest_computes_the_same(
    make: Callable[[], onnx.ModelProto],
    sparsity: float,
    method: str,
    zeroed: Path,
    tmp_path: Path,
) -> None:
    path = save(tmp_path / "m.onnx", make())
    report = removed(path, sparsity, method=method)
    out = tmp_path / "out.onnx"
    assert report.output == str(out)
    made = onnx.load(out)
    onnx.checker.check_model(made, full_check=True)
    assert apart(zeroed, out, {}) <= TOLERANCE
    removal = report.removal
    assert removal is not None
    assert removal.removed > 0
    assert removal.parameters[1] < removal.parameters[0]
    assert report.sizes.after == out.stat().st_size < path.stat().st_size
    for group in removal.groups:
        # Channels that can go are scored so that they do.
        assert group.reason is not None or group.zeros == 0
    # What the report shows of tensors is how they were before.
    for tensor in report.tensors:
        assert tensor.weight.shape == tuple(
            tensors_of(onnx.load(path))[tensor.weight.path].dims
        )


@pytest.mark.parametrize("sparsity", [0.3, 0.5])
@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("resnet20/ts_bn.onnx", (0.6, 0.4)),
        ("resnet20/dynamo_ext/resnet20.onnx", (1.0, 1.0)),
        ("resnet20/fp16.onnx", (0.6, 0.4)),
        ("ultraface/slim_320.onnx", (0.7, 0.5)),
        ("magika/standard_v3_3.onnx", (0.8, 0.6)),
        ("mnist_cntk/mnist.onnx", (0.7, 0.5)),
    ],
)
def test_models_of_others_get_smaller(
    name: str, limits: tuple[float, float], sparsity: float, zeroed: Path, tmp_path: Path
) -> None:
    path = needs_models(*name.split("/"))
    out = tmp_path / "out.onnx"
    report = removed(path, sparsity, method="uniform", output=out)
    allowed = 4e-3 if "fp16" in name else TOLERANCE
    if not report.files[1:]:
        assert apart(zeroed, out, {"batch_size": 1}) <= allowed
    assert report.sizes.after is not None
    assert report.sizes.after <= limits[sparsity == 0.5] * report.sizes.before
    assert report.removal is not None
    assert report.removal.parameters[1] < (1 - sparsity) * report.removal.parameters[0] * 1.05


def test_channels_that_are_added_up_go_together(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", nets.residual())
    report = removed(path, 0.5, method="magnitude", allocation="uniform")
    made = tensors_of(onnx.load(tmp_path / "out.onnx"))
    shapes = {name: list(tensor.dims) for name, tensor in made.items()}
    assert shapes["stemc.w"][0] == shapes["r1b.w"][0] == shapes["proj.w"][1] < 12
    assert shapes["r2b.w"][0] == shapes["proj.w"][0] == shapes["y.w"][1] < 18
    assert shapes["y.w"][0] == 5
    assert {each.name: each.reason for each in report.skipped}["y.w"] == (
        "its outputs are the model's"
    )
    alone = onnxprune.prune(
        *(path, 0.5, "magnitude"),
        allocation="uniform",
        pattern="filters",
        output=tmp_path / "zeroed.onnx",
        verify=False,
    )
    apart_ = onnxprune.shrink(
        tmp_path / "zeroed.onnx", verify=False, output=tmp_path / "s.onnx"
    )
    assert alone.removal is None
    assert report.removal is not None
    # Filters that fall each for itself leave sums that no channel of can go.
    assert report.removal.parameters[1] < apart_.parameters[1]


@pytest.mark.parametrize("multiple", [2, 4])
def test_widths_are_multiples(multiple: int, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", nets.residual())
    removed(path, 0.4, method="magnitude", channel_multiple=multiple)
    made = tensors_of(onnx.load(tmp_path / "out.onnx"))
    before = tensors_of(onnx.load(path))
    for name in ("stemc.w", "r1c.w", "r1b.w", "r2c.w", "r2b.w", "proj.w"):
        count = made[name].dims[0]
        assert count % multiple == 0 or count == before[name].dims[0]


def before_activation() -> onnx.ModelProto:
    """A sum that is normalised as a whole, behind no convolution alone."""
    net = nets.Net()
    x = net.conv("x", "stem", 3, 12)
    inner = net.add("Relu", net.norm(x, "n1", 12), out="a1")
    inner = net.conv(inner, "c1", 12, 12)
    x = net.add("Add", x, inner, out="s1")
    x = net.add("Relu", net.norm(x, "n2", 12), out="a2")
    x = net.add("Mul", x, net.weight("gain", 12, 1, 1), out="scaled")
    net.pooled(x, 12)
    return net.build()


@pytest.mark.parametrize("recover", [(), ("refit", "bias"), ("distill",)])
def test_what_normalises_a_sum_goes_with_it(
    recover: tuple[str, ...], zeroed: Path, tmp_path: Path
) -> None:
    path = save(tmp_path / "m.onnx", before_activation())
    data = np.random.default_rng(0).standard_normal((40, 3, 8, 8)).astype(np.float32)
    trial = onnxprune.trial({"x": data}, device="cpu", batch=10)
    more: dict[str, Any] = {}
    if recover:
        more = {"recover": recover, "data": trial}
    if "distill" in recover:
        more |= {"epochs": 3, "steps": 3}
    report = removed(path, 0.4, method="magnitude", allocation="uniform", **more)
    removal = report.removal
    assert removal is not None
    (trunk,) = [group for group in removal.groups if "stem.w" in group.producers]
    assert trunk.after < trunk.before == 12
    assert trunk.zeros == 0
    held = tensors_of(onnx.load(zeroed))
    lost = ~onnx.numpy_helper.to_array(held["stem.w"]).reshape(12, -1).any(1)
    assert lost.sum() == 12 - trunk.after
    for name in ("stem.b", "c1.b", "n1.scale", "n1.shift", "n2.scale", "n2.shift", "gain"):
        values = onnx.numpy_helper.to_array(held[name]).reshape(12)
        np.testing.assert_array_equal(values == 0, lost)
    made = tensors_of(onnx.load(tmp_path / "out.onnx"))
    for name in ("stem.b", "n1.scale", "n2.shift", "n2.mean", "n2.var", "gain"):
        assert made[name].dims[0] == trunk.after
    assert apart(zeroed, tmp_path / "out.onnx", {}) <= TOLERANCE


def test_what_is_recovered_is_what_is_written(digits: Path, tmp_path: Path) -> None:
    fitted = onnxprune.trial(CALIBRATION, device="cpu", batch=50)
    judged = onnxprune.trial(SET, device="cpu", latency=False)
    given = {"data": fitted, "check": judged, "verify": True}
    bare = removed(digits, 0.7, output=tmp_path / "a.onnx", **given)
    won = removed(digits, 0.7, output=tmp_path / "b.onnx", recover="refit", **given)
    assert bare.check is not None
    assert won.check is not None
    assert won.recovery is not None
    right = [each.check.measured.headline[2] for each in (bare, won) if each.check]
    assert right[1] > right[0]
    again = onnxprune.check(digits, tmp_path / "b.onnx", judged)
    assert again.result.measured == won.check.measured
    assert won.removal is not None
    assert won.removal.same is not None
    assert won.removal.same.largest <= won.removal.same.allowed
    assert won.removal.latency is None


def test_a_gate_that_fails_leaves_nothing(digits: Path, tmp_path: Path) -> None:
    judged = onnxprune.trial(SET, device="cpu", latency=False, max_drop=0.001)
    with pytest.raises(GateFailed) as raised:
        removed(digits, 0.7, check=judged, output=tmp_path / "o.onnx")
    assert list(tmp_path.iterdir()) == []
    assert raised.value.report.removal is not None
    report = removed(
        digits,
        0.3,
        check=onnxprune.trial(SET, latency=False, max_drop=0.9),
        output=tmp_path / "o.onnx",
    )
    assert report.check is not None
    assert report.check.passed


def test_a_dry_run_says_the_same_and_writes_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", nets.residual())
    folder = path.parent
    folder.chmod(0o500)
    try:
        dry = removed(path, 0.5, dry_run=True)
    finally:
        folder.chmod(0o700)
    assert [each.name for each in folder.iterdir()] == ["m.onnx"]
    assert (dry.output, dry.files) == (None, ())
    wet = removed(path, 0.5)
    assert dry.removal is not None
    assert wet.removal is not None
    assert dry.removal.groups == wet.removal.groups
    assert dry.removal.parameters == wet.removal.parameters


def test_external_data_stay_external(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save_model(
        nets.residual(),
        path,
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    report = removed(path, 0.5)
    assert len(report.files) == 2
    onnx.checker.check_model(tmp_path / "out.onnx", full_check=True)
    assert sum(Path(file).stat().st_size for file in report.files) == report.sizes.after


def unfollowable() -> onnx.ModelProto:
    """Convolutions between which a softmax goes over the channels."""
    net = nets.Net()
    x = net.conv("x", "a", 3, 8)
    x = net.add("Softmax", x, out="soft", axis=1)
    net.pooled(net.conv(x, "b", 8, 6), 6)
    return net.build()


def test_what_cannot_be_followed_stays_and_is_listed(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", unfollowable())
    report = removed(path, 0.5, method="magnitude", allocation="uniform")
    assert report.removal is not None
    by_first = {group.producers[0]: group for group in report.removal.groups}
    kept = by_first["a.w"]
    assert (kept.before, kept.after, kept.zeros) == (8, 8, 4)
    assert kept.reason == "Softmax 'soft' goes over it"
    assert by_first["b.w"].after < 6


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        (
            {"pattern": "2:4"},
            UsageError,
            "--remove takes out whole filters, and --pattern 2:4",
        ),
        ({"pattern": "unstructured"}, UsageError, "takes out whole filters"),
        ({"storage": "sparse"}, UsageError, "a model that loses channels is written dense"),
        ({"sparsity": 0.0}, TargetError, "no channel can be taken out"),
    ],
)
def test_what_is_refused(
    more: dict[str, Any], kind: type[Exception], said: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "m.onnx", nets.residual())
    with pytest.raises(kind, match=said):
        removed(path, **({"sparsity": 0.5} | more))
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


def test_a_sensitivity_prunes_each_tensor_alone(digits: Path) -> None:
    trial = onnxprune.trial(SET, device="cpu", latency=False)
    with pytest.raises(UsageError, match="here each falls alone"):
        onnxprune.sensitivity(digits, trial, [0.5], remove=True)


def test_a_constant_that_divides_stays(tmp_path: Path) -> None:
    net = nets.Net()
    x = net.conv("x", "a", 3, 8)
    net.tensors.append(nets.constant("d", np.full((8, 1, 1), 2.0), "float32"))
    x = net.add("Relu", net.add("Div", x, "d", out="q"), out="r")
    net.pooled(x, 8)
    path = save(tmp_path / "m.onnx", net.build())
    report = removed(path, 0.5, method="magnitude")
    assert "d" not in report.followers
    assert tensors_of(onnx.load(tmp_path / "out.onnx"))["d"].dims[0] == 4

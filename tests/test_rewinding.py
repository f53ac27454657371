"""Values of another checkpoint: what is taken of it, what is missing, and what is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from onnxprune.errors import InputError
from onnxprune.formats import torch_file
from onnxprune.formats.loading import load_model
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.torch_surveying import Survey, survey
from onnxprune.formats.trust import trusting
from onnxprune.rewinding import rewound_values, tensor_shapes
from tests.formats.torch_nets import scripted
from tests.models import model, node, save

Array = NDArray[Any]
Values = dict[str, Array]
SHAPES = {"w": (3, 4), "c": (4,), "v": (4, 2), "s": (1,), "k": (2,)}


def drawn(seed: int, **other: tuple[int, ...]) -> Values:
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal(shape).astype(np.float32)
        for name, shape in {**SHAPES, **other}.items()
    }


def network(tensors: Mapping[str, Array]) -> onnx.ModelProto:
    """Two layers; whatever tensor is not given is not used."""
    nodes = [node("MatMul x w -> a")]
    nodes.append(node("Add a c -> b" if "c" in tensors else "Identity a -> b"))
    nodes += [node("MatMul b v -> d"), node("Mul d s -> e"), node("Reshape e shape -> y")]
    if "k" in tensors:
        nodes[-1].output[0] = "f"
        nodes.append(node("Add f k -> y"))
    stored = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    stored.append(numpy_helper.from_array(np.array([-1, 2]), "shape"))
    return model(nodes, {"x": ("n", 3)}, "y", stored)


def rewound(
    folder: Path, here: onnx.ModelProto, there: onnx.ModelProto
) -> tuple[Values, list[str]]:
    checkpoint = save(folder / "early.onnx", there)
    with load_onnx(save(folder / "late.onnx", here)) as opened:
        return rewound_values(opened, checkpoint)


def refusal(folder: Path, here: onnx.ModelProto, there: onnx.ModelProto) -> tuple[str, Any]:
    with pytest.raises(InputError) as caught:
        rewound(folder, here, there)
    return caught.value.message.removeprefix(f"{folder}/"), caught.value.hint


def test_all_tensors_of_floats_take_the_values_of_the_checkpoint(tmp_path: Path) -> None:
    early = drawn(1)
    found, notes = rewound(tmp_path, network(drawn(0)), network(early))
    assert list(found) == list(SHAPES)
    for name, values in early.items():
        assert values.dtype == found[name].dtype
        assert np.array_equal(found[name], values.reshape(-1))
    assert notes == []


def test_tensors_that_are_the_same_are_left_out(tmp_path: Path) -> None:
    late, early = drawn(0), drawn(1)
    for name in ("c", "v"):
        early[name] = late[name]
    found, notes = rewound(tmp_path, network(late), network(early))
    assert list(found) == ["w", "s", "k"]
    assert notes == []
    assert rewound(tmp_path, network(late), network(late)) == ({}, [])


def test_other_tensors_that_are_missing_keep_their_values_and_are_noted(
    tmp_path: Path,
) -> None:
    early = drawn(1)
    del early["c"]
    found, notes = rewound(tmp_path, network(drawn(0)), network(early))
    assert list(found) == ["w", "v", "s", "k"]
    path = tmp_path / "early.onnx"
    assert notes == [f"'c' is not in {path}: it keeps its values"]


def test_tensors_that_only_the_checkpoint_has_do_not_matter(tmp_path: Path) -> None:
    late = drawn(0)
    del late["k"]
    found, notes = rewound(tmp_path, network(late), network(drawn(1)))
    assert list(found) == ["w", "c", "v", "s"]
    assert notes == []


def test_a_weight_that_is_missing_is_refused(tmp_path: Path) -> None:
    early = network(drawn(1))
    early.graph.initializer[2].name = "other"
    early.graph.node[2].input[1] = "other"
    assert refusal(tmp_path, network(drawn(0)), early) == (
        "early.onnx: no tensor 'v', which late.onnx has",
        "--rewind takes a checkpoint of the same model, with the same names",
    )


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("w", (3, 5), "'w' has shape [3, 5]; in late.onnx it has [3, 4]"),
        ("w", (4, 3), "'w' has shape [4, 3]; in late.onnx it has [3, 4]"),
        ("c", (1, 4), "'c' has shape [1, 4]; in late.onnx it has [4]"),
        ("s", (), "'s' has shape []; in late.onnx it has [1]"),
    ],
)
def test_another_shape_is_refused(
    name: str, shape: tuple[int, ...], words: str, tmp_path: Path
) -> None:
    message, hint = refusal(tmp_path, network(drawn(0)), network(drawn(1, **{name: shape})))
    assert message == f"early.onnx: {words}"
    assert hint == "--rewind takes a checkpoint of the same model"


def test_a_checkpoint_of_another_type_gives_its_real_values(tmp_path: Path) -> None:
    early = {name: each.astype(np.float16) for name, each in drawn(1).items()}
    found, _ = rewound(tmp_path, network(drawn(0)), network(early))
    for name, values in early.items():
        assert np.array_equal(found[name], values.reshape(-1))


def test_a_checkpoint_may_hold_its_data_beside_it(tmp_path: Path) -> None:
    early = drawn(1)
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "early.onnx"
    onnx.save(
        network(early),
        path,
        save_as_external_data=True,
        location="early.bin",
        size_threshold=0,
    )
    assert (tmp_path / "data" / "early.bin").exists()
    with load_onnx(save(tmp_path / "late.onnx", network(drawn(0)))) as opened:
        found, notes = rewound_values(opened, path)
    for name, values in early.items():
        assert np.array_equal(found[name], values.reshape(-1))
    assert notes == []


@pytest.mark.parametrize("content", [None, b"no model"])
def test_what_is_no_model_is_refused_by_its_name(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "early.onnx"
    if content is not None:
        path.write_bytes(content)
    with (
        load_onnx(save(tmp_path / "late.onnx", network(drawn(0)))) as opened,
        pytest.raises(InputError) as caught,
    ):
        rewound_values(opened, path)
    assert caught.value.message.startswith(f"{path}: ")


def test_what_cannot_be_edited_has_no_shape(tmp_path: Path) -> None:
    with load_onnx(save(tmp_path / "m.onnx", network(drawn(0)))) as opened:
        assert tensor_shapes(opened) == SHAPES


class Small(nn.Module):
    """A layer with a bias, whose kind of file takes a child of ours to open."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        random = torch.Generator().manual_seed(seed)
        for value in self.parameters():
            value.data = torch.randn(value.shape, generator=random)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


def test_a_file_of_torch_takes_the_values_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = Small(1), Small(0)
    early.layer.bias.data = late.layer.bias.data
    paths = [scripted(tmp_path / f"{n}.pt", net) for n, net in enumerate((late, early))]
    known: list[Survey] = []

    def survey_once(path: Path, program: bool) -> Survey:
        # Both files are of one module, and to survey one takes a while.
        if not known:
            known.append(survey(path, program))
        return known[0]

    monkeypatch.setattr(torch_file, "survey", survey_once)
    with trusting(True), load_model(paths[0]) as opened:
        found, notes = rewound_values(opened, paths[1])
    assert list(found) == ["layer.weight"]
    wanted = early.layer.weight.detach().numpy().reshape(-1)
    assert np.array_equal(found["layer.weight"], wanted)
    assert notes == []

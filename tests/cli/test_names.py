"""Names that attack: kept as they are in the files, spelt out wherever they are shown."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxprune.report.text import show
from tests import models
from tests.conftest import Ran

Run = Callable[..., Ran]
NAMES = {
    "n_esc": "w\x1b]0;pwned\x07\x1b[2J\x1b[31m",
    "n_markup": "w[red]x[/red][link=http://e.x]",
    "n_badmarkup": "w[/]",
    "n_nl": "w\nERROR: fake line",
    "n_cr": "safe\rw",
    "n_bidi": "w\u202egnp.exe",
    "n_c1": "w\x9b31m",
    "n_nul": "w\x00z",
    "n_emoji": "w:warning:💩",
    "n_cjk": "層.重み",
    "n_ghcmd": "::error file=x::w",
    "n_pct": "w%s%n{0}",
    "n_path": "../../w",
    "n_comma": 'w,"=1+1',
    "n_surrogateish": "w\ufffd\ufeff",
    "html": "<script>alert(1)</script>",
    "pipes": "a | b",
    "long": "x" * 3000,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights, nodes and one tensor left alone have these names."""
    names = list(NAMES.values())
    nodes = [
        models.node(f"MatMul x w{number} -> y{number}", name=f"{name} node")
        for number, name in enumerate(names)
    ]
    nodes.append(models.node("Add y0 bias -> z"))
    for node, name in zip(nodes, names, strict=False):
        node.input[1] = name
    nodes[-1].input[1] = "::bias \x1b[31m"
    weights = [
        numpy_helper.from_array(np.arange(1, 9, dtype="f4").reshape(4, 2), name)
        for name in names
    ]
    bias = numpy_helper.from_array(np.ones(2, "f4"), "::bias \x1b[31m")
    outputs = " ".join([f"y{number}" for number in range(1, len(names))] + ["z"])
    made = models.model(nodes, {"x": [1, 4]}, outputs, [*weights, bias])
    return models.save(tmp_path_factory.mktemp("names") / "m.onnx", made)


def check_safe(text: str) -> None:
    """Hold a text to what a terminal and a CI log need."""
    for line in text.split("\n"):
        assert line.isprintable(), line
        assert not line.lstrip().startswith("::")
        assert not line.startswith("ERROR")
    assert "\ufeff" not in text


def test_the_names_stay_in_the_file_and_are_spelt_out_in_reports(
    run: Run, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.onnx"
    reports = [tmp_path / f"r{suffix}" for suffix in (".json", ".md", ".html", ".txt")]
    words = [word for report in reports for word in ("--report", report)]
    ran = run(model, "-s", "0.5", "-m", "uniform", "-o", output, *words)
    assert (ran.code, ran.err) == (0, "")
    before, after = onnx.load(model).graph, onnx.load(output).graph
    assert [one.name for one in after.initializer] == [one.name for one in before.initializer]
    assert list(after.node) == list(before.node)
    for tensor in after.initializer[: len(NAMES)]:
        values = numpy_helper.to_array(tensor)
        assert values.reshape(-1).tolist() == [0, 0, 0, 0, 5, 6, 7, 8]
    check_safe(ran.out)
    for report in reports:
        check_safe(report.read_text(encoding="utf-8"))
    found = json.loads(reports[0].read_text())
    assert [tensor["name"] for tensor in found["tensors"]] == list(NAMES.values())
    assert reports[0].read_text().isascii()
    shown = "".join(ran.out.split())
    assert r"w\x1b]0;pwned\x07\x1b[2J\x1b[31m" in shown
    assert "w[red]x[/red][link=http://e.x]" in shown
    assert "w[/]" in shown
    assert "w:warning:💩" in shown
    assert "<script" not in reports[2].read_text()


def test_json_on_standard_output_keeps_the_names(run: Run, model: Path) -> None:
    ran = run("inspect", model, "--json", "--no-verify")
    assert ran.out.isascii()
    check_safe(ran.out)
    names = [tensor["name"] for tensor in json.loads(ran.out)["tensors"]]
    assert names == list(NAMES.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_tensor_of_any_name_can_be_chosen_and_complained_of(
    name: str, run: Run, model: Path
) -> None:
    chosen = NAMES[name]
    words = ["--dry-run", "--json", "--no-verify"]
    ran = run(model, "-s", "0.5", "--include", chosen, *words)
    assert ran.code == 0, ran.err
    assert [tensor["name"] for tensor in json.loads(ran.out)["tensors"]] == [chosen]
    fixed = run(model, "-s", "0.5", "--layer", f"{chosen}=0.25", *words)
    zeros = {tensor["name"]: tensor["zeros"] for tensor in json.loads(fixed.out)["tensors"]}
    assert zeros[chosen] == 2
    assert sum(zeros.values()) == 4 * len(NAMES)
    refused = run(model, "-s", "0.5", "--include", f"not {chosen}", *words)
    assert (refused.code, refused.out) == (2, "")
    check_safe(refused.err.removesuffix("\n"))
    assert len(refused.err) < 800


def test_masks_carry_the_names(run: Run, model: Path, tmp_path: Path) -> None:
    pruned, masks, again = (tmp_path / name for name in ("p.onnx", "m.npz", "again.onnx"))
    assert run(model, "-s", "0.5", "-o", pruned, "-q", "--no-verify").code == 0
    exported = run("mask", "export", pruned, "-o", masks)
    assert exported.code == 0
    check_safe(exported.out)
    assert run("mask", "apply", model, masks, "-o", again, "-q", "--no-verify").code == 0
    assert again.read_bytes() == pruned.read_bytes()
    compared = run("mask", "compare", masks, model)
    assert compared.code == 0
    check_safe(compared.out)


@pytest.mark.parametrize("name", ["n_esc", "n_nl", "n_ghcmd", "n_bidi", "long"])
def test_a_message_about_a_tensor_is_one_safe_line(
    name: str, run: Run, tmp_path: Path
) -> None:
    bad = numpy_helper.from_array(np.full((4, 2), np.nan, "f4"), NAMES[name])
    node = models.node("MatMul x w -> y")
    node.input[1] = NAMES[name]
    path = models.save(tmp_path / "m.onnx", models.model([node], {"x": [1, 4]}, "y", [bad]))
    ran = run(path, "-s", "0.5", "--no-verify")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.count("\n") == 1
    check_safe(ran.err)
    assert show(NAMES[name].replace("\n", " "))[:20] in ran.err


@pytest.mark.parametrize("name", ["a\x1b[31m.onnx", "::x.onnx", "é.onnx", "[red].onnx"])
def test_a_file_of_any_name_is_pruned_and_named_safely(
    name: str, run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(model.read_bytes())
    ran = run(name, "-s", "0.5", "--no-verify", "--report", "r.md", "--report", "r.html")
    assert (ran.code, ran.err) == (0, "")
    check_safe(ran.out)
    check_safe(Path("r.md").read_text())
    check_safe(Path("r.html").read_text())
    assert Path(name.replace(".onnx", ".pruned.onnx")).stat().st_size == model.stat().st_size
    refused = run(name, "-s", "0.5")
    assert refused.code == 2
    check_safe(refused.err)


def test_a_file_whose_name_is_no_text_is_refused_and_named_safely(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "é\udcff.onnx"
    Path(name).write_bytes(model.read_bytes())
    for words in ([name], ["inspect", name], [model, "-o", f"new-{name}"]):
        ran = run(*words, *(["-s", "0.5"] if "inspect" not in words else []), "--no-verify")
        assert (ran.code, ran.out) == (6, "")
        assert "name is not UTF-8" in ran.err
        check_safe(ran.err)
    assert not Path(f"new-{name}").exists()

"""Files that shrink, and come back: --storage sparse, densify, and models that come sparse."""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.conftest import ROOT, Ran
from tests.formats.sparse_made import floats, indices, product, save, sparse, with_sparse

Run = Callable[..., Ran]
SAMPLES = ROOT / "calibration" / "digits_test.npz"
READERS = "ONNX Runtime reads sparse tensors and makes them dense in memory; other tools"


@pytest.fixture
def files(run: Run, digits: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The shipped model, pruned: once dense, once sparse."""
    dense, thin = tmp_path / "d.onnx", tmp_path / "thin.onnx"
    quiet = ("-s", "0.9", "-q", "--no-verify")
    assert run(digits, *quiet, "-o", dense) == (0, "", "")
    assert run(digits, *quiet, "-o", thin, "--storage", "sparse") == (0, "", "")
    return dense, thin


def joined(text: str) -> str:
    """Undo what a form of report does to a text: folds, escapes."""
    return " ".join(html.unescape(text).replace("\\", "").split())


def test_a_sparse_file_is_smaller_and_comes_back(
    run: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    dense, thin = files
    assert thin.stat().st_size < 0.28 * dense.stat().st_size
    ran = run("densify", thin, "--no-verify")
    assert (ran.code, ran.err) == (0, "")
    output = tmp_path / "thin.dense.onnx"
    assert output.read_bytes() == dense.read_bytes()
    assert "storage 1 tensor made dense: 52.63 kB -> 262.17 kB" in joined(ran.out)
    assert "wrote" in ran.out
    assert READERS not in ran.out


def test_the_report_says_how_tensors_lie(
    run: Run, digits: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ("--storage", "sparse", "--no-verify", "-s", "0.9", "-o", tmp_path / "o.onnx")
    text = "1 tensor sparse: 52.63 kB, as dense ones 262.17 kB; left dense: 3 would not get smaller"
    reports = [tmp_path / f"r.{suffix}" for suffix in ("md", "html", "txt", "json")]
    options = [word for report in reports for word in ("--report", report)]
    ran = run(digits, *words, *options)
    assert ran.code == 0, ran.err
    for shown in (ran.out, *(report.read_text() for report in reports[:3])):
        assert text in joined(shown)
        assert READERS in joined(shown)
        assert "onnxprune densify turns them back" in joined(shown)
    found = json.loads(reports[3].read_text())
    assert found["storage"] == {
        "form": "sparse",
        "tensors": 1,
        "dense_bytes": 262_172,
        "sparse_bytes": 52_632,
        "stay": {"would not get smaller": 3},
    }
    assert found["bytes"]["after"] == files[1].stat().st_size
    assert found["bytes"]["before"] == digits.stat().st_size


def test_an_inspection_says_so_where_tensors_are_sparse(
    run: Run, digits: Path, files: tuple[Path, Path]
) -> None:
    ran = run("inspect", files[1], "--no-verify")
    assert "storage 1 tensor sparse: 52.63 kB, as dense ones 262.17 kB" in joined(ran.out)
    found = json.loads(run("inspect", files[1], "--no-verify", "--json").out)
    assert found["storage"] == {
        "form": "sparse",
        "tensors": 1,
        "dense_bytes": 262_172,
        "sparse_bytes": 52_632,
        "stay": {},
    }
    assert sum(tensor["zeros"] for tensor in found["tensors"]) == 64_411
    assert found["bytes"]["before"] == files[1].stat().st_size
    assert "storage" not in run("inspect", digits, "--no-verify").out
    assert json.loads(run("inspect", digits, "--no-verify", "--json").out)["storage"] is None


def test_a_file_is_not_replaced_unless_that_is_asked(
    run: Run, files: tuple[Path, Path]
) -> None:
    dense, thin = files
    before = dense.read_bytes()
    dense.write_bytes(b"mine")
    ran = run("densify", thin, "-o", dense)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"onnxprune: error: {dense} exists; --force replaces it\n"
    assert dense.read_bytes() == b"mine"
    assert run("densify", thin, "-o", dense, "--force", "-q") == (0, "", "")
    assert dense.read_bytes() == before
    ran = run("densify", thin, "-o", thin, "--force")
    assert ran.code == 2
    assert "the output is the input file thin.onnx" in ran.err


def test_what_densify_cannot_do_is_one_line(run: Run, digits: Path, tmp_path: Path) -> None:
    missing, lies = tmp_path / "none.onnx", tmp_path / "lies.onnx"
    save(lies, with_sparse(sparse(places=indices([1, 5, 40]))))
    huge = save(tmp_path / "huge.onnx", with_sparse(sparse(shape=[1 << 40])))
    cases = {
        missing: (3, "no such file"),
        lies: (3, "'w': sparse index 40 is out of range of [4, 3]"),
        huge: (
            5,
            "'w': sparse tensor expands to 4 TiB (the limit for this file is 64 MiB);"
            " --max-amplification allows more",
        ),
        digits: (
            7,
            "no tensor is stored sparse that could be made dense;"
            " onnxprune inspect shows what is there",
        ),
    }
    for path, (code, message) in cases.items():
        ran = run("densify", path, "-o", tmp_path / "o.onnx")
        assert ran == (code, "", f"onnxprune: error: {path}: {message}\n")
        assert not (tmp_path / "o.onnx").exists()
    ran = run("densify", lies, "-o", tmp_path / "o.pt")
    assert ran.code == 3


def test_densify_reports_in_every_form(
    run: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    reports = [tmp_path / f"r.{suffix}" for suffix in ("md", "html", "txt", "json")]
    options = [word for report in reports for word in ("--report", report)]
    ran = run("densify", files[1], "--json", *options)
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["storage"]["form"] == "dense"
    assert found["files"] == [str(tmp_path / "thin.dense.onnx")]
    assert found["verified"] == "onnx.checker accepts it"
    assert json.loads(reports[3].read_text()) == found
    for report in reports[:3]:
        assert "1 tensor made dense: 52.63 kB -> 262.17 kB" in joined(report.read_text())


def test_a_gate_looks_at_what_is_written_sparse(
    run: Run, digits: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "gated.onnx"
    words = (digits, "-s", "0.9", "--storage", "sparse", "-o", output, "--no-verify")
    samples = ("--data", SAMPLES, "--no-latency")
    ran = run(*words, *samples, "--max-drop", "0.0001")
    assert ran.code == 10
    assert not output.exists()
    ran = run(*words, *samples, "--max-drop", "0.02")
    assert ran.code == 0, ran.err
    assert output.read_bytes() == files[1].read_bytes()
    ran = run("check", *files, *samples)
    assert "identical: every value is the same in both models" in joined(ran.out)


def test_masks_are_taken_from_sparse_files_and_written_to_them(
    run: Run, digits: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    masks, output = tmp_path / "m.npz", tmp_path / "applied.onnx"
    assert run("mask", "export", files[1], "-o", masks, "-q") == (0, "", "")
    for source in (masks, *files):
        words = ("--storage", "sparse", "-o", output, "--force", "-q", "--no-verify")
        assert run("mask", "apply", digits, source, *words) == (0, "", "")
        assert output.read_bytes() == files[1].read_bytes()
    ran = run("mask", "compare", *files)
    assert "kept by both over kept by either: 100.0 %" in ran.out


def test_a_sweep_tries_a_sparse_file_like_a_dense_one(
    run: Run, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    points: list[Any] = []
    for path in files:
        words = ("--methods", "magnitude", "--sparsities", "0.95", "--data", SAMPLES)
        ran = run("sweep", path, *words, "--json", "--no-latency")
        assert ran.code == 0, ran.err
        (point,) = json.loads(ran.out)["points"]
        points.append({name: point[name] for name in ("zeros", "size", "value")})
    assert points[0] == points[1]


def test_a_model_that_comes_sparse_is_pruned_with_a_warning(run: Run, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", with_sparse(sparse()))
    ran = run(path, "-s", "0.84", "-m", "magnitude")
    assert (ran.code, ran.err) == (0, "")
    text = joined(ran.out)
    assert (
        "warning 1 sparse tensor was made dense; --storage sparse writes it so again" in text
    )
    assert "storage 1 tensor made dense:" in text
    (found,) = onnx.load(tmp_path / "m.pruned.onnx").graph.initializer
    assert np.flatnonzero(numpy_helper.to_array(found)).tolist() == [1, 5]
    ran = run(path, "-s", "0.84", "-m", "magnitude", "--storage", "sparse", "--force")
    assert ran.code == 0
    assert "storage 1 tensor sparse:" in joined(ran.out)
    assert "warning" not in ran.out
    assert len(onnx.load(tmp_path / "m.pruned.onnx").graph.sparse_initializer) == 1
    ran = run(path, "-s", "0.5", "-m", "magnitude", "--force", "--storage", "sparse", "--json")
    found = json.loads(ran.out)
    assert (found["storage"]["tensors"], len(found["warnings"])) == (0, 1)
    assert "no tensor gets smaller stored sparse, so the file is dense" in found["warnings"][0]


def test_a_wrong_form_of_storage_is_refused_before_any_work(
    run: Run, digits: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.onnx"
    ran = run(digits, "-s", "0.9", "--storage", "thin", "-o", output)
    message = "--storage takes dense or sparse, not 'thin'"
    assert ran == (2, "", f"onnxprune: error: {message}\n")
    assert run("mask", "apply", digits, digits, "--storage", "", "-o", output).code == 2
    assert not output.exists()


def test_names_that_attack_are_spelt_out(run: Run, tmp_path: Path) -> None:
    name = "w\x1b[31m\n::error::"
    model = product()
    model.graph.node[0].input[1] = name
    model.graph.sparse_initializer.append(sparse(floats(name=name)))
    ran = run("inspect", save(tmp_path / "good.onnx", model), "--no-verify")
    assert ran.code == 0
    model.graph.sparse_initializer[0].indices.CopyFrom(indices([1, 5, 99]))
    refused = run("inspect", save(tmp_path / "bad.onnx", model), "--no-verify")
    assert refused.code == 3
    for text in (ran.out, refused.err):
        assert all(line.isprintable() for line in text.split("\n"))
        assert r"w\x1b[31m" in text

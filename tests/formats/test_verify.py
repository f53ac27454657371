"""The libraries' verdict: accepted, doubted, refused; and what their death means."""

from pathlib import Path

import pytest

from onnxprune.errors import InputError, LibraryError, LimitError
from onnxprune.formats import verify
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.verify import Verdict, Verification, first_words
from tests.models import model, node, save, weight
from tests.shared import needs_models


def verdict(path: Path) -> Verdict:
    with load_onnx(path) as opened:
        verification = Verification(opened.scan.skeleton, path)
        try:
            return verification.result()
        finally:
            verification.stop()


def gemm(folder: Path, op: str = "MatMul") -> Path:
    proto = model([node(f"{op} x w -> y")], {"x": ["N", 4]}, "y", [weight("w", 4, 5)])
    del proto.graph.output[:]
    proto.graph.output.extend(
        model([node("Identity x -> y")], {"x": ["N", 5]}, "y").graph.input
    )
    proto.graph.output[0].name = "y"
    return save(folder / "m.onnx", proto)


def script(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    child = folder / "child.py"
    child.write_text(body)
    monkeypatch.setattr(verify, "CHILD", child)


def test_a_valid_model_is_accepted_and_its_shapes_are_known(tmp_path: Path) -> None:
    found = verdict(gemm(tmp_path))
    assert found.sentence == "onnx.checker accepts it"
    assert found.warnings == ()
    assert found.shapes["y"] == [None, 5]


def test_a_model_that_both_libraries_refuse_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model is not valid"):
        verdict(gemm(tmp_path, "NoSuchOperator"))


def test_a_model_that_only_the_checker_refuses_is_taken_with_a_warning() -> None:
    found = verdict(needs_models("resnet20", "fp16.onnx"))
    assert found.sentence == "ONNX Runtime accepts it, onnx.checker objects"
    assert len(found.warnings) == 1


def test_a_model_that_nothing_here_can_run_is_taken_with_a_warning() -> None:
    found = verdict(needs_models("trt_testmodels", "matmul.bf16.onnx"))
    assert "cannot run it here" in found.warnings[0]


def test_a_library_that_dies_is_named_with_its_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(LibraryError, match=r"onnx.checker died of SIGSEGV on this model"):
        verdict(gemm(tmp_path))


def test_a_library_that_says_nothing_is_named_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, "raise SystemExit(7)")
    with pytest.raises(LibraryError, match="ended with code 7"):
        verdict(gemm(tmp_path))


def test_a_library_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(verify, "TIMEOUT", 0.3)
    with pytest.raises(LimitError, match="took more than"):
        verdict(gemm(tmp_path))


def test_a_librarys_words_lose_escapes_and_paths() -> None:
    assert first_words("\x1b[31mbad /build/src/core.cc:12 thing\n\nmore") == "bad thing more"
    assert first_words("\n") == "no reason given"

"""The libraries' verdict: accepted, doubted, refused; and what their death means."""

from pathlib import Path

import pytest

from onnxprune import bounds
from onnxprune.bounds import limiting
from onnxprune.errors import InputError, LibraryError, LimitError, UnsupportedError
from onnxprune.formats import verify
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.verify import Verdict, Verification, first_words
from tests.models import function, graph, model, node, save, weight
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
    with pytest.raises(InputError, match="the model is not valid") as refused:
        verdict(gemm(tmp_path, "Mean"))
    assert refused.value.hint is not None
    assert refused.value.hint.startswith("ONNX Runtime refuses it, too: ")


def test_an_operator_that_the_opset_does_not_have_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as refused:
        verdict(gemm(tmp_path, "NoSuchOperator"))
    assert refused.value.message == "operator 'NoSuchOperator' is not in opset 21"


def test_such_an_operator_is_found_in_subgraphs_and_functions(tmp_path: Path) -> None:
    inner = graph([node("Swish w -> t")], outputs="t")
    choice = node("If c -> y", then_branch=inner, else_branch=inner)
    inside = model([choice], {"c": []}, "y", [weight("w", 4)])
    called = model(
        [node("F x w -> y", domain="local")],
        {"x": ["N", 4]},
        "y",
        [weight("w", 4, 5)],
        [function("F", "a b -> c", [node("Swish a -> d"), node("MatMul d b -> c")])],
    )
    for number, proto in enumerate((inside, called)):
        with pytest.raises(UnsupportedError, match="operator 'Swish' is not in opset 21"):
            verdict(save(tmp_path / f"{number}.onnx", proto))


def test_a_model_that_the_checker_refuses_and_the_runtime_dies_of_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = '{"objection": "no such [red]thing", "unknown": [], "shapes": {}}'
    dies = "os.kill(os.getpid(), signal.SIGFPE)"
    body = f"import os, signal, sys\nif sys.argv[2] == 'runtime': {dies}\nprint('{answer}')"
    script(tmp_path, monkeypatch, body)
    with pytest.raises(InputError) as refused:
        verdict(gemm(tmp_path))
    assert refused.value.message == "the model is not valid: no such [red]thing"
    assert refused.value.hint == "ONNX Runtime died of SIGFPE on this model"


OUT_OF_MEMORY = {
    "python": "raise MemoryError",
    "a library of C++": "sys.stderr.write('std::bad_alloc'); os.abort()",
    "an objection": 'print(\'{"objection": "Failed to allocate memory", "shapes": {}}\')',
}


@pytest.mark.parametrize("case", OUT_OF_MEMORY)
def test_a_library_that_needs_too_much_memory_is_over_a_limit(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, monkeypatch, f"import os, sys\n{OUT_OF_MEMORY[case]}")
    with limiting(memory_limit="3G"), pytest.raises(LimitError) as refused:
        verdict(gemm(tmp_path))
    told = "onnx.checker needs more than 3 GiB, the --memory-limit"
    assert refused.value.message.startswith(told)
    assert refused.value.hint == "--no-verify skips it"


def test_the_memory_of_a_library_is_what_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import sys\nsys.exit(0 if sys.argv[1] == '{}' else 9)"
    for size, spelled in ((verify.MEMORY, None), (5 << 30, "5G")):
        script(tmp_path, monkeypatch, body.format(size))
        with limiting(memory_limit=spelled), pytest.raises(LibraryError, match="code 0"):
            verdict(gemm(tmp_path))


def test_a_real_library_is_held_to_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "LEAST", 1)
    path = str(gemm(tmp_path))
    assert verify.Child("ONNX Runtime", "runtime", path).ask(b"") == {"objection": None}
    with limiting(memory_limit="100M"), pytest.raises(LimitError, match="more than 100 MiB"):
        verify.Child("ONNX Runtime", "runtime", path).ask(b"")


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
    with limiting(timeout=0.3), pytest.raises(LimitError) as refused:
        verdict(gemm(tmp_path))
    assert refused.value.message == "onnx.checker took more than 0.3 s on this model"
    assert refused.value.hint == "--timeout gives it more, --no-verify skips it"
    monkeypatch.setattr(verify, "TIMEOUT", 0.4)
    with pytest.raises(LimitError, match=r"took more than 0\.4 s"):
        verdict(gemm(tmp_path))


def test_a_librarys_words_lose_escapes_and_paths() -> None:
    assert first_words("\x1b[31mbad /build/src/core.cc:12 thing\n\nmore") == "bad thing more"
    assert first_words("\n") == "no reason given"

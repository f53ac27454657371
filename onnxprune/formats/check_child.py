"""Runs as a process of its own: lets onnx.checker or ONNX Runtime look at a model.

Started as a script with the bytes of memory that it may take, and `checker` or `shapes` (a skeleton
comes on standard input) or `runtime PATH`; answers with one line of JSON. It imports nothing of the
package.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

PR_SET_PDEATHSIG = 1


def restrict(memory: int) -> None:
    """Die with the parent, leave no core file, write no file, take no endless memory."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, memory),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, limit))


def check(skeleton: bytes) -> dict[str, object]:
    """Ask onnx.checker about a skeleton, and infer the shapes of its values."""
    import onnx

    objection: str | None = None
    unknown: list[object] = []
    try:
        onnx.checker.check_model(skeleton, full_check=True)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it raises is its objection
        objection = str(error)
        with contextlib.suppress(Exception):
            unknown = next(unknown_operators(onnx.ModelProto.FromString(skeleton)), [])
    return {"objection": objection, "unknown": unknown, "shapes": infer(skeleton)["shapes"]}


def infer(skeleton: bytes, through: bool = False) -> dict[str, object]:
    """Infer the shapes of a skeleton's values.

    Args:
        skeleton: the model.
        through: whether shapes are followed that the model itself computes.
    """
    import onnx

    shapes: dict[str, list[int | None]] = {}
    with contextlib.suppress(Exception):
        read = onnx.ModelProto.FromString(skeleton)
        graph = onnx.shape_inference.infer_shapes(read, data_prop=through).graph
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.type.tensor_type.HasField("shape"):
                shapes[value.name] = [
                    dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
                    for dim in value.type.tensor_type.shape.dim
                ]
    return {"shapes": shapes}


def unknown_operators(model: Any) -> Iterator[list[object]]:
    """Find operators of ONNX's own that the model's opset does not have, with that opset."""
    import onnx

    own = ("", "ai.onnx")
    local = {function.name for function in model.functions if function.domain in own}
    for body in (model, *model.functions):
        versions = {each.domain: each.version for each in body.opset_import}
        version = versions.get("", versions.get("ai.onnx", 0))
        waiting = [*(model.graph.node if body is model else body.node)]
        while waiting:
            node = waiting.pop()
            known = node.op_type in local or onnx.defs.has(node.op_type, version, "")
            if node.domain in own and version and not known:
                yield [node.op_type, version]
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs):
                    waiting += graph.node


def run(path: str) -> dict[str, object]:
    """Ask ONNX Runtime whether it takes a model file."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    try:
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it raises is its objection
        return {"objection": str(error)}
    return {"objection": None}


def main() -> None:
    """Do what the command line says and answer on the real standard output."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print banners
    restrict(int(sys.argv[1]))
    match sys.argv[2]:
        case "checker":
            result = check(sys.stdin.buffer.read())
        case "shapes":
            result = infer(sys.stdin.buffer.read(), through=True)
        case _:
            result = run(sys.argv[3])
    answer.write(json.dumps(result))
    answer.close()


if __name__ == "__main__":
    main()

"""Runs as a process of its own: loads a file of torch's, which runs what the file says.

Started as a module with the bytes of memory that it may take, what to do, a file and the rest; answers with one line of JSON.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
NEW_NET, NEW_USER = 0x40000000, 0x10000000


def restrict(writing: bool, memory: int) -> None:
    """Die with the parent, leave no core file, take no endless memory; write only if asked."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, memory)]
    if not writing:
        limits.append((resource.RLIMIT_FSIZE, 0))
    for kind, limit in limits:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, limit))


def leave_network() -> bool:
    """Part with every network, where the system lets a process do so; say whether it did."""
    with contextlib.suppress(OSError, AttributeError):
        unshare = ctypes.CDLL(None, use_errno=True).unshare
        # Who is not root may do so in a name space of users of its own.
        return any(unshare(flags) == 0 for flags in (NEW_NET, NEW_NET | NEW_USER))
    return False


def survey(path: Path, program: bool) -> dict[str, Any]:
    """Say what a file's tensors are used for, and what it takes."""
    if program:
        from onnxprune.formats.exported import input_names, load_program, survey_program

        loaded = load_program(path)
        found = survey_program(loaded)
        names, parameters = input_names(loaded), list(loaded.graph_signature.parameters)
        frozen = False
    else:
        from onnxprune.formats.script_constants import name_constants
        from onnxprune.formats.torchscript import (
            arguments_of,
            is_frozen,
            open_script,
            survey_script,
        )

        script = open_script(path)
        found = survey_script(script, name_constants(path, script.constants))
        names = [name for name, _ in arguments_of(script.module)]
        parameters, frozen = list(script.parameters), is_frozen(script.module)
    uses = [asdict(use) for use in found.found]
    return {"uses": uses, "inputs": names, "parameters": parameters, "frozen": frozen}


def load(path: Path, program: bool) -> dict[str, Any]:
    """Load a file, and say no more than that it loads."""
    if program:
        from onnxprune.formats.exported import load_program

        load_program(path)
    else:
        from onnxprune.formats.torchscript import load_script

        load_script(path)
    return {}


def export(path: Path, program: bool, *given: str) -> dict[str, Any]:
    """Write a file as ONNX.

    Args:
        path: the file.
        program: what it is; the conversion finds that out itself.
        given: the archive of arguments and weights, the file to write, the names of arguments,
            `--`, and the paths of weights.
    """
    del program
    import numpy as np

    from onnxprune.errors import OnnxpruneError
    from onnxprune.formats.torch_export import export_onnx

    request, output, *rest = given
    names, paths = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    with np.load(request) as arrays:
        arguments = [arrays[f"a{number}"] for number in range(len(names))]
        tensors = {each: arrays[f"w{number}"] for number, each in enumerate(paths)}
    try:
        made = export_onnx(path, arguments, Path(output), tensors, names)
    except OnnxpruneError as error:
        return {"unsupported": error.message}
    return asdict(made)


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "survey": survey,
    "load": load,
    "export": export,
}


def main() -> None:
    """Do what the command line says and answer on the real standard output."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a file prints when it is loaded is no answer
    memory, command, path, kind, *more = sys.argv[1:]
    writing = kind == "program" or command == "export"  # their temporary files are written
    restrict(writing, int(memory))
    leave_network()
    try:
        result = COMMANDS[command](Path(path), kind == "program", *more)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its objection
        result = {"objection": f"{type(error).__name__}: {error}"}
    answer.write(json.dumps(result))
    answer.close()
    gc.freeze()  # else all that was loaded is looked through for cycles at the end


if __name__ == "__main__":
    main()

"""Runs the writer again and again, each time in a process that ends at a chosen call.

Started as a script with a folder, a seed and jobs as `inline:SIGKILL:100`; answers with one line
of JSON per end. The processes are forked from one that has imported everything: each takes
milliseconds, and an end comes at the call, and at the byte, where it was wanted.
"""

import json
import os
import random
import signal
import sys
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from onnxprune import cli
from onnxprune.formats import output, saving
from tests.hostile.calls import Calls, Event, fsync, killed, told
from tests.hostile.layouts import ONNX
from tests.hostile.writes import NEW, OLD, Files, files, words

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}


def forked(model: Path, sparsity: str, event: Event | None = None, at: int = 0) -> int:
    """Prune in a process of its own, as the command does; return how it ended."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            error = os.open(model.parent.with_name("said"), os.O_WRONLY | os.O_APPEND)
            os.dup2(error, 2)
            sys.argv = ["onnxprune", *words(model, sparsity)]
            with Calls(event, at):
                code = cli.main()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def ends(model: Path, number: int, count: int, seed: int) -> list[dict[str, Any]]:
    """End processes at different points of one run, and look at what is left."""
    folder = model.parent
    inputs = files(folder)
    whole = Calls()
    with whole:
        assert cli.main(words(model, NEW)) == 0
    new = files(folder)
    for name in new.keys() - inputs.keys():
        (folder / name).unlink()
    assert cli.main(words(model, OLD)) == 0
    old = files(folder)
    choices = random.Random(seed)
    order = choices.sample(range(1, whole.count + 1), whole.count)
    found = []
    for at in islice(cycle(order), count):
        share = round(choices.random(), 3)
        event = killed(share) if number == signal.SIGKILL else told(number)
        code = forked(model, NEW, event, at)
        state = judged(files(folder), inputs, old, new)
        for name in new.keys() - old.keys():
            (folder / name).unlink(missing_ok=True)
        assert cli.main(words(model, OLD)) == 0
        state |= {"next": "clean" if files(folder) == old else "unclean"}
        found.append(
            {"at": at, "share": share, "call": whole.names[at - 1], "code": code, **state}
        )
    return found


def judged(left: Files, inputs: Files, old: Files, new: Files) -> dict[str, Any]:
    """Say of what is left which files are whole, and what does not belong there."""
    content = left.get("out.onnx")
    extra = left.keys() - old.keys() - new.keys()
    data = {name: left[name] for name in left.keys() - extra - {"out.onnx"}}
    known = {"old": old["out.onnx"], "new": new["out.onnx"]}
    whole = [name for name, wanted in known.items() if content == wanted]
    needed = {"old": old, "new": new}[whole[0]].keys() if whole else set()
    return {
        "output": "torn" if not whole else whole[0],
        "input lost": any(left.get(name) != wanted for name, wanted in inputs.items()),
        "data torn": any((old | new)[name] != bytes_ for name, bytes_ in data.items()),
        "data lost": not needed <= left.keys(),
        "temporaries": sum(name.endswith(output.SUFFIX) for name in extra),
        "others": sum(not name.endswith(output.SUFFIX) for name in extra),
        "new data": bool((new.keys() - old.keys()) & left.keys()),
    }


def main() -> None:
    """Do what the command line says."""
    folder, seed, *jobs = sys.argv[1:]
    # Small pieces make many calls of a small model.
    saving.CHUNK, saving.BLOCK, output.COPY_BLOCK = 100, 256, 256
    os.fsync = fsync
    Path(folder, "said").touch()
    for number, job in enumerate(jobs):
        layout, name, count = job.split(":")
        place = Path(folder, str(number))
        place.mkdir()
        for each in ends(ONNX[layout](place), SIGNALS[name], int(count), int(seed)):
            sys.stdout.write(json.dumps({"layout": layout, "signal": name, **each}) + "\n")


if __name__ == "__main__":
    main()

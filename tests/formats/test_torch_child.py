"""The process that loads files of torch's: what it cannot do any more."""

import socket
import subprocess
import sys

import pytest

from tests.cli.started import environment

CODE = """
import socket, sys
from onnxprune.formats.torch_child import leave_network, restrict

restrict(writing=False, memory=64 << 30)
if not leave_network():
    sys.exit(77)
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
except OSError:
    sys.exit(0)
sys.exit(1)
"""
WRITES = """
import sys
from onnxprune.formats.torch_child import restrict

restrict(writing=False, memory=64 << 30)
open(sys.argv[1], "wb", buffering=0).write(b"something")
"""


def started(code: str, *words: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode


def test_it_reaches_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = started(CODE, str(server.getsockname()[1]))
    if code == 77:
        pytest.skip("this system does not let a process leave its network")
    assert code == 0


def test_it_writes_no_file(tmp_path: object) -> None:
    target = f"{tmp_path}/written"
    assert started(WRITES, target) != 0
    with open(target, "rb") as file:
        assert file.read() == b""

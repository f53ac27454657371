"""What a program does in a forked process is what it does in one of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import Source

PROGRAMS = {
    "prints": "print(sys.argv[1:], os.getcwd(), __name__, len(os.listdir('/proc/self/fd')))",
    "leaves at once": "print('so', flush=True); os._exit(3)",
    "says why it ends": "sys.exit('no')",
    "has its code": "sys.exit(7)",
    "fails": "1 / 0",
    "warns": "import warnings; warnings.warn('beware')",
    "is killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "is interrupted": "signal.raise_signal(signal.SIGINT)",
    "has its environment": "print(os.environ.get('MINE'), os.environ.get('HOME'))",
    "ends in order": "import atexit; atexit.register(print, 'last'); print('first')",
    "finds what is beside it": "import beside; print(beside.__name__)",
    "has one thread": "print(len(os.listdir('/proc/self/task')))",
}


@pytest.mark.parametrize("options", [[], ["-P", "-W", "ignore"]])
@pytest.mark.parametrize("program", PROGRAMS)
def test_it_ends_and_prints_as_in_its_own_process(
    program: str, options: list[str], source: Source, tmp_path: Path
) -> None:
    file = tmp_path / "program.py"
    file.write_text(f"import os, signal, sys\n{PROGRAMS[program]}\n")
    (tmp_path / "beside.py").touch()
    words = [sys.executable, *options, str(file), "a word", "-x"]
    # The runtime is not that of the tests: no warning is an error there.
    settings = {"env": {"MINE": "here", "OMP_NUM_THREADS": "1"}, "cwd": tmp_path, "text": True}
    wanted = subprocess.run(words, capture_output=True, check=False, **settings)  # type: ignore[call-overload]
    pipe = subprocess.PIPE
    child = source.as_subprocess().Popen(words, stdout=pipe, stderr=pipe, **settings)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (wanted.returncode, wanted.stdout)
    # What the interpreter says of a failure begins with where the program was called.
    assert err.splitlines()[-2:] == wanted.stderr.splitlines()[-2:]


def test_a_module_is_run_and_a_descriptor_given(source: Source, tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text("import os, sys\nos.write(int(sys.argv[1]), b'so')\n")
    with (tmp_path / "written").open("wb") as file:
        number = str(file.fileno())
        words = [sys.executable, "-m", "named", number]
        child = source.as_subprocess().Popen(words, pass_fds=[file.fileno()], cwd=tmp_path)
        assert child.wait() == 0
    assert (tmp_path / "written").read_bytes() == b"so"


def test_it_is_waited_for_a_while_and_sent_signals(source: Source, tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("import time\ntime.sleep(60)\n")
    started = source.as_subprocess()
    child = started.Popen([sys.executable, str(file)], stdout=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        child.communicate(timeout=0.3)
    assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    assert child.communicate() == (b"", None)
    assert child.poll() == -signal.SIGTERM
    child.kill()

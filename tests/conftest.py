"""What all tests share: a plain terminal, the shipped model, and the command line."""

import os
import signal

# Before typer or rich is imported: both look at these when they are.
os.environ.update(TTY_COMPATIBLE="0", _TYPER_FORCE_DISABLE_TERMINAL="1")
for variable in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
    os.environ.pop(variable, None)
# A shell's background jobs ignore this signal, and so would all that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Callable, Iterator  # noqa: E402 - see above
from pathlib import Path  # noqa: E402
from typing import NamedTuple  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from onnxprune import registry  # noqa: E402
from onnxprune.cli import main  # noqa: E402
from tests.forked import Source  # noqa: E402

# A loaded machine is no reason to fail.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"


class Ran(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the golden files anew."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files")


@pytest.fixture(scope="session")
def digits() -> Path:
    """The shipped model."""
    return ROOT / "examples" / "digits" / "digits.onnx"


@pytest.fixture(scope="session")
def source() -> Iterator[Source]:
    """A process that has loaded torch, from which others are forked."""
    with Source() as found:
        yield found


@pytest.fixture
def forked(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the processes that load a file of torch's, or run a model."""
    for module in ("onnxprune.formats.torch_surveying", "onnxprune.trials.runner"):
        monkeypatch.setattr(f"{module}.subprocess", source.as_subprocess())


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Forget what a test registers: other tests go over all methods there are."""
    before = {entry.name: entry for entry in registry.entries()}
    yield
    registry._entries.clear()
    registry._entries.update(before)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process."""

    def ran(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return ran


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the file of a name; a missing file fails."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if request.config.getoption("--update-golden"):
            file.write_text(text, encoding="utf-8")
        assert file.exists(), f"no golden file {name}; --update-golden writes it"
        assert text == file.read_text(encoding="utf-8")

    return compare

"""The optional models and data that some tests use, where they are there."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "shared"
MODELS = FOLDER / "models"
DATA = FOLDER / "data"


def needs_models(*parts: str) -> Path:
    """Return a test model's path, or skip the test where the folder is absent."""
    path = MODELS.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the optional test model {'/'.join(parts)} is not here")
    return path


def all_models() -> list[str]:
    """List the optional ONNX test models by their path in the folder."""
    return sorted(str(path.relative_to(MODELS)) for path in MODELS.rglob("*.onnx"))

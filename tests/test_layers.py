"""Each layer of the package imports only those below it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "onnxprune"
# From the bottom up; a module may import its own layer's neighbours only if it is a folder.
LAYERS = [
    ["version", "errors"],
    ["bounds"],
    ["outcomes", "recoveries", "storage"],
    ["removals"],
    ["points"],
    ["encoding"],
    ["studies"],
    ["layout"],
    ["types"],
    ["foreign", "ranked"],
    ["threads", "binning", "registry", "samples", "least_squares"],
    ["selection", "listing"],
    ["patterns"],
    ["allocations", "scores"],
    ["recovery_fields"],
    ["recipe", "scoring", "schedule", "choosing"],
    ["budgets", "shaping"],
    ["planning"],
    ["gradual"],
    ["formats"],
    ["structure"],
    ["sizes", "rewinding", "thinning", "filters", "occupancy"],
    ["pruning", "masks"],
    ["comparing", "applying", "ratios", "densifying", "inspecting"],
    ["trials"],
    ["shrinking"],
    ["reimport"],
    ["statistics"],
    ["checkpoints", "importing", "translating", "watching"],
    ["calibrating", "converting", "slimming"],
    ["recover"],
    ["recovering"],
    ["planners"],
    ["running"],
    ["api"],
    ["studying"],
    ["report"],
    ["cli"],
    ["__main__"],
]
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
FUNCTION_LIMIT = 50
MODULE_LIMIT = 300


def layer_of(module: str) -> str:
    return module.split(".")[1]


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return {name for name in found if name == "onnxprune" or name.startswith("onnxprune.")}


def own_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=own_name)
def test_a_module_imports_only_from_below(path: Path) -> None:
    own = layer_of(own_name(path))
    for name in imported(path):
        assert name != "onnxprune", f"{path} imports the package itself"
        other = layer_of(name)
        allowed = RANKS[other] < RANKS[own] or other == own
        assert allowed, f"{own_name(path)} imports {name}, which is not below it"


def test_every_module_has_its_layer() -> None:
    found = {layer_of(own_name(path)) for path in MODULES}
    assert found == set(RANKS)


def test_the_check_sees_an_import_from_above(tmp_path: Path) -> None:
    module = tmp_path / "wrong.py"
    module.write_text("from onnxprune.cli import main\n")
    assert imported(module) == {"onnxprune.cli"}
    assert RANKS["cli"] > RANKS["types"]


@pytest.mark.parametrize("path", MODULES, ids=own_name)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MODULE_LIMIT
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            # What it does counts, not its options and their descriptions.
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= FUNCTION_LIMIT, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=own_name)
def test_every_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))

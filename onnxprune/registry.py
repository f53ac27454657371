"""Methods and allocations by name; a function's signature is its contract."""

import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from onnxprune.errors import UsageError

MEASURED = {"gradient", "curvature", "hessian_gradient", "flow", "input_norm", "gram"}
"""What is measured by running the model, and so needs samples or at least the graph."""

STATISTICS = {"rng", "ratios", "zeros", "pattern"} | MEASURED
"""What the pipeline can hand to a function that asks for it by name."""

GROUPS = ("tensor", "row")
"""Among what the lowest scores are found: all of a tensor, or what leads to one output."""

USER = "onnxprune_user_"
"""How the modules that are made of the user's own files are called."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered function.

    Args:
        name: how the command line calls it.
        kind: `method` (it scores weights) or `allocation` (it says how many go where).
        function: the function itself.
        summary: one line on what it does; `paper`: where it comes from.
        needs: the statistics it asks for.
        options: its own options, with their defaults.
        allocation: for a method, the allocation it comes with.
        elementwise: for a method, whether a weight's score depends on that weight alone.
        aliases: other names.
        steps: for a method, in how many steps it prunes unless the user says otherwise.
        schedule: how the zeros grow over the steps, `exponential` or `linear`.
        regrow: whether what fell in one step may return in the next.
        samples: for a method, how many samples a step measures at least unless the user says
            otherwise; one batch if that has more.
        group: for a method, among what scores are compared, `tensor` or `row`.
    """

    name: str
    kind: str
    function: Callable[..., Any]
    summary: str
    paper: str
    needs: tuple[str, ...]
    options: dict[str, Any]
    allocation: str = ""
    elementwise: bool = False
    aliases: tuple[str, ...] = ()
    steps: int = 1
    schedule: str = "exponential"
    regrow: bool = False
    samples: int = 1
    group: str = "tensor"

    @property
    def measured(self) -> tuple[str, ...]:
        """The statistics that the model has to be run for."""
        return tuple(name for name in self.needs if name in MEASURED)


_entries: dict[str, Entry] = {}
_loaded: set[str] = set()


def method(  # noqa: PLR0913 - what one registration says
    name: str,
    *,
    allocation: str = "global",
    elementwise: bool = False,
    steps: int = 1,
    schedule: str = "exponential",
    regrow: bool = False,
    samples: int = 1,
    group: str = "tensor",
) -> Callable[[Function], Function]:
    """Register a function that scores a weight's elements: the higher, the more it is worth.

    Args:
        name: how the command line calls it; the file has the same name.
        allocation: how the zeros are divided among tensors unless the user says otherwise.
        elementwise: the function may be given any piece of a tensor instead of the
            [outputs, inputs] matrix, because each score depends on one element only.
        steps: in how many steps it prunes, measuring and scoring anew in each.
        schedule: how the zeros grow over the steps, `exponential` or `linear`.
        regrow: scores are of the dense weights, and what fell may return; otherwise they are of
            what is left, and what fell stays away.
        samples: how many samples each step measures at least.
        group: `row` prunes the same share of what leads to each output.
    """
    if group not in GROUPS:
        raise TypeError(f"method {name}: group is one of {', '.join(GROUPS)}, not '{group}'")

    def register(function: Function) -> Function:
        more = {
            "steps": steps,
            "schedule": schedule,
            "regrow": regrow,
            "samples": samples,
            "group": group,
        }
        _register(
            function,
            name,
            "method",
            allocation=allocation,
            elementwise=elementwise,
            more=more,
        )
        return function

    return register


def allocation(name: str, *, aliases: tuple[str, ...] = ()) -> Callable[[Function], Function]:
    """Register a function that divides zeros among tensors: (candidates, zeros) -> counts.

    Args:
        name: how the command line calls it; `aliases`: other names for it.
        aliases: see above.
    """

    def register(function: Function) -> Function:
        _register(function, name, "allocation", aliases=aliases)
        return function

    return register


def entries(kind: str | None = None) -> list[Entry]:
    """List what is registered, by name, with what other packages bring."""
    _load_all()
    found = [entry for entry in _entries.values() if kind is None or entry.kind == kind]
    return sorted(found, key=lambda entry: (entry.kind, entry.name))


def find(name: str, kind: str | None = None) -> Entry:
    """Return the method or allocation of a name, or of the file that a path leads to."""
    if name.endswith(".py"):
        return _from_file(Path(name), kind)
    _load_own()
    known = [entry for entry in _entries.values() if kind is None or entry.kind == kind]
    if not any(name in (entry.name, *entry.aliases) for entry in known):
        # Only a name that is not ours is worth a look through all installed packages.
        known = entries(kind)
    for entry in known:
        if name in (entry.name, *entry.aliases):
            return entry
    names = [spelling for entry in known for spelling in (entry.name, *entry.aliases)]
    near = get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else "onnxprune methods explains them"
    what = kind or "method"
    raise UsageError(
        f"unknown {what} '{name}'; choose one of {', '.join(sorted(names))}", hint
    )


def _register(  # noqa: PLR0913 - what one registration says
    function: Callable[..., Any],
    name: str,
    kind: str,
    *,
    allocation: str = "",
    elementwise: bool = False,
    aliases: tuple[str, ...] = (),
    more: Mapping[str, Any] | None = None,
) -> None:
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    if not summary:
        raise TypeError(f"{kind} {name}: its docstring is what `onnxprune methods` prints")
    needs, options = _contract(function, name, kind)
    module = sys.modules.get(function.__module__)
    paper = re.search(r"\((.+)\)", (getattr(module, "__doc__", "") or "").partition("\n")[0])
    known = _entries.values()
    taken = next((entry for entry in known if name in (entry.name, *entry.aliases)), None)
    if taken and taken.function.__module__ != function.__module__:
        # Of two files of the user's the later one counts.
        if not taken.function.__module__.startswith(USER):
            raise TypeError(f"{kind} {name}: the name is taken by {taken.kind} {taken.name}")
        del _entries[taken.name]
    _entries[name] = Entry(
        name=name,
        kind=kind,
        function=function,
        summary=summary,
        paper=paper.group(1) if paper else "",
        needs=needs,
        options=options,
        allocation=allocation,
        elementwise=elementwise,
        aliases=aliases,
        **(more or {}),
    )


def _contract(
    function: Callable[..., Any], name: str, kind: str
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Read which statistics and which options a function declares."""
    needs, options = [], {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.default is not inspect.Parameter.empty:
            options[parameter.name] = parameter.default
        elif parameter.name in STATISTICS:
            needs.append(parameter.name)
        else:
            raise TypeError(
                f"{kind} {name}: no statistic is called '{parameter.name}'; "
                f"choose one of {', '.join(sorted(STATISTICS))} or give it a default"
            )
    return tuple(needs), options


def _load_all() -> None:
    _load_own()
    if "others" not in _loaded:
        _loaded.add("others")
        for point in entry_points(group="onnxprune.methods"):
            try:
                point.load()
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
                raise UsageError(f"the plug-in {point.value} does not load: {what}") from error


def _load_own() -> None:
    if "own" in _loaded:
        return
    _loaded.add("own")
    for package_name in ("onnxprune.allocations", "onnxprune.scores"):
        package = importlib.import_module(package_name)
        for module in pkgutil.iter_modules(package.__path__, package_name + "."):
            importlib.import_module(module.name)


def _from_file(path: Path, kind: str | None) -> Entry:
    if not path.is_file():
        raise UsageError(f"no such file: {path}", "--method takes a name or a .py file")
    _load_all()
    # A file that is read again replaces what it registered; its path tells it from others.
    module_name = f"{USER}{path.stem}_{zlib.crc32(os.fsencode(path.resolve())):08x}"
    for name in [entry.name for entry in _from_module(module_name)]:
        del _entries[name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path}: {type(error).__name__}: {error}") from error
    new = _from_module(module_name)
    fitting = [entry for entry in new if kind in (None, entry.kind)]
    if kind is None and len(fitting) > 1:
        fitting = [entry for entry in fitting if entry.kind == "method"]
    if len(fitting) != 1:
        found = ", ".join(sorted(entry.name for entry in new)) or "none"
        raise UsageError(
            f"{path} must register one {kind or 'method'}, it registers {found}",
            f"decorate one function with @onnxprune.{kind or 'method'}(NAME)",
        )
    return fitting[0]


def _from_module(name: str) -> list[Entry]:
    return [entry for entry in _entries.values() if entry.function.__module__ == name]

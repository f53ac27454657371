"""Makes `onnxprune MODEL …` mean `onnxprune prune MODEL …`, and holds the short help."""

import os
from difflib import get_close_matches
from typing import Any

from typer.core import TyperCommand

from onnxprune.errors import UsageError

COMMANDS = {
    "prune": "prune a model (what `onnxprune MODEL` does)",
    "inspect": "show a model's weights and zeros as they are",
    "check": "run two models on the same samples, and show what pruning cost",
    "sweep": "run a model with several methods at several sparsities",
    "search": "find the largest sparsity within a budget, and write that model",
    "sensitivity": "prune each tensor alone, and show what that costs",
    "shrink": "take out channels that are zero: a smaller and faster model",
    "methods": "list the methods and allocations, with their papers",
    "densify": "make sparse tensors dense again, for tools that read no others",
    "mask": "export, apply or compare masks",
}
HELP = """\
Usage: onnxprune MODEL --sparsity 0.9 [options]

Prune a trained ONNX model: score its weights, zero the least important, keep
every other byte of the file, check what it cost.

Everyday options:
  -s, --sparsity S       share of the prunable weights to zero, such as 0.9 or 90%
  -m, --method NAME      how (default lamp); `onnxprune methods` lists them
  -o, --output FILE      where to write (default MODEL.pruned.onnx); --force replaces
      --include GLOB     prune only these tensors; --exclude GLOB leaves some alone
      --layer GLOB=S     fix the sparsity of some tensors
  -d, --data SET         samples to run the model on, before and after
      --max-drop 0.01    exit with 10 and write nothing if accuracy falls by more
      --dry-run          show what would happen, write nothing
      --json             the report as JSON on standard output
      --report FILE      the report as .json, .md, .html or .txt

Commands:
{commands}

`onnxprune prune --help` shows all options. Zeros do not by themselves make a
model faster: what shrinks is the compressed file.
"""


def help_text() -> str:
    """Return the short help."""
    lines = [f"  {name:<13}{text}" for name, text in COMMANDS.items()]
    return HELP.format(commands="\n".join(lines))


def arrange(words: list[str], command: Any) -> list[str]:
    """Put the command's name first; without one it is `prune`."""
    place = _first_word(words, command)
    if place is not None and words[place] in COMMANDS:
        arranged = [words[place], *words[:place], *words[place + 1 :]]
        return [*arranged, "--help"] if arranged == ["mask"] else arranged
    return ["prune", *words]


def nearest_command(words: list[str]) -> None:
    """Refuse a first word that is neither a command nor a file, with a suggestion."""
    rest = [word for word in words[1:] if not word.startswith("-")]
    if words[0] != "prune" or not rest or "--help" in words:
        return
    first = rest[0]
    if os.path.lexists(first) or "." in first or "/" in first:
        return
    near = get_close_matches(first, COMMANDS, 1)
    if near and first == next((word for word in words[1:]), None):
        raise UsageError(
            f"'{first}' is neither a command nor a file", f"did you mean onnxprune {near[0]}?"
        )


class Grouped(TyperCommand):
    """A command whose help lists the options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section per group, in the order of the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                kind = "Arguments" if parameter.param_type_name == "argument" else "Other"
                title = getattr(parameter, "rich_help_panel", None) or kind
                groups.setdefault(title, []).append(row)
        groups["Other"].append(("--debug", "Show where in the program an error arises."))
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def _first_word(words: list[str], command: Any) -> int | None:
    """Find the first word that is neither an option nor an option's value."""
    takes_value = {
        spelling
        for each in command.commands.values()
        for parameter in each.params
        if parameter.param_type_name == "option" and not parameter.is_flag
        for spelling in parameter.opts
    }
    index = 0
    while index < len(words):
        word = words[index]
        if word == "--":
            return None
        if not word.startswith("-") or word == "-":
            return index
        index += 2 if word in takes_value else 1
    return None

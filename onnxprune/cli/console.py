"""Consoles that are plain where they must be."""

import os
import sys

from rich.console import Console

from onnxprune.cli.meter import is_plain

PLAIN_WIDTH = 100


def make_console(stderr: bool = False) -> Console:
    """Make a console that is plain wherever colours and boxes would be out of place."""
    stream = sys.stderr if stderr else sys.stdout
    terminal = not is_plain(stream)
    width = None if terminal or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Console(
        file=stream,
        force_terminal=terminal,
        width=width,
        no_color=not terminal,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )

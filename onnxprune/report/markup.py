"""The frame of Markdown and HTML documents, and what keeps a file's strings from being markup."""

import html
from collections.abc import Sequence

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{padding:.2rem .6rem;"
    "text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}"
    "td:first-child,th:first-child,.left{text-align:left}"
    ".bar{display:inline-block;height:.7em;background:#2a7de1}"
    "dt{float:left;clear:left;width:7rem;color:#666}dd{margin-left:7rem}"
    ".good{color:#00704f}.bad{color:#a8321a;font-weight:bold}.best{font-weight:bold}"
    ".warning{color:#7a5c00}"
    "svg{max-width:100%;height:auto}"
)


def escape_markdown(text: str) -> str:
    """Keep text from being read as markup or as a command of a CI log."""
    escaped = html.escape(text, quote=False)
    return "".join("\\" + letter if letter in "\\`*_[]|#~" else letter for letter in escaped)


def markdown_row(cells: Sequence[str]) -> str:
    """Join cells that are Markdown already."""
    return "| " + " | ".join(cells) + " |"


def page(title: str, body: str) -> str:
    """Return an HTML page that needs no other file; the body is HTML already."""
    shown = html.escape(title)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{shown}</title>'
        f"<style>{STYLE}</style></head><body><h1>{shown}</h1>{body}</body></html>\n"
    )

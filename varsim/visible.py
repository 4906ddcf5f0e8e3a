"""Escape the control characters in a program's texts, so that terminals do not execute them."""

from __future__ import annotations

import re
from typing import Final

OBEYED: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Characters that a terminal executes: control characters, and changes of the text direction."""


def visible(text: str) -> str:
    """Return the text with escapes instead of the characters that a terminal executes.

    These are all control characters except line feed and tab, and the characters that change the
    direction of the text. So names, values and errors of a program cannot colour, move or hide
    other text.
    """
    return OBEYED.sub(lambda found: _escape(ord(found[0])), text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    """Return the text with escapes instead of control characters, line feeds and tabs."""
    return visible(text).replace("\n", r"\n").replace("\t", r"\t")


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

"""The console on which all reports are printed, on a terminal or in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from varsim.report.formatting import visible
from varsim.report.terminal import takes_escapes, width_of


class ReportConsole(Console):
    """A console that shows control characters as text, so that terminals do not execute them."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts, tables and empty lines."""
        super().print(*map(_shown, objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text of a cell, for measuring and for printing."""
        return super().render_str(visible(text), **options)


def _shown(one: Any) -> Any:
    if not isinstance(one, Text) or visible(one.plain) == one.plain:
        return one
    return Text(visible(one.plain), style=one.style, no_wrap=one.no_wrap, overflow=one.overflow)


def page_on(stream: TextIO, width: int | None = None) -> ReportConsole:
    """Return a console that writes to a stream.

    Args:
        width: Number of columns; by default the width of the stream.
    """
    escapes = takes_escapes(stream)
    return ReportConsole(
        file=stream,
        width=width_of(stream) if width is None else width,
        force_terminal=escapes,
        color_system="auto" if escapes else None,
        highlight=False,
        emoji=False,
        markup=False,
    )


def print_page(show: Callable[[Console], None], file: TextIO, width: int | None = None) -> None:
    """Call `show` with a console. In files and pipes, remove blanks at the ends of lines."""
    console = page_on(file, width)
    if console.is_terminal:
        show(console)
        return
    with console.capture() as captured:
        show(console)
    file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())

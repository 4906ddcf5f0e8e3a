"""The pages of `varsim explain` on a console: 80 columns, and no more on a wider one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from functools import partial
from typing import Final, TextIO

from rich.console import Console
from rich.text import Text

from varsim.report.explain_layout import Block, Heading, Item, Paragraph, Table
from varsim.report.page import print_page
from varsim.report.terminal import width_of
from varsim.report.variable_tables import new_table

_WIDTH: Final = 80  # of lines that one reads


def print_blocks(blocks: Iterable[Block], file: TextIO) -> None:
    """Shows a page, or the overview."""
    width = min(_WIDTH, width_of(file))
    print_page(partial(_print_to, list(blocks), width), file, width)


def _print_to(blocks: Iterable[Block], width: int, console: Console) -> None:
    before: Block | None = None
    for block in blocks:
        if before is not None and not (isinstance(before, Item) and isinstance(block, Item)):
            console.print()
        match block:
            case Heading():
                console.print(Text(block.text, style="bold"))
            case Paragraph():
                console.print(Text(textwrap.fill(_plain(block.text), width)))
            case Item():
                said = f"{block.subject}: {_plain(block.text)}"
                console.print(Text(textwrap.fill(said, width, subsequent_indent="  ")))
            case Table():
                _print_table(console, block)
        before = block


def _plain(text: str) -> str:
    """Without the marks of code, which a console does not need."""
    return text.replace("`", "")


def _print_table(console: Console, block: Table) -> None:
    table = new_table()
    for place, heading in enumerate(block.headings):
        table.add_column(heading, justify="right" if place >= block.numbers else "left")
    for row in block.rows:
        table.add_row(*row)
    console.print(table)

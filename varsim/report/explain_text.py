"""Print the pages of `varsim explain` on a console."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from functools import partial
from typing import TextIO

from rich.console import Console
from rich.text import Text

from varsim.report.explain_blocks import Block, Heading, Item, Paragraph, Table
from varsim.report.page import print_page
from varsim.report.tables import Column, show_texts


def print_blocks(blocks: Iterable[Block], file: TextIO, width: int | None = None) -> None:
    """Print a page, or the overview."""
    print_page(partial(_print_to, list(blocks)), file, width)


def _print_to(blocks: Iterable[Block], console: Console) -> None:
    width = console.width
    before: Block | None = None
    for block in blocks:
        if before is not None and not (isinstance(before, Item) and isinstance(block, Item)):
            console.print()
        match block:
            case Heading():
                console.print(Text(block.text, style="bold"))
            case Paragraph():
                console.print(
                    Text(textwrap.fill(_plain(block.text), width, break_on_hyphens=False))
                )
            case Item():
                said = f"{block.subject}: {_plain(block.text)}"
                console.print(
                    Text(textwrap.fill(said, width, subsequent_indent="  ", break_on_hyphens=False))
                )
            case Table():
                _print_table(console, block)
        before = block


def _plain(text: str) -> str:
    """Return the text without backticks, which a console does not need."""
    return text.replace("`", "")


def _print_table(console: Console, block: Table) -> None:
    labels, *cells = zip(*block.rows, strict=True)
    columns = [
        Column(heading, column, right=index >= block.numbers)
        for index, (heading, column) in enumerate(
            zip(block.headings[1:], cells, strict=True), start=1
        )
    ]
    show_texts(console, labels, columns, corner=block.headings[0])

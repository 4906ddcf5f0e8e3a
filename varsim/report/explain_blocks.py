"""The blocks of pages of `varsim explain`: headings, paragraphs, tables and items of lists."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """A title, of the page or of a part of it."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under headings; the columns from index `numbers` on hold numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a list: its subject, and a text."""

    subject: str
    text: str
    difference: str = ""  # the key of `DIFFERENCES` if the subject is a difference


Block = Heading | Paragraph | Table | Item

"""The pages in docs/modes: the pages of `varsim explain` as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from varsim.distribute.policies import BUILT_IN, POLICIES, parse_synchronization
from varsim.report.explain import EVERY_AGGREGATION, SHOWN, Page, aggregations_of, overview, page
from varsim.report.explain_blocks import Block, Heading, Item, Paragraph, Table
from varsim.report.explain_layout import of_overview, of_page, title
from varsim.report.explain_words import DIFFERENCES
from varsim.spec import Synchronization

FOLDER: Final = Path(__file__).parent / "modes"
_REPLICAS: Final = 2
_SEMANTICS: Final = "../semantics.md"


def mode_pages() -> dict[Path, str]:
    """Return the text of every file in docs/modes: an overview, and a page for each mode."""
    pages = list(_pages())
    texts = {FOLDER / _name(one): _text(one) for one in pages}
    return {FOLDER / "README.md": _contents(pages), **texts}


def _pages() -> Iterator[Page]:
    """Yield one page per synchronization and aggregation; AUTO has one page, as it is replaced."""
    synchronization: Synchronization
    for synchronization in SHOWN:
        whole = page(synchronization, EVERY_AGGREGATION, _REPLICAS)
        if whole.becomes is not synchronization:
            yield whole
            continue
        for aggregation in EVERY_AGGREGATION:
            yield page(synchronization, [aggregation], _REPLICAS)
    for keyword in BUILT_IN:
        synchronization = parse_synchronization(POLICIES.load(keyword).example)
        yield page(synchronization, aggregations_of(synchronization), _REPLICAS)


def _name(of: Page) -> str:
    return f"{title(of).lower().replace(' + ', '_').replace(':', '_')}.md"


def _text(of: Page) -> str:
    words = title(of).lower().replace(" + ", " ")
    return f"{markdown(of_page(of))}\n\n`varsim explain {words}` prints this page.\n"


def _contents(pages: Iterable[Page]) -> str:
    links = [f"- [{title(of)}]({_name(of)})" for of in pages]
    where = (
        "`make docs` generates this table and the pages from the policy table; `varsim explain` "
        f"prints them for any number of replicas. [The semantics]({_SEMANTICS}) have every rule, "
        "with examples."
    )
    return "\n".join([markdown(of_overview(overview(_REPLICAS))), "", where, "", *links, ""])


# ---------------------------------------------------------------- Markdown


def markdown(blocks: Iterable[Block]) -> str:
    """Return the text of a page or of the overview."""
    lines: list[str] = []
    before: Block | None = None
    for block in blocks:
        if before is not None and not (isinstance(before, Item) and isinstance(block, Item)):
            lines.append("")
        match block:
            case Heading():
                lines.append(f"{'#' * block.level} {block.text}")
            case Paragraph():
                lines.append(block.text)
            case Item():
                lines.append(f"- {_subject(block)}: {block.text}")
            case Table():
                lines += _table(block)
        before = block
    return "\n".join(lines)


def _subject(item: Item) -> str:
    if not item.difference:
        return f"**{item.subject}**"
    heading = f"{item.difference}: {DIFFERENCES[item.difference].title}"
    return f"[{heading}]({_SEMANTICS}#{_anchor(heading)})"


def _anchor(heading: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _table(table: Table) -> list[str]:
    rules = ["--:" if place >= table.numbers else "---" for place in range(len(table.headings))]
    rows = [table.headings, tuple(rules), *table.rows]
    return [f"| {' | '.join(map(_cell, row))} |" for row in rows]


def _cell(text: str) -> str:
    """Return the text of a cell, in which a bar does not begin another cell."""
    return text.replace("|", "\\|")

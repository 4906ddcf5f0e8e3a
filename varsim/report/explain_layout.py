"""The pages of `varsim explain`, as blocks: what each part says, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from varsim.errors import OperationError
from varsim.report.explain import EVERY_AGGREGATION, Line, Meaning, Overview, Page, Section
from varsim.report.explain_blocks import Block, Heading, Item, Paragraph, Table
from varsim.report.explain_compression import CHANGE, TIMES
from varsim.report.explain_manual import ManualExample
from varsim.report.explain_rows import SparseExample, SparseMeaning
from varsim.report.explain_troubles import Trouble
from varsim.report.explain_words import AGGREGATIONS, DIFFERENCES
from varsim.report.explain_worked import START, WRITTEN, Way, Worked
from varsim.report.formatting import NOTHING, count, names, number
from varsim.spec import SCATTERS, Array, Context, Operation, Synchronization

_MOST_SHOWN: Final = 4  # if there are more components, the first two and the last are shown
_ANY: Final = "any"  # shown as the aggregation of a row that is the same for all aggregations
_PAIR: Final = 2  # two components are shown without an ellipsis


def title(page: Page) -> str:
    """Return the title of a page."""
    if len(page.aggregations) > 1:
        return page.synchronization.name
    return f"{page.synchronization.name} + {page.aggregations[0].name}"


def of_page(page: Page) -> Iterator[Block]:
    """Yield the blocks of a page."""
    yield Heading(title(page), 1)
    yield Paragraph(page.summary)
    if page.becomes != page.synchronization:
        yield Paragraph(_what_it_becomes(page.synchronization, page.becomes))
    yield from _aggregations(page)
    yield Paragraph(_examples(page))
    for section in page.sections:
        yield from _section(page, section)
    yield from _compression(page)
    yield from _sparse_writes(page)
    yield from _by_hand(page)
    yield from _troubles("Warnings", page.warnings)
    yield from _troubles("Errors", page.errors)
    yield from _differences(page)


def _what_it_becomes(asked: Synchronization, becomes: Synchronization) -> str:
    return (
        f"A variable created with {asked.name} becomes {becomes.name}, as in TensorFlow's "
        f"synchronous strategies; `varsim explain {becomes.name.lower()}` describes it. The "
        f"variable stays {asked.name} only under a strategy with "
        'auto="adaptive" (in YAML `auto: adaptive`, or `varsim run --auto adaptive`), and only if '
        "its shape has no unknown dimension. The rest of this page is about a variable that "
        f"stays {asked.name}."
    )


def _aggregations(page: Page) -> Iterator[Block]:
    """Yield the result of each aggregation, for the replicas' values and the initial value."""
    for aggregation, fresh in zip(page.aggregations, page.fresh, strict=True):
        said = f"{AGGREGATIONS[aggregation]}."
        if fresh is not None:
            said += f" Before any write, a cross-replica read returns {_number(fresh)}."
        yield Item(f"aggregation={aggregation.name}", said)


def _values(page: Page) -> str:
    """Return the heading of the column with the values of the variable."""
    return "copy" if page.has_one_copy else "components"


def _examples(page: Page) -> str:
    replicas = f"{page.num_replicas} replica{'s' * (page.num_replicas != 1)}"
    values = _values(page)
    return (
        f"Each row of the tables is one operation on a new float32 variable on {replicas}; its "
        f"initial value is {number(START)}. A cross-replica read follows each operation. The "
        f"column `{values}` has the {values} after the operation, and `outside` has the result "
        "of the cross-replica read. `messages` counts the messages of the operation, and `+ read` "
        "counts those of the cross-replica read, as if the variable were sent alone."
    )


# ---------------------------------------------------------------- a context


def _section(page: Page, section: Section) -> Iterator[Block]:
    yield Heading(_TITLES[section.context])
    yield Paragraph(_caption(page, section))
    headings = (_values(page), "outside", "messages", "+ read")
    outcomes = [(_called(one), one.aggregation.name, *_outcome(one)) for one in section.examples]
    yield _table(page, headings, outcomes)
    for meaning in section.meanings:
        yield Item(_subject(meaning), f"{meaning.sentence} {_tensorflow(page, meaning)}".strip())


_TITLES: Final = {
    Context.REPLICA: "In replica context, inside strategy.run",
    Context.CROSS_REPLICA: "In cross-replica context, outside the replicas",
    Context.UPDATE: "Inside strategy.extended.update",
}


def _caption(page: Page, section: Section) -> str:
    each = f"{number(WRITTEN)} to the variable" if page.has_one_copy else "i + 1 to component i"
    said = {
        Context.REPLICA: "In the rows of writes, replica i writes i + 1.",
        Context.CROSS_REPLICA: f"In the rows of writes, the program writes {number(WRITTEN)}.",
        Context.UPDATE: f"In the rows of writes, the function writes {each}.",
    }[section.context]
    ways = {example.way for example in section.examples}
    told = [said, *(_WAYS[way] for way in Way if way in ways and way in _WAYS)]
    return " ".join([*told, _before_reads(section)])


def _before_reads(section: Section) -> str:
    """Return what the replicas do before the reads of the examples."""
    reads = [one for one in section.examples if one.operation is Operation.READ]
    new = [one.aggregation.name for one in reads if not one.had_added]
    if len(new) == len(reads):
        return "In the row of the read, the variable is new: replicas cannot write it."
    added = "In the row of the read, replica i has added i + 1 before the read"
    if not new:
        return f"{added}."
    return f"{added}; with {names(new)}, this write is refused, and a new variable is read."


_WAYS: Final = {
    Way.EACH: "In rows with `each`, the written value is a per-replica value: i + 1 for component "
    "i.",
    Way.UNREAD: "In rows with `unread`, the write has read_value=False.",
}


def _table(
    page: Page, headings: tuple[str, ...], outcomes: Iterable[tuple[str, str, *tuple[str, ...]]]
) -> Table:
    """Return a table of examples, with a column for the aggregation if the page has several.

    An operation has a row for each aggregation, or one row if those of all aggregations are equal.

    Args:
        outcomes: The operation, the aggregation and the cells of each example.
    """
    of_each: dict[str, list[tuple[str, ...]]] = {}
    for called, *row in outcomes:
        of_each.setdefault(called, []).append(tuple(row))
    rows: list[tuple[str, ...]] = []
    for called, those in of_each.items():
        alike = len(those) == len(EVERY_AGGREGATION) and len({row[1:] for row in those}) == 1
        shown = [(_ANY, *those[0][1:])] if alike else those
        rows += [(called, *row) for row in shown]
    if len(page.aggregations) > 1:
        return Table(("", "aggregation", *headings), tuple(rows), numbers=2)
    return Table(("", *headings), tuple((row[0], *row[2:]) for row in rows), numbers=1)


def _called(example: Worked) -> str:
    return example.operation.value + (f", {example.way.value}" if example.way.value else "")


def _outcome(example: Worked) -> tuple[str, str, str, str]:
    if example.refused is not None:
        return "refused", NOTHING, NOTHING, NOTHING
    return (
        components(example.components),
        _outside(example),
        count(example.messages),
        NOTHING if example.outside is None else count(example.read_messages),
    )


def _outside(example: Worked) -> str:
    return "refused" if example.outside is None else _number(example.outside)


def components(values: Iterable[Array]) -> str:
    """Return the components side by side; of many components, the first two and the last."""
    shown = [_number(value) for value in values]
    if len(shown) > _PAIR and len(set(shown)) == 1:
        return f"all {shown[0]}"
    if len(shown) > _MOST_SHOWN:
        shown = [*shown[:2], "…", shown[-1]]
    return " ".join(shown)


def _number(value: Array) -> str:
    return number(value.item())


def _subject(meaning: Meaning | SparseMeaning) -> str:
    """Return the operations and aggregations that a sentence is about."""
    if meaning.operations == SCATTERS:
        said = "all sparse writes"
    else:
        said = names([operation.value for operation in meaning.operations], most=len(SCATTERS))
    if not meaning.aggregations:
        return said
    those = names([one.name for one in meaning.aggregations], most=len(EVERY_AGGREGATION))
    return f"{said} with {those}"


def _tensorflow(page: Page, meaning: Meaning) -> str:
    if page.strict_refuses:
        return ""  # TensorFlow refuses such a variable
    if page.becomes != page.synchronization or page.is_custom:
        return ""  # TensorFlow neither defers nor has custom policies
    if not meaning.differences:
        return "TensorFlow does the same."
    numbers = names(meaning.differences, most=len(DIFFERENCES))
    return f"TensorFlow does the same, except for {numbers} (see below)."


# ---------------------------------------------------------------- sparse writes


def _sparse_writes(page: Page) -> Iterator[Block]:
    """Yield a table of the examples, and the sentences on all sparse writes, by context."""
    yield Heading("Sparse writes: some rows")
    yield Paragraph(_SPARSE_CAPTION.format(rows=_ROWS_OF[page.has_one_copy]))
    for context in Context:
        yield Heading(_TITLES[context], 3)
        examples = [one for one in page.sparse_examples if one.context is context]
        if examples:
            yield Paragraph(_ROWS_WRITTEN[context])
            headings = (_values(page), "messages", "bytes")
            outcomes = [
                (one.operation.value, one.aggregation.name, *_sparse_outcome(one))
                for one in examples
            ]
            yield _table(page, headings, outcomes)
        for meaning in page.sparse_meanings:
            if meaning.context is context:
                yield Item(_subject(meaning), meaning.sentence)


_SPARSE_CAPTION: Final = (
    "The variable has 2 rows. Each row is one number, with the initial value 10. {rows} The column "
    "`messages` counts the messages of the write, as if the variable were sent alone, and `bytes` "
    "is the size of the indices and values in these messages. A row of float32 has 12 B: 8 B for "
    "its index and 4 B for its value. scatter_sub, scatter_div and scatter_max follow the same "
    "rules."
)

_ROWS_OF: Final = {
    False: (
        "The column `components` has all rows of each component after the write, or after the next "
        'read if the write is deferred. The sign "|" separates components, and "all" is written '
        "before rows that all components have."
    ),
    True: "The column `copy` has all rows of the copy after the write.",
}
"""Whether the variable has one copy → the sentence about the column with its rows."""

_ROWS_WRITTEN: Final = {
    Context.REPLICA: (
        "Replica i writes i + 1 to two rows: to row 0, and to the row with the number i modulo 2. "
        "So replica 0 writes row 0 twice, and all replicas write row 0."
    ),
    Context.CROSS_REPLICA: f"The program writes {number(WRITTEN)} to row 0 twice.",
}


def _sparse_outcome(example: SparseExample) -> tuple[str, str, str]:
    if example.refused is not None:
        return "refused", NOTHING, NOTHING
    shown = [" ".join(number(row) for row in one.tolist()) for one in example.components]
    if len(set(shown)) == 1 and len(shown) > 1:
        shown = [f"all {shown[0]}"]
    elif len(shown) > _PAIR:
        shown = [shown[0], "…", shown[-1]]
    return " | ".join(shown), count(example.messages), count(example.size_bytes)


# ---------------------------------------------------------------- compression


def _compression(page: Page) -> Iterator[Block]:
    """Yield a table of compressed changes, if the policy compresses them."""
    if not page.compression_steps:
        return
    yield Heading("Compression")
    whole_bytes = page.compression_steps[0].whole_bytes
    yield Paragraph(
        f"The tables above have one number, of which nothing is lacking. A replica that adds "
        f"[{_elements(CHANGE)}] in each of {TIMES} exchanges sends what the table shows. The "
        "column `to send` has this change and the residual before it, `sent` has what the other "
        "replicas get, and `residual` has what `sent` lacks. `bytes` is the size of what the "
        f"replica sends; without compression it is {whole_bytes} B."
    )
    rows = tuple(
        (
            str(number_of),
            *(_elements(one.tolist()) for one in (step.total, step.restored, step.residual)),
            count(step.size_bytes),
        )
        for number_of, step in enumerate(page.compression_steps, 1)
    )
    yield Table(("", "to send", "sent", "residual", "bytes"), rows, numbers=1)


def _elements(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


# ---------------------------------------------------------------- by hand


def _by_hand(page: Page) -> Iterator[Block]:
    """Yield a table of the manual operations, and why some are refused."""
    yield Heading("By hand")
    yield Paragraph(_BY_HAND)
    outcomes = [
        (one.called, one.aggregation.name, *_by_hand_outcome(one)) for one in page.manual_examples
    ]
    yield _table(page, ("components", "value", "messages"), outcomes)
    refused = (one.refused for one in page.manual_examples if one.refused is not None)
    reasons = dict.fromkeys(map(_reason, refused))
    for reason in reasons:
        yield Item("refused", reason)


_BY_HAND: Final = (
    "Manual operations, with which a program itself synchronises the variable; TensorFlow has none "
    "of them. Replica i has added i + 1 before. The column `value` has what the operation returns, "
    "and `messages` counts the messages of the row in strategy.run, as if the variable were sent "
    "alone."
)


def _by_hand_outcome(example: ManualExample) -> tuple[str, str, str]:
    if example.refused is not None or example.value is None:
        return "refused", NOTHING, NOTHING
    return components(example.components), _number(example.value), count(example.messages)


def _reason(error: OperationError) -> str:
    """Return the reason of a refusal as a sentence, without the name of the operation."""
    reason = error.problem.partition(" is not possible: ")[2] or error.problem
    return f"{reason[0].upper()}{reason[1:]}."


# ---------------------------------------------------------------- what can go wrong


def _troubles(heading: str, troubles: tuple[Trouble, ...]) -> Iterator[Block]:
    if troubles:
        yield Heading(heading)
        for trouble in troubles:
            yield Item(f"{trouble.kind}, {_when(trouble)}", trouble.text)


def _when(trouble: Trouble) -> str:
    if not trouble.operations:
        return trouble.when
    if trouble.operations == SCATTERS:
        return f"all sparse writes {trouble.when}"
    whose = names([one.value for one in trouble.operations], most=len(SCATTERS))
    return f"{whose} {trouble.when}"


def _differences(page: Page) -> Iterator[Block]:
    yield Heading("TensorFlow 2.21")
    if page.has_one_copy:
        yield Paragraph(
            "TensorFlow does not have this synchronization. The variables of its "
            "CentralStorageStrategy follow these rules under every synchronization, except for the "
            "differences in docs/semantics.md."
        )
        return
    if page.is_custom:
        yield Paragraph("TensorFlow does not have this synchronization.")
        return
    if page.strict_refuses:
        yield Item("D1", DIFFERENCES["D1"].tensorflow, "D1")
        return
    if page.becomes != page.synchronization:
        yield Paragraph(
            f"TensorFlow does not have auto: adaptive. The values equal those of "
            f"{page.becomes.name}, except for rounding where sums are formed in another order. "
            f"The differences from TensorFlow are those of {page.becomes.name}:"
        )
    elif page.differences:
        yield Paragraph("Every value is the same as in TensorFlow, with these exceptions:")
    else:
        yield Paragraph("Every value is the same as in TensorFlow.")
    for key in page.differences:
        yield Item(key, DIFFERENCES[key].tensorflow, key)


# ---------------------------------------------------------------- the overview


def of_overview(overview: Overview) -> Iterator[Block]:
    """Yield all synchronizations with all aggregations, on one screen."""
    replicas = f"{overview.num_replicas} replica{'s' * (overview.num_replicas != 1)}"
    yield Heading("What a variable does", 1)
    yield Paragraph(
        f"In each row, the variable starts at {number(START)} on {replicas}, replica i adds i + 1, "
        "and a cross-replica read follows. `messages` counts those of the write + of the read."
    )
    of_each = groupby(overview.lines, key=lambda line: line.synchronization)
    rows = [row for synchronization, lines in of_each for row in _rows(synchronization, [*lines])]
    headings = ("", "aggregation", "a write", "components", "a read", "messages")
    yield Table(headings, tuple(rows), numbers=3)
    for asked, becomes in overview.becoming:
        yield Paragraph(
            f"{asked.name} becomes {becomes.name} at creation. The rows of {asked.name} are for "
            "auto: adaptive."
        )


def _rows(synchronization: Synchronization, lines: Sequence[Line]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each aggregation, or one row if the rows of all aggregations are equal."""
    told = [_in_a_line(line) for line in lines]
    if len(set(told)) == 1:
        yield synchronization.name, _ANY, *told[0]
        return
    for index, (line, said) in enumerate(zip(lines, told, strict=True)):
        first = "" if index else synchronization.name
        yield first, line.example.aggregation.name, *said


def _in_a_line(line: Line) -> tuple[str, ...]:
    example = line.example
    read = "" if example.outside is None else f" + {count(example.read_messages)}"
    return (
        line.replicas_write,
        components(example.components),
        _outside(example),
        f"{count(example.messages)}{read}",
    )

"""Make the content of `varsim explain` from the policy table, so that the content stays correct.

A page is about one synchronization, and one or several aggregations. `explain_worked` computes the
numbers of a page. `explain_words` has its sentences, and `explain_troubles` has its errors.
`explain_layout` makes the blocks of a page, and `explain_text` prints them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from varsim.report import explain_troubles
from varsim.report.explain_compression import CompressionStep, compression_steps
from varsim.report.explain_manual import ManualExample, manual_examples
from varsim.report.explain_rows import (
    CONTEXTS,
    SparseExample,
    SparseMeaning,
    sparse_examples,
    sparse_meanings,
)
from varsim.report.explain_troubles import Trouble
from varsim.report.explain_words import (
    DIFFERENCES,
    differs_by,
    replicas_write,
    sentence,
)
from varsim.report.explain_worked import OPERATIONS, Worked, example_spec, fresh, worked
from varsim.spec import (
    SCATTERS,
    Array,
    Context,
    CustomSynchronization,
    Operation,
    Synchronization,
    VariableAggregation,
    VariableSpec,
)
from varsim.sync import policies
from varsim.sync.policies import custom
from varsim.texts.policies import PolicyText, text_of

SHOWN: Final = tuple(policies.POLICIES)
"""The synchronizations in reading order."""

EVERY_AGGREGATION: Final = tuple(VariableAggregation)


def aggregations_of(synchronization: Synchronization) -> tuple[VariableAggregation, ...]:
    """Return the aggregations that a variable with a synchronization can have."""
    possible = policies.policy_of(synchronization).becomes.aggregations
    return EVERY_AGGREGATION if possible is None else tuple(dict.fromkeys(possible.values()))


@dataclass(frozen=True, slots=True)
class Meaning:
    """The effect of operations with some aggregations, and how TensorFlow differs."""

    operations: tuple[Operation, ...]
    aggregations: tuple[VariableAggregation, ...]  # empty: all aggregations of the page
    sentence: str
    differences: tuple[str, ...]  # keys of `DIFFERENCES`


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a page about one context."""

    context: Context
    examples: tuple[Worked, ...]  # sorted by operation, and then by aggregation
    meanings: tuple[Meaning, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page about a synchronization with one or several aggregations."""

    synchronization: Synchronization
    becomes: Synchronization  # the synchronization of a created variable; usually the same
    aggregations: tuple[VariableAggregation, ...]
    fresh: tuple[Array | None, ...]
    """For each aggregation, what a read from outside returns before any write; None if refused."""
    num_replicas: int
    summary: str
    sections: tuple[Section, ...]
    sparse_examples: tuple[SparseExample, ...]  # sorted by context, operation, aggregation
    sparse_meanings: tuple[SparseMeaning, ...]
    manual_examples: tuple[ManualExample, ...]  # sorted by operation, aggregation
    compression_steps: tuple[CompressionStep, ...]  # empty if nothing is compressed
    warnings: tuple[Trouble, ...]
    errors: tuple[Trouble, ...]
    strict_refuses: bool  # whether strict=True refuses the variable, as TensorFlow does

    @property
    def is_custom(self) -> bool:
        """Return whether TensorFlow does not have this synchronization."""
        return isinstance(self.synchronization, CustomSynchronization)

    @property
    def has_one_copy(self) -> bool:
        """Return whether the variable has one copy instead of components."""
        return policies.policy_of(self.synchronization).has_one_copy

    @property
    def differences(self) -> tuple[str, ...]:
        """Return the keys of `DIFFERENCES` that concern the page, in their order."""
        told = {
            number
            for section in self.sections
            for meaning in section.meanings
            for number in meaning.differences
        } | ({"D1"} if self.strict_refuses else set())
        return tuple(number for number in DIFFERENCES if number in told)


def page(
    synchronization: Synchronization,
    aggregations: Sequence[VariableAggregation],
    num_replicas: int,
) -> Page:
    """Return the page about a synchronization with some aggregations."""
    specs = [example_spec(synchronization, aggregation) for aggregation in aggregations]
    become = policies.policy_of(synchronization).becomes
    text = _text(synchronization)
    sections = tuple(_section(specs, context, num_replicas) for context in Context)
    return Page(
        synchronization=synchronization,
        becomes=become.synchronization,
        aggregations=tuple(aggregations),
        fresh=tuple(fresh(spec, num_replicas) for spec in specs),
        num_replicas=num_replicas,
        summary=text.summary,
        sections=sections,
        sparse_examples=tuple(_sparse_examples(specs, num_replicas)),
        sparse_meanings=tuple(sparse_meanings(specs)),
        compression_steps=tuple(compression_steps(specs[0])),
        manual_examples=tuple(_manual_examples(specs, num_replicas)),
        warnings=_once(
            trouble
            for spec in specs
            for trouble in explain_troubles.warnings(spec, text.warning, num_replicas)
        ),
        errors=_once(
            trouble
            for spec in specs
            for trouble in (
                *explain_troubles.errors(spec, _of(spec, sections), num_replicas),
                *explain_troubles.of_sparse_writes(sparse_examples(spec, num_replicas, SCATTERS)),
            )
        ),
        strict_refuses=become.unless_strict,
    )


def _sparse_examples(specs: Sequence[VariableSpec], num_replicas: int) -> list[SparseExample]:
    """Return the examples of all specs by context and operation."""
    examples = [one for spec in specs for one in sparse_examples(spec, num_replicas)]
    return sorted(
        examples, key=lambda one: (CONTEXTS.index(one.context), SCATTERS.index(one.operation))
    )


def _manual_examples(specs: Sequence[VariableSpec], num_replicas: int) -> Iterator[ManualExample]:
    """Yield the examples of all specs by operation."""
    for alike in zip(*(manual_examples(spec, num_replicas) for spec in specs), strict=True):
        yield from alike


def _text(synchronization: Synchronization) -> PolicyText:
    if not isinstance(synchronization, CustomSynchronization):
        return text_of(synchronization)
    policy = custom.known(synchronization)
    assert policy is not None, "it is known, or it would have no page"
    return text_of(synchronization, policy.summary)


def _of(spec: VariableSpec, sections: Iterable[Section]) -> Iterator[Worked]:
    for section in sections:
        for example in section.examples:
            if example.aggregation is spec.aggregation:
                yield example


def _once(troubles: Iterable[Trouble]) -> tuple[Trouble, ...]:
    """Return one trouble for all operations and aggregations whose troubles have the same text.

    Texts are the same if they differ only in the name of their own operation, everywhere or in its
    calls: a text can also list several operations.
    """
    told: list[Trouble] = []
    known: dict[tuple[str, ...], int] = {}  # kind, condition and text → position in `told`
    for trouble in troubles:
        own = trouble.operations[0].value if trouble.operations else ""
        texts = [trouble.text]
        if own:
            texts = [trouble.text.replace(own, "…"), trouble.text.replace(f"{own}(", "…(")]
        keys = [(trouble.kind, trouble.when, text) for text in texts]
        position = next((known[key] for key in keys if key in known), len(told))
        known.update(dict.fromkeys(keys, position))
        if position == len(told):
            told.append(trouble)
        both = tuple(dict.fromkeys(told[position].operations + trouble.operations))
        told[position] = replace(told[position], operations=both)
    return tuple(told)


def _section(specs: Sequence[VariableSpec], context: Context, num_replicas: int) -> Section:
    examples = [one for spec in specs for one in worked(spec, context, num_replicas)]
    examples.sort(key=lambda one: OPERATIONS.index(one.operation))
    return Section(context, tuple(examples), tuple(_meanings(specs, context)))


def _meanings(specs: Sequence[VariableSpec], context: Context) -> Iterator[Meaning]:
    """Yield the sentences, each only once for all operations and aggregations that it is about."""
    concerned: dict[tuple[str, tuple[Operation, ...]], list[VariableSpec]] = {}
    for spec in specs:
        told: dict[str, list[Operation]] = {}
        for operation in OPERATIONS:
            told.setdefault(sentence(spec, context, operation), []).append(operation)
        for text, operations in told.items():
            concerned.setdefault((text, tuple(operations)), []).append(spec)
    for (text, told_of), those in concerned.items():
        differences = {
            number
            for spec in those
            for operation in told_of
            for number in differs_by(spec, context, operation)
        }
        yield Meaning(
            told_of,
            () if len(those) == len(specs) else tuple(spec.aggregation for spec in those),
            text,
            tuple(number for number in DIFFERENCES if number in differences),
        )


# ---------------------------------------------------------------- the overview


@dataclass(frozen=True, slots=True)
class Line:
    """One synchronization with one aggregation, in a line."""

    synchronization: Synchronization
    replicas_write: str
    example: Worked  # replica i adds i + 1


@dataclass(frozen=True, slots=True)
class Overview:
    """All synchronizations with all aggregations."""

    num_replicas: int
    lines: tuple[Line, ...]
    becoming: tuple[tuple[Synchronization, Synchronization], ...]
    """Pairs: a requested synchronization, and the synchronization of the created variable."""


def overview(num_replicas: int) -> Overview:
    """Return the overview: in each line, a write on a replica and a cross-replica read."""
    return Overview(
        num_replicas,
        tuple(
            _line(example_spec(synchronization, aggregation), num_replicas)
            for synchronization in SHOWN
            for aggregation in EVERY_AGGREGATION
        ),
        tuple(
            (asked, policy.becomes.synchronization)
            for asked, policy in policies.POLICIES.items()
            if policy.becomes.synchronization is not asked
        ),
    )


def _line(spec: VariableSpec, num_replicas: int) -> Line:
    added = Operation.ASSIGN_ADD
    (example,) = (
        one for one in worked(spec, Context.REPLICA, num_replicas) if one.operation is added
    )
    words = replicas_write(policies.cell(spec, Context.REPLICA, added))
    return Line(spec.synchronization, words, example)

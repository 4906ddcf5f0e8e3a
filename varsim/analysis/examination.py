"""The examination of a run: whether varsim kept its promises, and findings about the program."""

from __future__ import annotations

from dataclasses import dataclass, replace

from varsim.analysis.causes import with_causes
from varsim.analysis.failures import Ending, failures
from varsim.analysis.findings.compared import Compared
from varsim.analysis.findings.model import Finding, FindingKind
from varsim.analysis.narrow_values import rounded_alike
from varsim.analysis.notes import ENDING, not_looked_at
from varsim.analysis.outcome import Note, Outcome, Verdict, overall
from varsim.analysis.search import SEARCHED_KINDS, Search
from varsim.analysis.sources import with_sources
from varsim.analysis.unknown_policies import not_compared, notes_on
from varsim.analysis.verdict import Judges, is_whole, sound
from varsim.tracing.history import History
from varsim.tracing.progress import Tell


@dataclass(frozen=True, slots=True)
class Examination:
    """The result of examining a history."""

    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]  # failures, and all other kinds if the record is whole
    compared: Compared | None
    """The comparison with a single device; None unless both records are whole."""
    num_events: int
    num_replicas: int  # 0 if the record is not whole
    not_looked_at: tuple[Note, ...]
    ending: Ending | None
    """How the program ended; None if this is not known."""
    run_failed: bool

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of all verdicts together."""
        return overall(self.verdicts)

    @property
    def is_whole(self) -> bool:
        """Return whether the record is whole; only whole records are searched for findings."""
        return is_whole(self.verdicts)

    @property
    def num_kinds(self) -> int:
        """Return how many kinds of finding were searched for.

        The number is 0 if the record is not whole, or if there is only one replica.
        """
        if not self.is_whole or self.num_replicas < 2:
            return 0
        return len(SEARCHED_KINDS) - len(self.kinds_left_out)

    @property
    def kinds_left_out(self) -> frozenset[FindingKind]:
        """Return the kinds of finding that were skipped.

        Some kinds need a comparison with a single device. Some of these need a single device with
        the whole batch.
        """
        compared = self.compared
        if compared is None:
            return frozenset(kind for kind in SEARCHED_KINDS if kind.needs_oracle)
        if compared.rules_tried:
            return frozenset()
        return frozenset(kind for kind in SEARCHED_KINDS if kind.needs_whole_batch)


def examine(
    history: History,
    oracle: History | None = None,
    *,
    ending: Ending | None = None,
    no_oracle: str = "",
    tell: Tell | None = None,
) -> Examination:
    """Judge a history, and look for findings if its record is whole, in one pass over it.

    Args:
        oracle: The history of the same program on one replica with the whole batch, for comparison.
        ending: How the program ended; None if this is not known.
        no_oracle: The reason why a requested oracle is missing; "" if no oracle was requested.
        tell: A function that gets the fraction of the history that was read, from 0 to 1.
    """
    one_device = sound(oracle)
    if oracle is not None and one_device is None:
        no_oracle = "the record of the oracle is not whole"
    judges = Judges(history)
    if ending is not None and ending.returned:
        returned = rounded_alike(ending.returned, history, one_device)
        ending = replace(ending, returned=returned)
    returned = () if ending is None else ending.returned
    search = Search(history, one_device, returned) if judges.expect_a_whole_record else None
    judges.see((*judges.observers, *(search.observers if search is not None else ())), tell=tell)
    verdicts = judges.conclude()
    whole = is_whole(verdicts)
    findings, compared = search.conclude() if search is not None and whole else ((), None)
    findings = with_causes(history, findings)
    if compared is not None:
        uncompared = (*compared.uncompared, *not_compared(judges.unknown))
        compared = replace(compared, uncompared=uncompared)
    if compared is not None and ending is not None:
        compared = replace(compared, returned=ending.returned, num_replicas=history.num_replicas)
    if compared is not None:
        compared = with_sources(history, compared, findings)
    failed = failures(history, ending, judges.replay if whole else None)
    notes: list[Note] = notes_on(judges.unknown)
    if search is not None and whole:  # these notes come first, because they name program lines
        notes += search.notes()
    notes += not_looked_at(history, verdicts, no_oracle, compared=compared is not None)
    if ending is None or not ending.is_known:
        notes.append(ENDING)
    return Examination(
        verdicts=verdicts,
        findings=(*failed.findings, *findings),
        compared=compared,
        num_events=history.last_event,
        num_replicas=history.num_replicas if whole else 0,
        not_looked_at=tuple(notes),
        ending=ending,
        run_failed=failed.run_failed,
    )

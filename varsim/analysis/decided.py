"""The remedy if each replica decides for itself how it writes a variable.

No settings mend such a write: another aggregation combines the results of different decisions, and
a merge at each write waits for replicas that do not write.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from varsim.analysis.findings.conflicts import READ_WRITE, WRITE_WRITE
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.analysis.findings.model import OWN_VALUES, Finding
from varsim.analysis.findings.scaling_messages import FIRST_REPLICA_ONLY
from varsim.analysis.findings.staleness import STALE_READ
from varsim.texts.faces import Face, reducing

_OF_DECISIONS: Final = frozenset(
    {READ_WRITE, WRITE_WRITE, DIVERGENCE, STALE_READ, FIRST_REPLICA_ONLY}
)
"""Kinds of finding that follow if replicas decide differently."""

_REMEDY: Final = (
    "Reduce what the decision depends on, so that all replicas decide alike: by MEAN, as for a "
    "loss, or by MAX if one replica is to decide for all, as for an overflow. Then all replicas "
    "write the same value."
)

_OF_EACH: Final = (
    "If the value is a state of each replica, choose ON_READ, with which each replica has its own "
    "value. If it is to be the same for all replicas, reduce what the decision depends on, so that "
    "all replicas decide alike: `{}` before the decision, where `value` is what it depends on."
)


def decided(finding: Finding, context: FindingContext) -> Finding:
    """Return a finding with the remedy of its cause, if each replica decided for itself."""
    said = context.decisions.of(finding.variable_id) if _may_follow(finding) else ""
    if not said:
        return finding
    what = f"{finding.what} {said}"
    if finding.settings == OWN_VALUES:
        line = "; ".join(_lines(context.face)[-1:])
        return replace(finding, what=what, remedy=_OF_EACH.format(line))
    return replace(
        finding,
        what=what,
        remedy=_REMEDY,
        paste=("# before the decision; value: what it depends on", *_lines(context.face)),
        settings=None,
        mended_by_settings=False,
    )


def _lines(face: Face) -> tuple[str, ...]:
    return reducing(face, "MEAN", "value")


def _may_follow(finding: Finding) -> bool:
    """Return whether a finding can follow from decisions; one with a mistake of its own cannot."""
    return finding.kind in _OF_DECISIONS and not finding.own_cause

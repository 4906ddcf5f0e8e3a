"""Sentences that summarise what synchronisation did in a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from varsim.report.formatting import count, names, number, size
from varsim.report.grouping import name_of
from varsim.report.summary import Lens, RunStatus, Summary, VariableSummary
from varsim.report.variable_tables import alone, saving
from varsim.texts.facts import times

_Group = Sequence[VariableSummary]
_MOST_NAMES: Final = 3  # listed one by one
_SAME: Final = "the same"


def sentences_on_synchronisation(summary: Summary) -> list[str]:
    """Return one paragraph for each synchronization that was in force.

    If there are free variables, the paragraphs are only about the free variables, because the mode
    sets their synchronization. Otherwise the paragraphs are about all variables.
    """
    happened = any(variable.writes for variable in summary.variables)
    if not happened or summary.status is RunStatus.FAILED:
        return []
    if summary.servers:
        return [_on_servers(summary.variables)]
    if len(summary.devices) == 1:
        return ["With one replica there is nothing to synchronise."]
    told = [v for v in summary.variables if v.free] or summary.variables
    groups: dict[str, list[VariableSummary]] = {}
    for variable in told:
        if variable.writes:
            groups.setdefault(_kind(variable), []).append(variable)
    return [_SENTENCES.get(kind, _custom)(group) for kind, group in groups.items()]


def _on_servers(variables: _Group) -> str:
    """Return the sentence on variables of parameter servers."""
    uses = [one.served for one in variables if one.served is not None]
    based, stale = sum(one.based_writes for one in uses), sum(one.stale_writes for one in uses)
    moved = size(sum(variable.size_bytes for variable in variables))
    said = (
        f"Every read and every write went to a parameter server: "
        f"{times(sum(variable.messages for variable in variables), 'message')} and {moved}."
    )
    if not based:
        return said
    behind = sum(one.behind * one.based_writes for one in uses) / based
    return (
        f"{said} {times(based, 'write')} came after a read in the same closure; {count(stale)} of "
        f"them were behind, because others had written in between: by {behind:,.3g} versions on "
        "average over all of them."
    )


def _kind(variable: VariableSummary) -> str:
    both = f"{variable.synchronization} + {variable.aggregation}"
    return both if both in _SENTENCES else variable.synchronization


def _names(group: _Group) -> str:
    every = [variable.name for variable in group]
    together = name_of(every)
    return together if len(every) > _MOST_NAMES and "*" in together else names(every)


def _mode(group: _Group) -> str:
    return names([variable.synchronization for variable in group])


def _were(group: _Group) -> str:
    return "was" if len({variable.name for variable in group}) == 1 else "were"


def _differ(group: _Group) -> str | None:
    """Return a clause on how much the components differ; None if the values are unknown."""
    lenses = [variable.lens for variable in group if isinstance(variable.lens, Lens)]
    distances = [lens.apart for lens in lenses if lens.apart is not None]
    if len(lenses) < len(group) or len(distances) < len(group):
        return None
    if any(isinstance(distance, str) for distance in distances):
        return "differ infinitely: some components hold NaN or infinity"
    return _SAME if not any(distances) else f"differ by up to {number(max(distances))}"


def _moved(group: _Group) -> str:
    return alone(sum(v.messages for v in group), sum(v.size_bytes for v in group))


def _on_write(group: _Group) -> str:
    merges = sum(variable.merges for variable in group)
    became = (
        "AUTO became ON_WRITE: " if any(v.requested != v.synchronization for v in group) else ""
    )
    said = f"{became}{_names(group)} {_were(group)} synchronised at every write: "
    said += (
        f"{times(merges, 'merge')}, {_moved(group)}"
        if merges
        else f"{_moved(group)}. All writes were in cross-replica context, which needs no merge"
    )
    return f"{said}.{_mirrored(group)}"


def _adaptive(group: _Group) -> str:
    said = f"AUTO was adaptive: {_names(group)} {_were(group)} exchanged only before a read: "
    return f"{said}{saving(group)}.{_mirrored(group)}"


def _mirrored(group: _Group) -> str:
    """Return the sentence on components that every write should have kept equal."""
    differ = _differ(group)
    if differ is None:
        return ""
    if differ == _SAME:
        return f" All replicas hold the same values of {_names(group)}, bit for bit."
    return (
        f" But the replicas' components of {_names(group)} {differ}: a write bypassed the "
        "aggregation."
    )


def _diverged(group: _Group) -> str:
    said = (
        f"{_names(group)} {_were(group)} {_mode(group)} without an aggregation: a write in a "
        "replica changes only that replica's component and is not synchronised."
    )
    differ = _differ(group)
    if differ is None:
        return said
    if differ == _SAME:
        return f"{said} At the end the components are nevertheless the same."
    return (
        f"{said} The replicas' components {differ}, and a cross-replica read returns that of "
        "replica 0."
    )


def _on_read(group: _Group) -> str:
    said = (
        f"{_names(group)} {_were(group)} written by each replica to its own component; only "
        f"cross-replica reads and assigns combined the components: {_moved(group)}."
    )
    return said + _copies(group)


def _custom(group: _Group) -> str:
    """Return the sentence on variables of a policy that TensorFlow does not have."""
    merges = sum(variable.merges for variable in group)
    merged = f"{times(merges, 'merge')}, " if merges else ""
    said = (
        f"{_names(group)} {_were(group)} synchronised by {_mode(group)}: {merged}{_moved(group)}."
    )
    return said + _copies(group)


def _copies(group: _Group) -> str:
    """Return the sentence on the components at the end; "" if their values are not known."""
    differ = _differ(group)
    if differ is None:
        return ""
    return (
        f" At the end the components of {_names(group)} are the same."
        if differ == _SAME
        else f" The replicas' components of {_names(group)} {differ}."
    )


def _never(group: _Group) -> str:
    said = f"{_names(group)} {_were(group)} never synchronised"
    differ = _differ(group)
    if differ is None:
        return f"{said}: each replica keeps its own value."
    if differ == _SAME:
        return f"{said}, but the replicas' components are the same."
    return f"{said}: the replicas' components {differ}."


_SENTENCES: Final[dict[str, Callable[[_Group], str]]] = {
    "ON_WRITE": _on_write,
    "ON_WRITE + NONE": _diverged,
    "AUTO": _adaptive,
    "AUTO + NONE": _diverged,
    "ON_READ": _on_read,
    "NONE": _never,
}

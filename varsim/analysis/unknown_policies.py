"""Variables whose promise no installed package has: which ones, and what to install."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from varsim.analysis.checker import Checker, Conclusion
from varsim.analysis.findings.compared import Uncompared
from varsim.analysis.outcome import Note, Outcome
from varsim.analysis.promises import problem_with_promise, promise_of
from varsim.analysis.replay import Replay
from varsim.registry import Registry
from varsim.tracing.history import History, VariableRow

_GROUPS: Final = (
    "the group varsim.policies, which `varsim whatif` and `varsim advise` need, and in the group "
    "varsim.promises, which `varsim check` and `varsim lens` need"
)
_INSTALLED: Final[Registry[Any]] = Registry("synchronization", {}, group="varsim.policies")
"""The policies of installed packages; only their names are used."""

_MOST_NAMES: Final = 3


def unknown_policies(history: History) -> dict[str, list[VariableRow]]:
    """Return why promises are not known, each with its variables.

    Raises:
        ConfigError: The row of a variable is invalid.
    """
    found: dict[str, list[VariableRow]] = {}
    for row in history.variables.values():
        if not promise_of(row).is_known:
            found.setdefault(why_unknown(row, history.run), []).append(row)
    return found


def why_unknown(row: VariableRow, run: Mapping[str, Any]) -> str:
    """Return why the promise of a variable is not known here, and what to install, as a clause.

    Args:
        run: The entries of the table `run`, which name the package or the file of the policy.
    """
    keyword = _keyword(row)
    entry = f"a package with the entry point {keyword} in the group varsim.promises"
    if problem := problem_with_promise(row):
        return f"the promise of the policy {keyword} cannot be used ({problem}); install {entry}"
    if keyword in _INSTALLED.names():
        return f"the policy {keyword} is installed here, but not its promise; install {entry}"
    return why_not_installed(row, run, "varsim.promises")


def why_not_installed(row: VariableRow, run: Mapping[str, Any], group: str) -> str:
    """Return what to install for the policy of a variable that is not installed, as a clause.

    Args:
        run: The entries of the table `run`, which name the package or the file of the policy.
        group: The group of the entry point that is needed.
    """
    keyword = _keyword(row)
    package = (run.get("policies") or {}).get(keyword)
    file = (run.get("policy_files") or {}).get(keyword)
    entry = f"a package with the entry point {keyword} in the group {group}"
    if package:
        return f"the policy {keyword} is not installed here; install {package} (or {entry})"
    entry = f"a package with the entry point {keyword} in {_GROUPS}"
    if file:
        return (
            f"the policy {keyword} is defined in {file} of the program, and not installed here; "
            f"install {entry}"
        )
    return f"the policy {keyword} is not installed here; install {entry}"


def _keyword(row: VariableRow) -> str:
    return str(row.synchronization).partition(":")[0]


def named(rows: Iterable[VariableRow]) -> str:
    """Return the names of some variables, the first ones if there are many."""
    names = list(dict.fromkeys(str(row.name) for row in rows))
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def not_compared(unknown: Mapping[str, list[VariableRow]]) -> tuple[Uncompared, ...]:
    """Return the variables whose values cannot be compared with a single device."""
    return tuple(
        Uncompared(variable=row.name, location="", why=why)
        for why, rows in unknown.items()
        for row in rows
    )


def notes_on(unknown: Mapping[str, list[VariableRow]]) -> list[Note]:
    """Return notes that say which variables were not judged, and why."""
    return [
        Note(text=f"the writes and reads of {named(rows)}, and findings about them: {why}")
        for why, rows in unknown.items()
    ]


class KnownPolicies(Checker):
    """Is UNKNOWN, because no checker judges variables whose promise is not known."""

    name = "policies"
    promise = "the promises of all policies are known"

    def __init__(self, replay: Replay, unknown: Mapping[str, list[VariableRow]]) -> None:
        super().__init__(replay)
        self._unknown_policies = unknown

    def conclude(self, missing: str) -> Conclusion:  # noqa: ARG002  # this is so in any record
        """Return UNKNOWN, with the variables and the reasons."""
        said = [
            f"{named(rows)}: not checked, because {why}"
            for why, rows in self._unknown_policies.items()
        ]
        return Conclusion(Outcome.UNKNOWN, "; ".join(said))

"""The first differences of variables from a single device, and from which of them others follow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from varsim.analysis.findings.compared import Site, ValueDifference


@dataclass(frozen=True, slots=True)
class Parting:
    """A first difference, and the variables from whose differences it can follow."""

    site: Site
    found: ValueDifference  # without its origin
    sources: tuple[int, ...]  # variables that had differed before, in the order of their partings


class Partings:
    """Keeps the first difference of each variable, also of components that the program never reads.

    If only the first values at a site are compared, it is known only at the end whether they
    correspond. So the first difference at all other sites is kept, too.
    """

    def __init__(self) -> None:
        self._any: dict[int, Parting] = {}
        self._sure: dict[int, Parting] = {}

    def has(self, variable: int, *, is_prefix: bool) -> bool:
        """Return whether a difference is known, at such a site, that is earlier than a new one."""
        return variable in (self._any if is_prefix else self._sure)

    def add(self, parting: Parting, *, is_prefix: bool) -> None:
        """Keep a difference, if it is the first one.

        Args:
            is_prefix: Whether only the first values at its site are compared.
        """
        variable = parting.site.variable_id
        self._any.setdefault(variable, parting)
        if not is_prefix:
            self._sure.setdefault(variable, parting)

    def first(self, variable: int, *, proved: bool) -> Parting | None:
        """Return the first difference of a variable whose values are known to correspond.

        Args:
            proved: Whether the first values correspond where no others are compared.
        """
        return (self._any if proved else self._sure).get(variable)

    def with_origin(self, parting: Parting, *, proved: bool) -> ValueDifference:
        """Return a difference with the earlier one from which it follows, if one is known."""
        began = self.first(parting.site.variable_id, proved=proved)
        if began is None or began is parting:
            sources = (self.first(one, proved=proved) for one in parting.sources)
            began = next((one for one in sources if one and _is_earlier(one, parting)), None)
        if began is None or not _is_earlier(began, parting):
            return parting.found
        return replace(parting.found, origin=self.with_origin(began, proved=proved))


def _is_earlier(one: Parting, other: Parting) -> bool:
    return one.found.event < other.found.event

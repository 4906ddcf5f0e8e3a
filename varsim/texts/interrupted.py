"""Facts about a call that Ctrl-C has ended: what each replica did at that moment."""

from __future__ import annotations

from varsim.texts.facts import Fact, name_replicas
from varsim.texts.replicas import Group, group_lines
from varsim.value_class import value_class


@value_class
class InterruptedCall(Fact):
    """What the replicas of a call did when Ctrl-C ended it."""

    call: str  # the number and the function of the call
    groups: tuple[Group, ...]  # of all replicas that took part
    running: tuple[int, ...]  # the replicas that ran their function, and still run it

    @property
    def remedy(self) -> str:
        """Return how the strategy can be used again; "" if it can be used at once."""
        if not self.running:
            return ""
        have = "has" if len(self.running) == 1 else "have"
        return (
            f"  The strategy can be used again when {name_replicas(self.running)} {have} left the "
            "function. strategy.restart() starts new workers at once."
        )

    def __str__(self) -> str:
        lines = group_lines(self.groups, all_told=True)
        return "\n".join([f"{self.call}, was interrupted:", *lines])

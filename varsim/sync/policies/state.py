"""The rules for what a policy keeps on each replica beside a component, such as a count of writes.

The cells of a policy read and change these arrays in `policy_state` of a `LocalComponent`. Exact
checkpoints contain them, and a strategy that starts new workers gives them to these workers.
"""

from __future__ import annotations

from collections.abc import Sequence

from varsim.spec import NamedArrays, VariableSpec


class StateRule:
    """What happens to the policy state of one variable; a policy can override each rule."""

    def check(self, spec: VariableSpec, state: NamedArrays) -> None:
        """Check a state that was saved, before a replica gets it.

        Raises:
            ValueError: The policy cannot have such a state.
        """

    def carried(self, state: NamedArrays) -> NamedArrays:
        """Return what of a replica's state is saved, or given to a new worker; by default all."""
        return state

    def after_failure(self, state: NamedArrays, version: int) -> NamedArrays:
        """Return a replica's state after the end of a failed call; by default the same state.

        Args:
            version: The version of the replica's component. If it is the version at which the
                replica made its last contribution, the contribution has no effect.
        """
        return state

    def after_overwrite(self, state: NamedArrays, version: int) -> NamedArrays:
        """Return a replica's state after the program has written its component.

        By default, the state does not change.

        Args:
            version: The version that this write made. A second delivery has the same version.
        """
        return state

    def after_loss(self, states: Sequence[NamedArrays | None]) -> Sequence[NamedArrays]:
        """Return the states of all replicas, some of which are lost.

        By default, the state of a lost replica is empty, as that of a new variable.

        Args:
            states: The state of each replica; None if it is lost.
        """
        return [() if state is None else state for state in states]

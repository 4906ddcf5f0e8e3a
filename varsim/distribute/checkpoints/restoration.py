"""Give the values of a checkpoint to the objects of a program, including objects created later."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from varsim.distribute.checkpoints import contents as files
from varsim.distribute.checkpoints.contents import Contents, SavedVariable
from varsim.distribute.checkpoints.object_graph import children_of, graph_of
from varsim.distribute.checkpoints.placement import Placement, placement
from varsim.distribute.checkpoints.saving import name_of
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.variable import Variable
from varsim.location import user_location, warn
from varsim.texts import checkpoints as texts

SAVE_COUNTER: Final = "save_counter"
"""The name of a checkpoint's own counter: programs need not restore it."""


@dataclass
class _Progress:
    """The values that no object has taken yet."""

    path: str
    location: str
    left: dict[int, str]  # the number of a node → its path
    restored: bool = False  # whether some variables were restored, without an error
    silent: bool = False  # whether the program has called `expect_partial`

    def report(self) -> None:
        """Warn about values that no object has taken."""
        if self.left and self.restored and not self.silent:
            names = texts.names_of(list(self.left.values()))
            warn(texts.LEFT_OVER.format(path=self.path, names=names), self.location)


@dataclass
class _Notes:
    """Texts about changed values: the number of replicas or the settings have changed."""

    replicas: set[tuple[int, int]] = field(default_factory=set)
    moved: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    mirrored: int = 0


class Restoration:
    """A checkpoint that was read, and the objects that have taken its values so far.

    If the program drops the restoration while values are left, a warning names these values.
    """

    def __init__(self, path: str) -> None:
        """Read a checkpoint.

        Raises:
            CheckpointError: The checkpoint cannot be read.
        """
        self.path = path
        self.contents: Contents = files.read(path)
        left = {
            number: shown for number, shown in self.contents.paths.items() if shown != SAVE_COUNTER
        }
        self._progress = _Progress(path, user_location(), left)
        self._taken: set[tuple[int, int]] = set()  # pairs: number of a node, id of a variable
        self._variables: dict[int, Variable] = {}  # id → variable, kept so that no id is reused
        weakref.finalize(self, self._progress.report)

    @property
    def left(self) -> list[str]:
        """Return the paths of the values that no object has taken."""
        return list(self._progress.left.values())

    @property
    def matched(self) -> int:
        """Return the number of variables that have received a value."""
        return len(self._variables)

    def warn_of_missing(self, root: Mapping[str, object]) -> None:
        """Warn about variables below a root for which the checkpoint has no value."""
        missing = self.missing(root) if self._variables else []
        if missing:
            names = texts.names_of(missing)
            warn(texts.NOT_IN_FILE.format(path=self.path, names=names), user_location())

    def expect_partial(self) -> None:
        """Do not warn about values that no object has taken."""
        self._progress.silent = True

    def forget_variables(self) -> None:
        """Let the program free the variables; the values can then be restored once more."""
        self._taken.clear()
        self._variables.clear()

    def missing(self, root: Mapping[str, object]) -> list[str]:
        """Return the paths of the variables below a root that have not received a value."""
        return [
            node.shown
            for node in graph_of(root)
            if isinstance(node.held, Variable)
            and id(node.held) not in self._variables
            and node.path != (SAVE_COUNTER,)
        ]

    def match(self, root: Mapping[str, object]) -> int:
        """Restore the variables below a root that have not received their values yet.

        Returns:
            The number of variables that were restored.
        Raises:
            CheckpointError: A variable cannot hold its value; no variable has changed.
        """
        found = self._pairs(root)
        notes = _Notes()
        placements = [self._placed(number, variable, notes) for number, variable in found]
        for (number, variable), one in zip(found, placements, strict=True):
            one.write()
            self._taken.add((number, id(variable)))
            self._variables[id(variable)] = variable
            self._progress.left.pop(number, None)
        self._progress.restored = True
        self._say(notes)
        return len(found)

    def _pairs(self, root: Mapping[str, object]) -> list[tuple[int, Variable]]:
        """Return the variables that get a value now, each with the number of its node."""
        pairs: list[tuple[int, Variable]] = []
        nodes = self.contents.nodes
        waiting: deque[tuple[int, Mapping[Any, object]]] = deque([(0, root)])
        seen: set[tuple[int, int]] = set()
        while waiting:
            number, children = waiting.popleft()
            for name, child in nodes[number].children.items():
                held = children.get(name)
                if held is None or (child, id(held)) in seen:
                    continue
                seen.add((child, id(held)))
                if isinstance(held, Variable):
                    is_new = (child, id(held)) not in self._taken
                    if nodes[child].variable is not None and is_new:
                        pairs.append((child, held))
                else:
                    inner = children_of(held)
                    if inner is not None:
                        waiting.append((child, inner))
        return pairs

    def _placed(self, number: int, variable: Variable, notes: _Notes) -> Placement:
        at = self.contents.nodes[number].variable
        assert at is not None
        saved, values = self.contents.variables[at], self.contents.values_of(at)
        path = self.contents.paths[number]
        one = placement(path, saved, values, self.contents.states_of(at), variable)
        count = _replicas_of(variable)
        if saved.replicas and count and saved.replicas != count:
            notes.replicas.add((saved.replicas, count))
            notes.mirrored += one.is_mirrored
            notes.moved += [one.note] if one.note else []
        elif one.note:
            notes.changed.append(f"{one.note} ({_settings(saved, variable)})")
        return one

    def _say(self, notes: _Notes) -> None:
        """Warn about values that were changed because replicas or settings differ."""
        location = user_location()
        for saved, restored in sorted(notes.replicas):
            lines = [*notes.moved]
            if notes.mirrored:
                many = "1 variable" if notes.mirrored == 1 else f"{notes.mirrored} variables"
                lines.append(f"{many}: every replica gets the saved value")
            text = texts.OTHER_REPLICAS.format(
                path=self.path,
                saved=texts.replicas(saved),
                restored=texts.replicas(restored),
                lines=texts.lines_of(lines),
            )
            warn(text, location)
        if notes.changed:
            changed = texts.lines_of(notes.changed)
            warn(texts.SETTINGS_CHANGED.format(path=self.path, lines=changed), location)


def _replicas_of(variable: Variable) -> int:
    if isinstance(variable, DistributedVariable):
        return variable.strategy.num_replicas_in_sync
    return 0


def _settings(saved: SavedVariable, variable: Variable) -> str:
    before = "/".join(saved.settings)
    now = f"{name_of(variable.synchronization)}/{variable.aggregation.name}"
    return f"{before} → {now}" if before != now else f"{before}, {texts.replicas(saved.replicas)}"

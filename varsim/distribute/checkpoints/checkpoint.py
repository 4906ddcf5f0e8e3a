"""Provide `tf.train.Checkpoint`: save and restore the variables of a program's objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from varsim.distribute.checkpoints import archive, folder
from varsim.distribute.checkpoints.object_graph import can_hold_variables, children_of
from varsim.distribute.checkpoints.restoration import SAVE_COUNTER, Restoration
from varsim.distribute.checkpoints.saving import as_program, write
from varsim.distribute.context import default_strategy
from varsim.distribute.variable import Variable
from varsim.errors import CheckpointError, UnmatchedCheckpoint
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.texts import checkpoints as texts

PathLike = str | os.PathLike[str]


class CheckpointStatus:
    """The result of `restore` and `read`: checks which values of a checkpoint were restored.

    The methods return the status itself. Each method first restores the variables that the program
    has created since `restore` or the last method.
    """

    def __init__(self, checkpoint: Checkpoint, restoration: Restoration | None) -> None:
        self._checkpoint = checkpoint
        self._restoration = restoration

    def assert_consumed(self) -> CheckpointStatus:
        """Check that every value has an object, and every variable of the objects has a value.

        Raises:
            UnmatchedCheckpoint: An AssertionError; it names the values and variables.
        """
        restoration = self._matched()
        if restoration.left:
            names = texts.names_of(restoration.left)
            raise UnmatchedCheckpoint(texts.NOT_CONSUMED.format(path=restoration.path, names=names))
        return self.assert_existing_objects_matched()

    def assert_existing_objects_matched(self) -> CheckpointStatus:
        """Check that every variable of the objects has received a value.

        Raises:
            UnmatchedCheckpoint: An AssertionError; it names the variables.
        """
        restoration = self._matched()
        missing = restoration.missing(self._checkpoint._checkpoint_children())  # noqa: SLF001
        if missing:
            names = texts.names_of(missing)
            raise UnmatchedCheckpoint(texts.NOT_MATCHED.format(path=restoration.path, names=names))
        return self.expect_partial()

    def assert_nontrivial_match(self) -> CheckpointStatus:
        """Check that at least one variable has received a value.

        Raises:
            UnmatchedCheckpoint: An AssertionError; it names the values and variables.
        """
        restoration = self._matched()
        if not restoration.matched:
            present = restoration.missing(self._checkpoint._checkpoint_children())  # noqa: SLF001
            raise UnmatchedCheckpoint(
                texts.NOTHING_MATCHED.format(
                    path=restoration.path,
                    saved=texts.names_of(restoration.left) or "no values",
                    present=texts.names_of(present) or "no variables",
                )
            )
        return self

    def expect_partial(self) -> CheckpointStatus:
        """Do not warn about values that no object has taken."""
        if self._restoration is not None:
            self._restoration.expect_partial()
        return self

    def initialize_or_restore(self, session: Any = None) -> None:
        """Do nothing: variables have their values already."""

    def run_restore_ops(self, session: Any = None) -> None:
        """Do nothing: variables have their values already."""

    def _matched(self) -> Restoration:
        if self._restoration is None:
            raise UnmatchedCheckpoint(texts.NO_VALUES)
        self._checkpoint._match_pending()  # noqa: SLF001
        return self._restoration


class Checkpoint:
    """`tf.train.Checkpoint`: saves variables to a file, and restores them.

    Args:
        root: An object whose attributes are saved like the attributes of the checkpoint itself.
        kwargs: Variables, and lists, dicts and objects of the program's classes that hold
            variables. Each becomes an attribute of the checkpoint.
    Raises:
        ValueError: An argument cannot hold variables.
    Source: `tf.train.Checkpoint` of TensorFlow 2.21. `exact` is an addition of varsim.
    """

    _root: object
    _held: dict[str, object]
    _pending: list[Restoration]  # restorations that have values left, the latest last
    _save_counter: Variable | None

    def __init__(self, root: object = None, **kwargs: Any) -> None:
        own = {"_root": root, "_held": {}, "_pending": [], "_save_counter": None}
        self.__dict__.update(own)
        if root is not None:
            _check("root", root)
        for name, value in kwargs.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__:
            _check(name, value)
            self._held[name] = value
            self._match_pending()
        else:
            self.__dict__[name] = value

    def __getattr__(self, name: str) -> Any:
        held = self.__dict__.get("_held", {})
        if name in held:
            return held[name]
        raise AttributeError(f"the checkpoint has no attribute {name!r}; it has {sorted(held)}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pending": []}  # a replica cannot restore

    def __delattr__(self, name: str) -> None:
        del self._held[name]

    def _checkpoint_children(self) -> Mapping[Any, object]:
        children: dict[Any, object] = {}
        if self._root is not None:
            children.update(children_of(self._root) or {})
        children.update(self._held)
        if self._save_counter is not None:
            children[SAVE_COUNTER] = self._save_counter
        return children

    @property
    def save_counter(self) -> Variable:
        """Return a variable that counts the calls of `save`.

        The checkpoint saves and restores it, too.
        """
        if self._save_counter is None:
            self._save_counter = default_strategy().create_variable(
                initial_value=np.int64(0),
                trainable=False,
                name=SAVE_COUNTER,
                dtype=np.dtype("int64"),
                shape=None,
                constraint=None,
                synchronization=VariableSynchronization.AUTO,
                aggregation=VariableAggregation.NONE,
            )
            self._match_pending()
        counter = self._save_counter
        assert counter is not None
        return counter

    # ------------------------------------------------------------ saving

    def write(self, file_prefix: PathLike, options: Any = None, *, exact: bool = False) -> str:
        """Save the variables to a file, and return its path without the suffix.

        Args:
            exact: Whether to keep the component of every replica, so that restoring gives the same
                components, bit for bit. By default each variable has one value, as in TensorFlow.
        Raises:
            CheckpointError: A variable has no value of this form, or the file cannot be written.
            ContextError: The program is on a replica.
        """
        with as_program("Checkpoint.write", self._checkpoint_children()):
            return self._write(os.fspath(file_prefix), exact=exact)

    def _write(self, path: str, *, exact: bool) -> str:
        return write(path, self._checkpoint_children(), exact=exact)

    def save(self, file_prefix: PathLike, options: Any = None, *, exact: bool = False) -> str:
        """Save the variables to `<file_prefix>-<number>`, and return this path.

        The number counts the calls. The folder's list of checkpoints, for `latest_checkpoint`, is
        updated.

        Args:
            exact: See `write`.
        Raises:
            CheckpointError: See `write`.
            ContextError: The program is on a replica.
        """
        with as_program("Checkpoint.save", self._checkpoint_children()):
            path = self.save_numbered(file_prefix, None, exact=exact)
        where = Path(path).parent
        earlier = [one for one in folder.listed(where) if archive.file_of(one).exists()]
        folder.write_list(where, [*(one for one in earlier if Path(one) != Path(path)), path])
        return path

    def save_numbered(self, file_prefix: PathLike, number: int | None, *, exact: bool) -> str:
        """Save the variables to `<file_prefix>-<number>`. By default `save_counter` is the number.

        Raises:
            CheckpointError: See `write`; the counter has not changed.
        """
        counter = self.save_counter
        before = int(counter.numpy())
        counter.assign(before + 1, read_value=False)
        try:
            at = before + 1 if number is None else number
            return self._write(f"{os.fspath(file_prefix)}-{at}", exact=exact)
        except BaseException:
            counter.assign(before, read_value=False)
            raise

    def sync(self) -> None:
        """Do nothing: a file is complete when `write` or `save` returns."""

    # ------------------------------------------------------------ restoring

    def read(self, save_path: PathLike, options: Any = None) -> CheckpointStatus:
        """Restore the variables from a file that `write` has made.

        Variables that do not exist yet are restored when they become attributes of the checkpoint,
        or at the next method of the returned status.

        Raises:
            CheckpointError: The file cannot be read, or a variable cannot hold its value; no
                variable has changed.
            ContextError: The program is on a replica.
        """
        children = self._checkpoint_children()
        with as_program("Checkpoint.read", children):
            restoration = Restoration(os.fspath(save_path))
            restoration.match(children)
            self._pending.append(restoration)
            restoration.warn_of_missing(children)
            self._drop_completed()
        return CheckpointStatus(self, restoration)

    def restore(self, save_path: PathLike | None, options: Any = None) -> CheckpointStatus:
        """Restore the variables and `save_counter` from a file that `save` has made.

        Args:
            save_path: The path that `save` has returned. With None, the method does nothing,
                because `latest_checkpoint` can return None.
        Raises:
            CheckpointError: See `read`.
            ContextError: The program is on a replica.
        """
        with as_program("Checkpoint.restore", self._checkpoint_children()):
            if save_path is None:
                return CheckpointStatus(self, None)
            assert self.save_counter is not None  # creates the counter, so that it is restored
            return self.read(save_path)

    def _match_pending(self) -> None:
        """Restore variables that were created since the last restore."""
        if self._pending:
            children = self._checkpoint_children()
            for restoration in self._pending:
                restoration.match(children)
            self._drop_completed()

    def _drop_completed(self) -> None:
        self._pending[:] = [one for one in self._pending if one.left]


def _check(name: str, value: object) -> None:
    if not can_hold_variables(value):
        shown = repr(value) if len(repr(value)) < _SHOWN else "…"
        kind = type(value).__name__
        raise CheckpointError(texts.NOT_TRACKED.format(name=name, value=shown, kind=kind))


_SHOWN = 40  # largest number of characters of a value in an error

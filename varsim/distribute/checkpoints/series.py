"""Provide `tf.train.CheckpointManager`: keep the latest checkpoints of a series."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim.distribute.checkpoints import archive, folder
from varsim.distribute.checkpoints.checkpoint import Checkpoint
from varsim.distribute.checkpoints.saving import as_program
from varsim.distribute.variable import Variable
from varsim.errors import CheckpointError

_HOUR_S: Final = 3600.0


class CheckpointManager:
    """`tf.train.CheckpointManager`: keeps the latest checkpoints, and deletes older ones.

    Args:
        checkpoint: The checkpoint to save and restore.
        directory: The folder of the files. If it has a list of checkpoints, the series continues.
        max_to_keep: The number of checkpoints to keep; None keeps all.
        keep_checkpoint_every_n_hours: The smallest number of hours between two checkpoints that are
            never deleted. A checkpoint that is written this long after the last such checkpoint is
            also never deleted.
        checkpoint_name: The first part of the files' names.
        step_counter: A variable that counts steps, for `checkpoint_interval`.
        checkpoint_interval: The number of steps between two saves. A `save` after fewer steps does
            nothing.
        init_fn: Called by `restore_or_initialize` if there is no checkpoint.
    Raises:
        ValueError: `max_to_keep` is not positive, or `checkpoint_interval` has no `step_counter`.
    Source: `tf.train.CheckpointManager` of TensorFlow 2.21. `exact` is an addition of varsim.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        directory: str | os.PathLike[str],
        max_to_keep: int | None,
        keep_checkpoint_every_n_hours: float | None = None,
        checkpoint_name: str = "ckpt",
        step_counter: Variable | None = None,
        checkpoint_interval: int | None = None,
        init_fn: Callable[[], Any] | None = None,
    ) -> None:
        if max_to_keep is not None and max_to_keep <= 0:
            raise CheckpointError(
                f"max_to_keep={max_to_keep}: give a positive number, or None to keep all"
            )
        if checkpoint_interval is not None and step_counter is None:
            raise CheckpointError(
                "checkpoint_interval needs step_counter, a variable that counts steps"
            )
        self._checkpoint = checkpoint
        self._folder = Path(directory)
        self._max_to_keep = max_to_keep
        self._keep_every_s = _HOUR_S * (keep_checkpoint_every_n_hours or 0.0)
        self._name = checkpoint_name
        self._step_counter = step_counter
        self._interval = checkpoint_interval
        self._init_fn = init_fn
        self._saved_at: int | None = None  # the step of the last save
        self._kept_for_ever_s: float | None = None  # time of the last such checkpoint
        self._paths = [
            path for path in folder.listed(self._folder) if archive.file_of(path).exists()
        ]

    @property
    def directory(self) -> str:
        """Return the folder of the files."""
        return str(self._folder)

    @property
    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint that is saved and restored."""
        return self._checkpoint

    @property
    def checkpoint_interval(self) -> int | None:
        """Return the number of steps between two saves."""
        return self._interval

    @property
    def checkpoints(self) -> list[str]:
        """Return the paths of the checkpoints that exist, the oldest first."""
        return list(self._paths)

    @property
    def latest_checkpoint(self) -> str | None:
        """Return the newest complete checkpoint.

        A warning names newer checkpoints that are damaged.
        """
        return folder.newest_whole(reversed(self._paths))

    def save(
        self,
        checkpoint_number: Any = None,
        check_interval: bool = True,
        options: Any = None,
        *,
        exact: bool = False,
    ) -> str | None:
        """Save a checkpoint, and delete the checkpoints that are not kept any more.

        Args:
            checkpoint_number: The number in the file's name. By default it is the value of
                `save_counter`.
            check_interval: Whether `checkpoint_interval` applies.
            exact: See `Checkpoint.write`.
        Returns:
            The path; None if `checkpoint_interval` steps have not passed since the last save.
        Raises:
            CheckpointError: See `Checkpoint.write`; no checkpoint was deleted.
            ContextError: The program is on a replica.
        """
        children = self._checkpoint._checkpoint_children()  # noqa: SLF001
        with as_program("CheckpointManager.save", children):
            return self._save(checkpoint_number, check_interval=check_interval, exact=exact)

    def _save(self, checkpoint_number: Any, *, check_interval: bool, exact: bool) -> str | None:
        step = None if self._step_counter is None else int(self._step_counter.numpy())
        if check_interval and self._interval is not None and self._saved_at is not None:
            assert step is not None
            if step - self._saved_at < self._interval:
                return None
        number = None if checkpoint_number is None else int(np.asarray(checkpoint_number))
        prefix = self._folder / self._name
        path = self._checkpoint.save_numbered(prefix, number, exact=exact)
        self._saved_at = step
        self._paths = [*(one for one in self._paths if one != path), path]
        extra = self._without_kept_for_ever()
        folder.write_list(self._folder, self._paths)
        for old in extra:
            with suppress(OSError):
                archive.file_of(old).unlink()
        return path

    def _without_kept_for_ever(self) -> list[str]:
        """Shorten the list to `max_to_keep`, and return the paths that can be deleted."""
        if self._max_to_keep is None:
            return []
        extra = self._paths[: -self._max_to_keep]
        self._paths = self._paths[-self._max_to_keep :]
        return [path for path in extra if not self._is_kept_for_ever(path)]

    def _is_kept_for_ever(self, path: str) -> bool:
        if not self._keep_every_s:
            return False
        try:
            written_s = archive.file_of(path).stat().st_mtime
        except OSError:
            return False
        before_s = self._kept_for_ever_s
        if before_s is not None and written_s - before_s < self._keep_every_s:
            return False
        self._kept_for_ever_s = written_s
        return True

    def restore_or_initialize(self) -> str | None:
        """Restore the newest complete checkpoint and return its path; or call `init_fn`."""
        path = self.latest_checkpoint
        if path is not None:
            self._checkpoint.restore(path)
            if self._step_counter is not None:
                self._saved_at = int(self._step_counter.numpy())
        elif self._init_fn is not None:
            self._init_fn()
        return path

    def sync(self) -> None:
        """Do nothing: a checkpoint is complete when `save` returns."""

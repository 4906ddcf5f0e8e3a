"""Keep the list of a folder's checkpoints, in the file that TensorFlow calls `checkpoint`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from varsim.distribute.checkpoints import archive
from varsim.errors import CheckpointError
from varsim.location import user_location, warn
from varsim.texts import checkpoints as texts

STATE: Final = "checkpoint"

_MAX_STATE_BYTES: Final = 2**22  # more than 40,000 names
_LINE: Final = re.compile(r'^(all_)?model_checkpoint_paths?: "([^"\\]*)"$', re.MULTILINE)
_NUMBERED: Final = re.compile(r"-(\d{1,18})$")


def latest_checkpoint(
    checkpoint_dir: str | os.PathLike[str], latest_filename: str | None = None
) -> str | None:
    """Return the path of the newest complete checkpoint of a folder, or None.

    Damaged checkpoints are skipped; a warning names them and the checkpoint that is used instead.

    Args:
        checkpoint_dir: The folder.
        latest_filename: The name of the folder's list, by default `checkpoint`.
    Source: `tf.train.latest_checkpoint` of TensorFlow 2.21, which does not look into the files.
    """
    folder = Path(checkpoint_dir)
    return newest_whole(reversed(listed(folder, latest_filename or STATE)))


def newest_whole(paths: Iterable[str], tell: Callable[[str], None] | None = None) -> str | None:
    """Return the first complete checkpoint, and warn about damaged checkpoints.

    Args:
        paths: Checkpoints, the newest first.
        tell: Receives the warnings; None to show them at the program's line.
    """
    damaged: list[str] = []
    found = None
    for path in paths:
        problem = archive.problem_of(path)
        if not problem:
            found = path
            break
        damaged.append(problem)
    for problem in damaged:
        if found is None:
            text = texts.NONE_IS_WHOLE.format(damaged=problem)
        else:
            text = texts.USES_EARLIER.format(damaged=problem, earlier=found)
        if tell is None:
            warn(text, user_location())
        else:
            tell(text)
    return found


def listed(folder: Path, state: str = STATE) -> list[str]:
    """Return the paths of the checkpoints in a folder's list, the oldest first.

    If the list cannot be read, return the folder's checkpoints in the order of their numbers.
    """
    try:
        if not (folder / state).is_file():
            return []
        names = _names((folder / state).read_bytes()[: _MAX_STATE_BYTES + 1])
    except (OSError, ValueError):
        names = None
    if names is None:
        names = _in_order(folder)
    return [str(folder / name) for name in names]


def _names(contents: bytes) -> list[str] | None:
    """Return the names in a list, the latest last; None if the list is damaged."""
    if len(contents) > _MAX_STATE_BYTES:
        return None
    latest: list[str] = []
    names: list[str] = []
    for is_of_all, name in _LINE.findall(contents.decode()):
        (names if is_of_all else latest).append(name)
    if len(latest) != 1 or any(Path(name).name != name for name in [*latest, *names]):
        return None  # a path that leaves the folder was not written by varsim
    return [*(name for name in names if name != latest[0]), latest[0]]


def _in_order(folder: Path) -> list[str]:
    found = []
    for file in folder.glob(f"*{archive.SUFFIX}"):
        name = file.name.removesuffix(archive.SUFFIX)
        number = _NUMBERED.search(name)
        if number is not None and not name.startswith("."):
            found.append((int(number[1]), name))
    return [name for _, name in sorted(found)]


def write_list(folder: Path, paths: Sequence[str], state: str = STATE) -> None:
    """Write the list of a folder's checkpoints, the oldest first.

    Raises:
        CheckpointError: The list cannot be written, or a name has a quotation mark.
    """
    names = [Path(path).name for path in paths]
    wrong = next((name for name in names if re.search(r'["\\\n]', name)), None)
    if wrong is not None:
        raise CheckpointError(f"a checkpoint cannot have the name {wrong!r}")
    lines = [f'model_checkpoint_path: "{names[-1]}"'] if names else []
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
    archive.write_bytes(folder / state, ("\n".join(lines) + "\n").encode())

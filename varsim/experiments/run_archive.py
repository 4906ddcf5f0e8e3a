"""Unpack an archive of `varsim export` into the folder of runs."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from varsim.errors import ConfigError
from varsim.experiments.store import EXPERIMENT
from varsim.private import make_private_folder, private_opener

FORMATS: Final = (".tar.gz", ".tgz", ".zip")
"""The endings of the names of archives."""

_ZIP: Final = FORMATS[2]
_MAX_FILES: Final = 100_000
_MAX_BYTES: Final = 2**35  # a damaged archive must not fill the disk
_CHUNK: Final = 2**20


def is_archive(path: Path) -> bool:
    """Return whether a path is a file with the name of an archive."""
    return path.name.endswith(FORMATS) and path.is_file()


def unpacked(file: Path, out: Path) -> Path:
    """Unpack the run in an archive into `out`, and return the run's directory.

    Only files are unpacked, no links, and none outside of the run's directory. After a failure, no
    file is left.

    Raises:
        ConfigError: The file is not an archive of one run, or the directory exists.
    """
    partial = out / f".{file.name}"
    try:
        name = _unpack(file, partial)
        run = out / name
        if run.exists():
            raise ConfigError(
                f"{file} has the run {name}, and {run} exists: `varsim run {run}` runs it, and "
                f"`varsim runs {run} --remove` removes it"
            )
        (partial / name).rename(run)
    except (
        OSError,
        EOFError,
        RuntimeError,  # an encrypted zip
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        raise ConfigError(f"{file} cannot be unpacked into {out}: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return run


def _unpack(file: Path, folder: Path) -> str:
    """Unpack all files into a new folder, and return the name of the run's directory in it."""
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    names: set[str] = set()
    left = _MAX_BYTES
    for number, (path, stream) in enumerate(_files_in(file)):
        names.add(path.parts[0])
        if number >= _MAX_FILES or len(names) > 1:
            raise ConfigError(f"{file} is not the archive of one run, as `varsim export` makes it")
        target = folder / path
        make_private_folder(target.parent)
        with stream, open(target, "xb", opener=private_opener) as written:
            while chunk := stream.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise ConfigError(f"{file} has more than {_MAX_BYTES:,} bytes of files")
                written.write(chunk)
    found = names.pop() if names else ""
    if not (folder / found / EXPERIMENT).is_file():
        raise ConfigError(f"{file} has no {EXPERIMENT} in a folder, so it is not an exported run")
    return found


def _files_in(file: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Yield the path and the content of each file in an archive."""
    if file.name.endswith(_ZIP):
        with zipfile.ZipFile(file) as zipped:
            for entry in zipped.infolist():
                if not entry.is_dir():
                    yield _inside(file, entry.filename), zipped.open(entry)
        return
    with tarfile.open(file) as packed:
        for member in packed:
            if member.isdir():
                continue
            content = packed.extractfile(member) if member.isreg() else None
            if content is None:
                raise ConfigError(f"{file}: {member.name} is not a file: links are not unpacked")
            yield _inside(file, member.name), content


def _inside(file: Path, name: str) -> PurePosixPath:
    """Return the path of a file in an archive.

    Raises:
        ConfigError: It leads out of the folder, or it is not in a run's directory.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or "\\" in name:
        raise ConfigError(f"{file}: {name!r} is not a file in the directory of a run")
    return path

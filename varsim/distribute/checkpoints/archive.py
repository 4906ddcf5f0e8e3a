"""Write and read the file of a checkpoint: arrays in safetensors, with a description in JSON.

The file contains only plain data, and its content is never unpickled or executed. Its metadata has
two texts: `varsim`, the JSON document that describes the arrays, and `sha256`, the hash of this
document and of all arrays. The reader checks the whole file. This needs time and memory in
proportion to the size of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim import extension_dtypes
from varsim.disk import require_room
from varsim.errors import CheckpointError, MissingDtype
from varsim.spec import Array
from varsim.value_class import value_class

SUFFIX: Final = ".safetensors"

VERSION: Final = 1
"""The version of the JSON document. It is increased if older versions of varsim cannot read it."""

MAX_HEADER_BYTES: Final = 2**25
"""The limit of safetensors' header, which contains the JSON document. 100,000 arrays need less."""

_LENGTH_BYTES: Final = 8  # a file begins with the length of its header
_DOCUMENT: Final = "varsim"
_HASH: Final = "sha256"

_CODES: Final = {
    "BOOL": "bool",
    "I8": "int8",
    "U8": "uint8",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "I64": "int64",
    "U64": "uint64",
    "F64": "float64",
}
"""The codes of dtypes in a file, with NumPy's names."""

_PARTS: Final = {"complex64": "float32", "complex128": "float64"}
"""The dtypes that are stored as pairs of numbers: safetensors does not have all complex dtypes."""


@value_class
class Archive:
    """The contents of a checkpoint's file."""

    document: dict[str, Any]  # plain JSON values
    arrays: Mapping[str, Array]


def file_of(path: str | os.PathLike[str]) -> Path:
    """Return the file of a checkpoint. The name can be given with or without the suffix."""
    name = os.fspath(path)
    return Path(name if name.endswith(SUFFIX) else name + SUFFIX)


# ---------------------------------------------------------------- writing


def write(path: str | os.PathLike[str], archive: Archive) -> Path:
    """Write a file completely or not at all, and return its path.

    The file is written under a temporary name, synced to the disk and renamed. So a crash leaves
    the old file, or no file.

    Raises:
        CheckpointError: The file cannot be written.
    """
    from safetensors.numpy import save

    document = {"version": VERSION, **archive.document}
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, allow_nan=False)
    stored = {name: _stored(array) for name, array in archive.arrays.items()}
    metadata = {_DOCUMENT: text, _HASH: _hash_of(text, stored)}
    if len(text) > MAX_HEADER_BYTES // 2:
        raise CheckpointError(
            f"checkpoint {os.fspath(path)} cannot be written: the names of its {len(stored)} "
            f"arrays take {len(text)} bytes, and at most {MAX_HEADER_BYTES // 2} are allowed"
        )
    return write_bytes(file_of(path), save(stored, metadata))


def write_bytes(file: Path, contents: bytes) -> Path:
    """Write a file completely or not at all, and return its path.

    Raises:
        CheckpointError: The file cannot be written.
    """
    temporary = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            require_room(file)
            with temporary.open("wb") as opened:
                opened.write(contents)
                opened.flush()
                os.fsync(opened.fileno())
            temporary.replace(file)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(file.parent)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        why = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"checkpoint {file} cannot be written: {why}") from error
    return file


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that the new name survives a failure of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stored(array: Array) -> Array:
    """Return an array of a dtype that safetensors has, in C order and little-endian."""
    array = np.asarray(array, order="C")
    parts = _PARTS.get(array.dtype.name)
    if parts is not None:
        array = array.view(parts).reshape(*array.shape, 2) if array.ndim else _pair(array, parts)
    return array


def _pair(number: Array, parts: str) -> Array:
    return np.array([number.real, number.imag], parts)


def _hash_of(text: str, stored: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(stored):
        array = stored[name]
        digest.update(f"\n{name}\n{array.dtype.name}\n{array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


# ---------------------------------------------------------------- reading


def read(path: str | os.PathLike[str]) -> Archive:
    """Read and check a file.

    Raises:
        CheckpointError: The file does not exist, is not a checkpoint of varsim, is damaged, or
            needs a package that is not installed.
    """
    file = file_of(path)
    header, arrays = _parsed(file, _contents(file))
    text, said = header.get(_DOCUMENT), header.get(_HASH)
    if not isinstance(text, str) or not isinstance(said, str):
        raise CheckpointError(f"{file} is not a checkpoint of varsim: it has no description")
    if said != _hash_of(text, arrays):
        raise CheckpointError(_damaged(file, "its contents do not match its hash"))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(_damaged(file, f"its description is not JSON ({error})")) from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        version = document.get("version") if isinstance(document, dict) else None
        raise CheckpointError(
            f"{file} is a checkpoint of version {version!r}; this varsim reads version {VERSION}"
        )
    return Archive(document, arrays)


def problem_of(path: str | os.PathLike[str]) -> str:
    """Return the reason why a checkpoint cannot be read; "" if it is complete and unchanged."""
    try:
        read(path)
    except CheckpointError as error:
        return str(error)
    return ""


def array_of(array: Array, dtype_name: str) -> Array:
    """Return a stored array in the dtype that it had when it was written.

    Raises:
        CheckpointError: The array was not stored from this dtype.
    """
    if array.dtype.name == dtype_name:
        return array
    parts = _PARTS.get(dtype_name)
    if parts is None or array.dtype.name != parts or array.shape[-1:] != (2,):
        raise CheckpointError(f"an array of {array.dtype.name} is described as {dtype_name}")
    whole = np.ascontiguousarray(array).view(dtype_name)
    return whole.reshape(array.shape[:-1])


def _contents(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            size = _checked_size(file, os.fstat(opened.fileno()))
            contents = opened.read(size + 1)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint {file}{_near(file)}") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"checkpoint {file} cannot be read: {why}") from None
    if len(contents) != size:
        raise CheckpointError(_damaged(file, "its size changed while it was read"))
    length = int.from_bytes(contents[:_LENGTH_BYTES], "little")
    if size < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
        raise CheckpointError(_damaged(file, f"it is not complete ({size} bytes)"))
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"checkpoint {file} cannot be read: its header has {length} bytes, and at most "
            f"{MAX_HEADER_BYTES} are allowed"
        )
    return contents


def _checked_size(file: Path, status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{file} is not a checkpoint: it is not a regular file")
    return status.st_size


def _near(file: Path) -> str:
    """Return the names of other checkpoints in the folder, for an error."""
    if not file.parent.is_dir():
        return f": there is no folder {file.parent}"
    names = sorted(one.name.removesuffix(SUFFIX) for one in file.parent.glob(f"*{SUFFIX}"))
    if not names:
        return f": the folder {file.parent} has no checkpoints"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"; the folder has {', '.join(names[:_MOST_NAMES])}{more}"


_MOST_NAMES: Final = 8


def _parsed(file: Path, contents: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the metadata and the arrays of safetensors, as they are stored."""
    from safetensors import SafetensorError, deserialize

    try:
        length = int.from_bytes(contents[:_LENGTH_BYTES], "little")
        header = json.loads(contents[_LENGTH_BYTES : _LENGTH_BYTES + length])
        metadata = header.get("__metadata__")
        found: Any = deserialize(contents)  # type: ignore[no-untyped-call,unused-ignore]
    except (SafetensorError, ValueError, RecursionError, AttributeError) as error:
        raise CheckpointError(_damaged(file, f"it is not safetensors ({error})")) from None
    if not isinstance(metadata, dict):
        metadata = {}
    arrays = {}
    for name, entry in found:
        code = entry["dtype"]
        if code not in _CODES:
            raise CheckpointError(f"{file} is not a checkpoint of varsim: it has a dtype {code}")
        try:
            dtype = extension_dtypes.named(_CODES[code])
        except MissingDtype as error:
            raise CheckpointError(f"checkpoint {file} cannot be read: {error}") from None
        arrays[name] = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
    return metadata, arrays


def _damaged(file: Path, why: str) -> str:
    return f"checkpoint {file} is damaged: {why}"

"""Recognises the user's own runs by a keyed checksum of their program.

The key is a random number in the user's state directory, made for the first run. It does not
identify the machine, and is not written anywhere else.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_KEY_BYTES: Final = 32


def mark_of(files: Mapping[str, bytes]) -> str | None:
    """Return the checksum of named files; None if this user has no key and cannot store one."""
    key = _key()
    if key is None:
        return None
    digest = hmac.new(key, digestmod="sha256")
    for name in sorted(files):
        encoded = name.encode("utf-8", "surrogateescape")
        for part in (encoded, files[name]):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def is_marked(files: Mapping[str, bytes], mark: object) -> bool:
    """Whether this user made the mark, for exactly these files."""
    made = mark_of(files)
    return made is not None and isinstance(mark, str) and hmac.compare_digest(made, mark)


def _key() -> bytes | None:
    try:
        path = _state_directory() / "key"
    except RuntimeError:  # this user has no home
        return None
    with suppress(OSError, ValueError):
        if not path.exists():
            _make(path)
        key = bytes.fromhex(path.read_text("ascii"))
        return key if len(key) == _KEY_BYTES else None
    return None


def _make(path: Path) -> None:
    """Writes a new key, unless another run has at the same time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = path.with_name(f"key-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        own.touch(mode=0o600, exist_ok=False)
        own.write_text(secrets.token_hex(_KEY_BYTES), "ascii")
        with suppress(FileExistsError):
            os.link(own, path)
    finally:
        own.unlink(missing_ok=True)


def _state_directory() -> Path:
    """As the XDG base directory specification has it."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "varsim"

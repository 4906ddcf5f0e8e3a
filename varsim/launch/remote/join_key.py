"""The key with which hosts join a cluster: in a file of its owner, or as a line of text.

The key of a cluster lets a host run the cluster's program, so it is as secret as a password. It is
never part of a command: other users of a machine can read the arguments of a process.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE, S_ISREG

from varsim.errors import ConfigError
from varsim.private import FILE_MODE, private_opener
from varsim.transport.keys import KeyPair
from varsim.transport.sockets import DealerKeys

_KEY_LENGTH = 40  # characters of a CURVE key in Z85
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class JoinKey:
    """What a host needs to join: its own pair of keys, which all hosts share, and the server's."""

    member: KeyPair
    server: bytes
    stretch: float = 1.0  # of the times of its link; see `varsim.transport.link_times`

    @property
    def for_socket(self) -> DealerKeys:
        """Return the keys in the form of a connection."""
        return DealerKeys(self.member, self.server)

    def to_line(self) -> str:
        """Return the key as one line, which `from_line` reads."""
        names = ("public", self.member.public), ("secret", self.member.secret)
        keys = {name: key.decode() for name, key in (*names, ("server", self.server))}
        return json.dumps({**keys, "stretch": self.stretch})

    @staticmethod
    def from_line(line: str, source: str) -> JoinKey:
        """Return the key from a line that `to_line` has returned.

        Args:
            source: Where the line comes from, for the error.
        Raises:
            ConfigError: The line is not a key.
        """
        try:
            known = json.loads(line)
            public, secret, server = (known[one].encode() for one in ("public", "secret", "server"))
            stretch = float(known["stretch"])
            if {len(public), len(secret), len(server)} != {_KEY_LENGTH}:
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(
                f"{source} is not the key of a cluster: give the file that varsim wrote when it "
                "waited for hosts"
            ) from None
        return JoinKey(KeyPair(public, secret), server, stretch)


def write_key(path: Path, key: JoinKey) -> None:
    """Write a key into a new file that only its owner can read.

    Raises:
        OSError: The file cannot be written, or exists.
    """
    descriptor = private_opener(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.to_line() + "\n")


def read_key(path: Path) -> JoinKey:
    """Read a key.

    Raises:
        ConfigError: The file is not a key, cannot be read, or others can read it.
    """
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            status = os.fstat(file.fileno())
            if S_ISREG(status.st_mode) and status.st_mode & _OTHERS:
                raise ConfigError(
                    f"{path} can be read by others (mode {S_IMODE(status.st_mode):03o}): "
                    f"`chmod {FILE_MODE:o} {path}`, and start the cluster again with a new key"
                )
            return JoinKey.from_line(file.readline(), str(path))
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read: {error.strerror}") from error

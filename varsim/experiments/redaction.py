"""Removes from the texts of a run what identifies the machine: paths, names of host and user.

Other data that a program printed is kept.
"""

from __future__ import annotations

import getpass
import platform
import re
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import varsim

_ANY_HOME: Final = re.compile(r"/(?:home|Users)/[^/\s\"':,;<>()]+")
_EVERYWHERE: Final = frozenset(
    {"", "/", "/usr", "/usr/local", "/tmp", "/var/tmp"}  # noqa: S108  # no file is made there
)
_SHORTEST_NAME: Final = 3  # a shorter one is a word of other things
_NOBODY: Final = frozenset({"root", "user", "localhost"})  # names that tell nothing


class Redaction:
    """Replaces what identifies a machine."""

    def __init__(self, own_folders: Iterable[str]) -> None:
        """Looks at the machine.

        Args:
            own_folders: What paths in the program are relative to: the program's folder, and the
                one that it was run in.
        """
        known = (
            {tempfile.gettempdir(): "tmp"} | _folders_of_python() | dict.fromkeys(own_folders, "")
        )
        told = [(folder, other) for folder, other in known.items() if folder not in _EVERYWHERE]
        self._folders = sorted(told, key=lambda item: len(item[0]), reverse=True)
        self._names = {}
        host, user = platform.node(), _user()
        for name, other in ((host, "host"), (host.partition(".")[0], "host"), (user, "user")):
            if len(name) >= _SHORTEST_NAME and name not in _NOBODY:
                self._names[name] = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])"), other

    def of_paths(self, text: str) -> str:
        """A text without paths of this machine."""
        for folder, other in self._folders:
            if folder in text:
                text = _without(text, folder, other)
        return _ANY_HOME.sub("~", text)

    def of_all(self, text: str) -> str:
        """A text that a person or a program wrote, without paths and names of this machine."""
        text = self.of_paths(text)
        for pattern, other in self._names.values():
            text = pattern.sub(other, text)
        return text

    def of_value(self, value: Any) -> Any:
        """A value of JSON or YAML, whose texts have no paths any more; keys stay."""
        match value:
            case str():
                return self.of_paths(value)
            case list():
                return [self.of_value(one) for one in value]
            case dict():
                return {key: self.of_value(one) for key, one in value.items()}
        return value


def _without(text: str, folder: str, other: str) -> str:
    """A folder's path becomes `other`, or its files' paths relative if that is nothing."""
    if other:
        return re.sub(rf"{re.escape(folder)}(?=$|[^\w.-])", other, text)
    text = text.replace(f"{folder}/", "")
    return re.sub(rf"{re.escape(folder)}(?=$|[^\w./-])", ".", text)


def _folders_of_python() -> dict[str, str]:
    ours = str(Path(varsim.__file__).parents[1])
    packages = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")]
    return {
        str(Path.home()): "~",
        sys.base_prefix: "python",
        sys.prefix: "python",
        sysconfig.get_path("stdlib"): "python",
        **dict.fromkeys(packages, "site-packages"),
        ours: "site-packages",
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # it has no name
        return ""

"""Hosts join with a key, a fitting version, and well-formed messages, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest

from varsim.errors import ConfigError, ProtocolError
from varsim.launch.remote.control import Control, Name
from varsim.launch.remote.greeting import Greeting
from varsim.launch.remote.join_key import JoinKey, read_key, write_key
from varsim.transport.keys import KeyPair

KEY = JoinKey(KeyPair(b"p" * 40, b"s" * 40), b"v" * 40, stretch=4.0)


def test_a_key_is_read_from_a_file_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_key(path, KEY)
    assert KEY == read_key(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"can be read by others \(mode 640\): `chmod 600"):
        read_key(path)
    with pytest.raises(FileExistsError):
        write_key(path, KEY)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_key(tmp_path / "none")


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", "7", '{"public": 1, "secret": 2, "server": 3}', KEY.to_line()[:-9]]
)
def test_a_text_that_is_no_key_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="stdin is not the key of a cluster"):
        JoinKey.from_line(line, "stdin")


def test_messages_arrive_unchanged() -> None:
    message = Control(Name.PART, 7, ["traces/0", 2**40], b"x" * 10)
    assert message == Control.unpacked([bytes(one) for one in message.packed()])
    message = Control(Name.EXAMINE, 8, {3: [1, 0.5, None, False, ["a:1"]]})
    assert message == Control.unpacked([bytes(one) for one in message.packed()])


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b""],
        [b"\xc1"],
        [msgpack.packb(7)],
        [msgpack.packb(["hello", 0])],
        [msgpack.packb(["hullo", 0, None])],
        [msgpack.packb(["hello", "0", None])],
        [msgpack.packb([["hello"], 0, None])],
    ],
)
def test_malformed_messages_are_protocol_errors(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError, match="not a message between a coordinator and a host"):
        Control.unpacked(frames)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"python": "3.11.99", "numpy": "2.99"}, ""),
        ({"python": "3.10.1"}, "it has Python 3.10.1, and the program has 3.11.5"),
        ({"numpy": "1.26.0"}, "it has NumPy 1.26.0, and the program has 2.1"),
        ({"varsim": "9"}, "it has varsim 9, and the program has 0.1.0"),
        ({"versions": [1, 2]}, r"it has protocol \(1, 2\), and the program has \(1, 1\)"),
    ],
)
def test_versions_must_fit(changed: dict[str, Any], said: str) -> None:
    mine = Greeting("h", (1, 1), "0.1.0", "3.11.5", "2.1", True, 2, 7, None, None)
    theirs = Greeting.from_value(mine._asdict() | {"versions": [1, 1]} | changed)
    assert said.replace("\\", "") == mine.difference(theirs)


@pytest.mark.parametrize("value", [{}, {"host": "h"}, {"host": "h", "more": 1}])
def test_a_greeting_of_another_version_is_a_protocol_error(value: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="not a greeting of this version of varsim"):
        Greeting.from_value(value)

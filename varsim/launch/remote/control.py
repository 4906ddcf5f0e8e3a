"""The messages between a coordinator and the hosts of its workers, over one link for each host.

A message is an array in msgpack, `[name, number, value]`, and perhaps one more frame with bytes.
The coordinator calls a function of a host, and the answer has the number of the call. A host also
sends messages by itself, with the number 0. So do both ends of an exchange between hosts.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgpack

from varsim.errors import ProtocolError
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer

CONTROL_VERSION: Final = 4
"""The version of these messages. Coordinator and hosts must have the same one."""

PART_BYTES: Final = 2**20
"""Largest part of a file in one message."""

WALL: Final = "wall"
"""The value of CLOCK that asks for the time since 1970, as the host's clock says."""

_MEMBERS: Final = 3


class Name(StrEnum):
    """What a message is for."""

    # from a host, by itself
    HELLO = "hello"  # the fields of a `Greeting`: the host can take part
    EXITED = "exited"  # [replica_id, reason, end of its output, path of its log]
    FAILED = "failed"  # the reason why the host cannot run its workers
    LEFT = "left"  # the reason why the host ends its workers and leaves the cluster

    # from the coordinator, without an answer
    BEGIN = "begin"  # a mapping: rendezvous, directory, environment, place (see `host_exchange`)
    REFUSE = "refuse"  # the reason why the host cannot take part
    READY = "ready"  # [replica_id, process_id] of a worker

    # from both, without an answer
    EXCHANGE = "exchange"  # the value of a `HostMessage`, with its part

    # from the coordinator, with an answer
    CLOCK = "clock"  # the host answers with its steady clock in ns; for WALL, with its time
    CHECK = "check"  # a mapping: workers here, their endpoint: [[subject, state, found, remedy], …]
    EXAMINE = "examine"  # [replica_ids, with_stacks]: {replica_id: fields of a Sighting}
    WHERE = "where"  # replica_id: file:line, or None
    TAIL = "tail"  # replica_id: the end of its output
    END_WORKER = "end_worker"  # replica_id: [whether it was killed, its output, path of its log]
    STOP = "stop"  # end all workers: [[name, size in bytes], …], the files to send home
    LEAVE = "leave"  # end all workers and leave: None; the last message
    PART = "part"  # [name, offset]: a frame with at most PART_BYTES of the file


class Control(NamedTuple):
    """A message."""

    name: Name
    number: int
    value: Any
    part: Frame | Buffer = b""

    def packed(self) -> list[Frame]:
        """Return the frames of the message."""
        header = msgpack.packb([self.name.value, self.number, self.value])
        return [header, memoryview(self.part)] if self.part else [header]

    @staticmethod
    def unpacked(frames: Sequence[Buffer]) -> Control:
        """Return the message of frames.

        Raises:
            ProtocolError: The frames are not a message.
        """
        try:
            members = msgpack.unpackb(frames[0], strict_map_key=False)
            if len(members) != _MEMBERS or not isinstance(members[1], int):
                raise ValueError("a message has a name, a number and a value")
            return Control(
                Name(members[0]), *members[1:], *(memoryview(one) for one in frames[1:2])
            )
        except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
            raise ProtocolError(
                f"not a message between a coordinator and a host: {error}"
            ) from None

"""Define the files of traces: their names, and the kinds of records in them.

A trace is a file: `MAGIC`, then msgpack arrays `[kind, time_ns, …]`. The first array has the kind
`BEGUN`. The time is read from the system's steady clock, which all processes of a host share.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

MAGIC: Final = b"varsim-trace-4\n"
"""This version increases when the meaning of a record changes."""

CARRY: Final = "carry"
"""The operation in a SHARED if a new incarnation takes over a shared value."""

PROGRAM: Final = -1
"""In place of a replica_id: the coordinator's process, which runs the program."""


class RecordKind(IntEnum):
    """The kind of a record, which is its first member. The second member is the time.

    The comments list the other members.
    """

    BEGUN = 1  # process, num_replicas, level, protocol version, seconds since the epoch, window
    SENT = 2  # peer, frames, samples of omitted arrays if any; frames None: those of the last one
    RECEIVED = 3  # peer, whose next envelope has arrived
    READ = 4  # variable_id, replica or None, version, location, value as in `Kept`, perhaps `OWN`
    WROTE = 5  # variable_id, replica or None, operation, location, value or rows
    FINISHED = 6  # call_id, error text or None
    LOST = 7  # replica, how its worker ended
    ENDED = 8  # the trace was closed: nothing is missing
    CUT = 9  # error text; None or no member: the trace has reached its limit
    AGAIN = 10  # repeat count of the preceding READ at the same location
    DECIDED = 11  # like SENT, of commits that no replica waits for; the next envelope has them
    WITHHELD = 12  # variable_id, value or rows of a contribution that is not used and not sent
    SHARES = 13  # call_id, number of rows in each replica's arguments; only if a number is 0
    CONTINUED = 14  # number of calls in earlier incarnations, ids of variables that they created
    SHARED = 15  # operation of the program, variable_id, replica or None, version, age in ns,
    # location, value as in `Kept`, ids of the members of a group
    SERVED_VARIABLE = 16  # variable_id, name, location of the creation; only of a server
    SERVED = 17  # process, closure or 0, variable_id, operation, version, version that the closure
    # had read or -1, location, value or rows; only of a server
    COMPRESSED = 18  # variable_id, replica, operation, location, value before it is compressed
    NOTICED = 19  # call_id or None, operation, replica or None, location, note[, value]: `notices`
    COUNTED = 20  # what the program used to learn the number of replicas, location; the first use
    TAKEN = 21  # operation, location, [leaf, replica or None, value as in `Kept`], …


def name_process(process: int) -> str:
    """Return a process as text: "the program" or "replica 2"."""
    return "the program" if process == PROGRAM else f"replica {process}"


def file_name(process: int) -> str:
    """Return the file name of a process's trace."""
    return "program.trace" if process < 0 else f"replica-{process}.trace"


def server_file_name(server: int) -> str:
    """Return the file name of the trace of a parameter server, from 0."""
    return f"server-{server}.trace"

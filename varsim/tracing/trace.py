"""Record one process while it runs: its messages, reads and writes.

`trace_format.py` describes the file. The sender of an envelope records the encoded bytes (see
`protocol.codec`), which costs little; the receiver records only the time. Records of reads and
writes wait in memory until the next envelope is recorded, or until many are pending. Written
records survive even if the process is killed (see `crash_safe_log.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from varsim.errors import ConfigError
from varsim.private import make_private_folder
from varsim.protocol.buffers import Frame
from varsim.protocol.codec import PROTOCOL_VERSION, encode
from varsim.protocol.messages import (
    Abort,
    Create,
    Forget,
    Layout,
    Message,
    Raised,
    Returned,
    Start,
    is_own_call,
)
from varsim.spec import Array, Operand, Operation, Rows
from varsim.tracing.crash_safe_log import CrashSafeLog, remove_log
from varsim.tracing.recorded_values import (
    DEFINITIONS,
    FRAME_LIMIT_BYTES,
    READ_LIMIT_BYTES,
    Kept,
    KeptEnvelopes,
    KeptRows,
    KeptValues,
)
from varsim.tracing.trace_format import MAGIC, PROGRAM, RecordKind, file_name, server_file_name
from varsim.value_class import value_class

OPS, MESSAGES, OFF = "ops", "messages", "off"
LEVELS: Final = (OPS, MESSAGES, OFF)
"""Levels of recording: operations with small values; operations with all bytes; nothing."""

LIMIT_BYTES: Final = 2**28
"""The default limit of one process's trace. At the limit, a trace ends with a CUT record."""

_MAX_PENDING: Final = 256  # largest number of records in memory; most are reads and writes

_RECEIVED, _READ, _WROTE = int(RecordKind.RECEIVED), int(RecordKind.READ), int(RecordKind.WROTE)
_AGAIN, _WITHHELD = int(RecordKind.AGAIN), int(RecordKind.WITHHELD)
_COMPRESSED: Final = int(RecordKind.COMPRESSED)


_SKELETON: Final = (Create, Forget, Layout, Start, Returned, Raised, Abort)
"""Messages that are also recorded outside a window, because decoding the window needs them."""


@value_class
class TraceOptions:
    """What a run records, and where.

    Raises:
        ConfigError: A value is invalid; the text says what is expected.
    """

    directory: Path  # directory of the traces, a Path or a text; created if missing
    level: str = OPS  # OPS or MESSAGES
    limit_bytes: int = LIMIT_BYTES  # limit of each process's trace
    window: tuple[int, int] | None = None  # (first, end): records the calls first to end - 1

    def __post_init__(self) -> None:
        # Workers may have another working directory than the program.
        object.__setattr__(self, "directory", Path(self.directory).absolute())
        if self.level not in (OPS, MESSAGES):
            raise ConfigError(
                f"TraceOptions: level={self.level!r}: it must be {OPS!r} or {MESSAGES!r}; to "
                "record nothing, give no TraceOptions"
            )
        if self.window is not None:
            first, end = self.window
            object.__setattr__(self, "window", (first, end))
            if not 1 <= first < end:
                raise ConfigError(
                    f"TraceOptions: window={self.window}: it must be (first, end), with 1 <= first "
                    "< end: (10, 12) records the 10th and the 11th call of strategy.run"
                )


class Trace:
    """The record of one process."""

    def __init__(
        self, options: TraceOptions, process: int, num_replicas: int, file: str = ""
    ) -> None:
        """Open the file.

        Args:
            file: The name of the file; by default that of `file_name`.
        Raises:
            OSError: The file cannot be created.
        """
        self._everything = everything = options.level == MESSAGES
        read_limit = FRAME_LIMIT_BYTES if process == PROGRAM else READ_LIMIT_BYTES
        self._values = KeptValues(everything=everything, read_limit=read_limit)
        self._envelopes = KeptEnvelopes(self._values.specs)
        make_private_folder(options.directory)
        path = options.directory / (file or file_name(process))
        self._file = CrashSafeLog(path, options.limit_bytes)
        self._file.append(MAGIC)
        self._packer = msgpack.Packer(
            default=self._values.shown, unicode_errors="surrogatepass", autoreset=False
        )
        self._sent: Sequence[Frame] = ()  # the last frames, compared by identity
        self._pending: list[tuple[Any, ...]] = []
        self._read: tuple[Any, ...] = ()  # the last read
        self._value: Array | None = None  # the value of the last read, while it is pending
        self._again = 0  # repeat count of the last read
        self._window = options.window
        self._open = options.window is None
        """Whether everything is recorded; else only messages that are needed to decode a window."""
        peers = range(num_replicas) if process == PROGRAM else ()
        self._open_to = dict.fromkeys(peers, self._open)  # the value of `_open` for each peer
        about = (process, num_replicas, options.level, PROTOCOL_VERSION, time.time())
        self._note(RecordKind.BEGUN, *about, options.window)

    def _note(self, kind: RecordKind, *what: Any) -> None:
        """Write all pending records, and then this record."""
        self._defer((int(kind), time.monotonic_ns(), *what))
        self._settle()

    def _defer(self, record: tuple[Any, ...]) -> None:
        if self._again:
            self._again = self._note_again()
        self._pending.append(record)
        if len(self._pending) >= _MAX_PENDING:
            self._settle()

    def _note_again(self) -> int:
        self._pending.append((_AGAIN, time.monotonic_ns(), self._again))
        return 0

    def _settle(self) -> None:
        if self._again:
            self._again = self._note_again()
        pack = self._packer.pack
        for record in self._pending:
            pack(record)
        self._pending.clear()
        self._value = None
        if not self._file.append(self._packer.getbuffer()):
            why = self._file.error
            self._file.close(msgpack.packb((RecordKind.CUT, time.monotonic_ns(), why)))
        self._packer.reset()

    def begins(self, call_id: int) -> None:
        """Begin a call. A call of the program may open or close the window."""
        if self._window is not None and not is_own_call(call_id):
            self._open = self._window[0] <= call_id < self._window[1]

    def learn(self, messages: Sequence[Message]) -> None:
        """Take note of definitions that this process has received; see `KeptEnvelopes.learn`."""
        self._envelopes.learn(messages)

    def sent(
        self,
        peer: int,
        frames: Sequence[Frame],
        messages: Sequence[Message],
        *,
        shared: object = False,
    ) -> None:
        """Record an envelope to a peer. Its frames may be views of shared memory.

        Args:
            shared: Whether some arrays are in shared memory, and not in the frames.
        """
        if frames is self._sent:
            self._note(RecordKind.SENT, peer, None)
            return
        if not DEFINITIONS.isdisjoint(map(type, messages)):
            self._envelopes.learn(messages)
        if self._window is not None:
            kept = self._in_window(peer, messages)
            if len(kept) < len(messages):
                self._sent = ()
                shown = self._kept(encode(kept), kept) if kept else ([],)
                self._note(RecordKind.SENT, peer, *shown)
                return
        # Frames that share the memory of arrays are not kept, because this memory will be reused.
        self._sent = frames if all(type(frame) is bytes for frame in frames) else ()
        self._note(RecordKind.SENT, peer, *self._kept(frames, messages, shared=shared))

    def _in_window(self, peer: int, messages: Sequence[Message]) -> list[Message]:
        """Return the messages to record.

        In the window, all messages are recorded. Outside, only the messages that decoding needs are
        recorded. The window begins with the `Start` of its first call: messages before the `Start`
        are outside, even in the same envelope.
        """
        found = []
        to_peer = self._open_to.get(peer, self._open)
        for message in messages:
            if isinstance(message, Start):
                self.begins(message.call_id)
                self._open_to[peer] = to_peer = self._open
                for absent in range(message.present, len(self._open_to)):
                    self._open_to[absent] = self._open  # a joined replica gets no Start
            if to_peer or isinstance(message, _SKELETON):
                found.append(message)
        return found

    def _kept(
        self, frames: Sequence[Frame], messages: Sequence[Message], *, shared: object = False
    ) -> tuple[Any, ...]:
        """Return the frames to record, and the samples of arrays that they leave out, if any."""
        if self._everything:
            return (encode(messages) if shared else list(frames),)
        return self._envelopes.kept(frames, messages, shared=bool(shared))

    def received(self, peer: int) -> None:
        """Record that the next envelope of a peer has arrived."""
        self._defer((_RECEIVED, time.monotonic_ns(), peer))

    def read(
        self, variable_id: int, replica: int | None, version: int, location: str, value: Array,
        *others: str,
    ) -> None:  # fmt: skip
        """Record a read by the program or a replica.

        Args:
            replica: Owner of the component; None for the value of all components.
            others: `kinds.OWN` for such a read.
        """
        if not self._open:
            return
        read = variable_id, replica, version, location, *others
        if value is self._value and read == self._read:
            self._again += 1
            return
        shown = value if type(value) is np.ndarray else np.asarray(value)
        at_ns = time.monotonic_ns()
        self._defer((_READ, at_ns, variable_id, replica, version, location, shown, *others))
        self._read, self._value = read, value

    def wrote(
        self,
        variable_id: int,
        replica: int | None,
        operation: Operation,
        location: str,
        value: Operand,
    ) -> None:
        """Record a local write. Contributions need no such record, because envelopes contain them.

        Args:
            replica: Owner of the component; None for all components.
        """
        if not self._open:
            return
        shown = self._written(variable_id, value)
        what = variable_id, replica, operation._value_, location, shown
        self._defer((_WROTE, time.monotonic_ns(), *what))

    def compressed(
        self, variable_id: int, replica: int, operation: Operation, location: str, value: Array
    ) -> None:
        """Record the value of a write of which the replica sends an approximation."""
        if self._open:
            what = variable_id, replica, operation._value_, location, self._values.written(value)
            self._defer((_COMPRESSED, time.monotonic_ns(), *what))

    def shared(
        self,
        operation: str,
        variable_id: int,
        owner: int | None,
        version: int,
        age_ns: int,
        location: str,
        value: Array,
        members: Sequence[int] = (),
    ) -> None:
        """Record a one-sided operation of the program.

        Args:
            operation: push, pull or fetch; or CARRY for a value of an earlier incarnation.
            owner: The owner of the published component; None for the authoritative copy.
            version, age_ns: Those of the value that was read; 0 for a push.
            value: The value that was read, pushed or stored.
            members: The members of the group of a sync; empty for all replicas.
        """
        if self._open:
            about = operation, variable_id, owner, version, age_ns, location
            self._note(RecordKind.SHARED, *about, self._values.written(value), list(members))

    def noticed(self, *what: Any, value: Array | None = None) -> None:
        """Record what a process noticed about the program; `notices.py` has the members.

        Args:
            value: The value of the variable that the notice is about, if it is about one.
        """
        if self._open:
            shown = () if value is None else (self._values.shown(value),)
            self._note(RecordKind.NOTICED, *what, *shown)

    def served_variable(self, variable_id: int, name: str, location: str) -> None:
        """Record on a parameter server that a variable was created; `served` has its value."""
        self._defer(
            (int(RecordKind.SERVED_VARIABLE), time.monotonic_ns(), variable_id, name, location)
        )

    def served(
        self,
        process: int,
        closure_id: int,
        variable_id: int,
        operation: str,
        version: int,
        read_version: int,
        location: str,
        value: Operand,
    ) -> None:
        """Record an operation in the order of a parameter server.

        Args:
            process: The client; PROGRAM for the program.
            closure_id: The closure that uses the variable; 0 for the program.
            operation: read, or the name of an `Operation`.
            version: The version that was read, or that the write made.
            read_version: The version that the closure had read before the write; -1 if none.
            value: The value that was read, or the operand.
        """
        about = process, closure_id, variable_id, operation, version, read_version, location
        if operation == "read":
            assert isinstance(value, np.ndarray), "rows are only written"
            shown = self._values.shown(value)
            self._defer((int(RecordKind.SERVED), time.monotonic_ns(), *about, shown))
        else:
            if operation == "create" and isinstance(value, np.ndarray):
                self._values.shapes[variable_id] = value.shape
            self._note(RecordKind.SERVED, *about, self._written(variable_id, value))

    def withheld(self, variable_id: int, value: Operand) -> None:
        """Record a contribution that is not sent, because the aggregation does not use it."""
        if self._open:
            if isinstance(value, Rows):
                shown: Kept | KeptRows = self._values.rows(variable_id, value, withheld=True)
            else:
                shown = self._values.shown(value)  # the caller may change it
            self._defer((_WITHHELD, time.monotonic_ns(), variable_id, shown))

    def _written(self, variable_id: int, value: Operand) -> Kept | KeptRows:
        """Return the columns of a written value; the caller may change the array later."""
        if isinstance(value, Rows):
            return self._values.rows(variable_id, value)
        return self._values.written(value)

    def decided(self, replica_ids: Sequence[int], commits: Sequence[Message]) -> None:
        """Record commits that have not been sent yet, each with a replica that will get it."""
        if self._open:
            kept = self._kept(encode(commits), commits)
            self._note(RecordKind.DECIDED, list(replica_ids), *kept)

    def finished(self, call_id: int, error: str | None) -> None:
        """Record the end of a call."""
        self._note(RecordKind.FINISHED, call_id, error)

    def shares(self, call_id: int, rows: Sequence[int]) -> None:
        """Record how many rows each replica gets in a call, before the call is sent."""
        self._note(RecordKind.SHARES, call_id, list(rows))

    def continued(self, calls: int, variable_ids: Sequence[int]) -> None:
        """Record that this incarnation continues earlier ones of its strategy.

        Args:
            calls: The number of the program's calls in the earlier incarnations.
            variable_ids: The variables of the earlier incarnations, which this one creates again.
        """
        self._note(RecordKind.CONTINUED, calls, list(variable_ids))

    def taken(
        self, operation: str, location: str, values: Sequence[tuple[int, int | None, Array]]
    ) -> None:
        """Record small values that the program gets outside variables.

        Args:
            operation: run, reduce or gather, a method of the strategy.
            values: The number of a leaf in the result, the replica that returned it (None for a
                combined value), and its value.
        """
        if self._open:
            kept = [(leaf, replica, self._values.shown(value)) for leaf, replica, value in values]
            self._defer((int(RecordKind.TAKEN), time.monotonic_ns(), operation, location, kept))

    def counted(self, what: str, location: str) -> None:
        """Record the first use of the number of replicas by the program in this process."""
        self._note(RecordKind.COUNTED, what, location)

    def lost(self, replica: int, reason: str) -> None:
        """Record the loss of a worker."""
        self._note(RecordKind.LOST, replica, reason)

    def abandon(self) -> None:
        """Free the trace as it is, without an end, as if its process was killed."""
        self._file.abandon()

    def close(self) -> None:
        """Close the trace. Further calls do nothing."""
        if self._pending:
            self._settle()
        self._file.close(msgpack.packb((RecordKind.ENDED, time.monotonic_ns())))


def remove_traces(options: TraceOptions | None, num_replicas: int) -> None:
    """Remove the traces of a cluster that did not start, so that another start can make them."""
    if options is not None:
        for process in range(PROGRAM, num_replicas):
            remove_log(options.directory / file_name(process))


def open_trace(options: TraceOptions | None, process: int, num_replicas: int) -> Trace | None:
    """Open the trace of a process; None if nothing is recorded."""
    return None if options is None else Trace(options, process, num_replicas)


def open_server_trace(
    options: TraceOptions | None, server: int, process: int, num_processes: int
) -> Trace | None:
    """Open the trace of a parameter server; None if nothing is recorded."""
    if options is None:
        return None
    return Trace(options, process, num_processes, server_file_name(server))

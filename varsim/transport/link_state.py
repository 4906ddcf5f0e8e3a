"""Decide what one end of a link sends, so that every envelope arrives once and in order.

Within one connection, TCP loses nothing. A link can have several connections, one after another.
When a connection ends, the envelopes on their way are lost. So each end numbers its envelopes, and
keeps each envelope until the other end has acknowledged it. An end sends an envelope again only if
the other end has reported it missing. After a time-out, the end sends only a small probe, because a
busy process answers late.

The state does no I/O and reads no clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from varsim.errors import ProtocolError
from varsim.protocol.limits import Buffer

FIRST_PROBE_S: Final = 0.25
"""The time without progress until a probe. Each further probe waits twice as long."""

ACKNOWLEDGED_AT: Final = 64
"""An end that has received this many envelopes, and has sent nothing, sends a RECEIVED."""

OLD_REPORT_LOOKS: Final = 2
"""After so many looks, the envelopes that a report requests should have begun to arrive."""

LONGEST_LOOK_S: Final = 1.0
"""The longest time between two looks that is counted as time without a connection.

If more time passes, the process was stopped or computed, so it does not know whether there was a
connection.
"""


class Kind(IntEnum):
    """What a packet is for."""

    ENVELOPE = 1  # has the frames of an envelope
    PROBE = 2  # requests RECEIVED or MISSING
    RECEIVED = 3  # acknowledges
    MISSING = 4  # acknowledges, and requests all later envelopes again


class Packet(NamedTuple):
    """What one end sends to the other. A second delivery changes nothing."""

    kind: Kind
    number: int  # the envelope's number; without an envelope, the number of the last sent one
    received: int  # the sender of the packet has received all envelopes up to this number
    frames: Sequence[Buffer] = ()


class LinkState:
    """One end of a link: what it has sent and received, and how long there was no connection.

    Args:
        loss_s: After so many seconds without a connection, the link is lost.
        longest_probe_s: The longest time between two probes.
    """

    def __init__(self, loss_s: float, longest_probe_s: float) -> None:
        self.is_lost = False
        self.loss_s = loss_s
        self._longest_probe_s = longest_probe_s
        self._sent = 0  # the number of the last envelope
        # unacknowledged envelopes in order
        self._kept: deque[tuple[int, Sequence[Buffer]]] = deque()
        self._received = 0  # all envelopes up to this number have arrived
        self._gap_to = 0  # the number in a packet that has shown a gap, which is to be reported
        self._reported = -1  # the value of `_received` when a gap was last reported
        self._looks = 0  # the number of looks since then
        self._unacknowledged = 0  # envelopes received since this end last sent a packet
        self._must_answer = False
        self._must_resend = False
        # whether the peer has acknowledged envelopes since the last look, or has all envelopes
        self._has_progress = True
        self._looked_s = -math.inf
        self._was_connected = True
        self._probe_s = FIRST_PROBE_S  # the time from the next probe to the one after it
        self._probe_at_s = 0.0
        self._silence_s = 0.0  # how long there has been no connection

    def send(self, frames: Sequence[Buffer]) -> Packet:
        """Return the packet of a new envelope.

        Its frames must not change until the packet arrives.
        """
        self._sent += 1
        self._kept.append((self._sent, frames))
        self._unacknowledged = 0
        return Packet(Kind.ENVELOPE, self._sent, self._received, frames)

    def arrives(self, packet: Packet) -> bool:
        """Handle a packet of the peer; return whether the packet has the next envelope.

        Raises:
            ProtocolError: The peer acknowledges an envelope that this end has not sent.
        """
        kind, number, received, _ = packet
        if received > self._sent:
            raise ProtocolError(f"envelope {received} is acknowledged, but {self._sent} were sent")
        kept = len(self._kept)
        while self._kept and self._kept[0][0] <= received:
            self._kept.popleft()
        if len(self._kept) < kept or not self._kept:
            self._has_progress = True
        is_next = kind is Kind.ENVELOPE and number == self._received + 1
        if is_next:
            self._received = number
            self._unacknowledged += 1
        elif kind is Kind.PROBE:
            self._must_answer = True
        elif kind is Kind.MISSING:
            self._must_resend = True
        # An envelope that is sent again shows no gap, so it is not reported. A probe may have been
        # sent before the peer got the report, so it repeats only a report that is not new.
        if number > self._received and (
            self._reported != self._received
            or (kind is Kind.PROBE and self._looks >= OLD_REPORT_LOOKS)
        ):
            self._gap_to = number
            self._must_answer = True
        return is_next

    @property
    def has_answers(self) -> bool:
        """Return whether `answers` would return packets."""
        return self._must_answer or self._must_resend or self._unacknowledged >= ACKNOWLEDGED_AT

    def answers(self) -> list[Packet]:
        """Return the packets that answer all packets since the last call.

        A report precedes the envelopes that are sent again, so that the peer sends its own at the
        same time, and not only after it has received all of these.
        """
        packets = []
        if self._must_answer or (
            self._unacknowledged >= ACKNOWLEDGED_AT and not (self._must_resend and self._kept)
        ):
            kind = Kind.RECEIVED
            if self._gap_to > self._received:
                kind, self._reported, self._looks = Kind.MISSING, self._received, 0
            packets.append(Packet(kind, self._sent, self._received))
        if self._must_resend:
            packets += [Packet(Kind.ENVELOPE, n, self._received, some) for n, some in self._kept]
        self._gap_to = 0
        self._must_answer = self._must_resend = False
        self._unacknowledged = 0
        return packets

    def look(self, now_s: float, *, connected: bool, is_new: bool = False) -> list[Packet]:
        """Record the time and whether there is a connection. Return a probe if one is due.

        Args:
            connected: Whether there is a connection now.
            is_new: Whether a connection is known to have been made since the last look.
        """
        since_s = now_s - self._looked_s
        if connected or is_new or self._was_connected or since_s > LONGEST_LOOK_S:
            self._silence_s = 0.0
        else:
            self._silence_s += since_s
        self.is_lost = self._silence_s > self.loss_s
        if is_new:
            self._reported = -1  # the report may have been lost with the last connection
        self._looks += 1
        if not connected or is_new:  # a new connection needs a probe immediately
            self._probe_s, self._probe_at_s = FIRST_PROBE_S, now_s
        elif self._has_progress:
            self._probe_s, self._probe_at_s = FIRST_PROBE_S, now_s + FIRST_PROBE_S
        self._looked_s, self._was_connected, self._has_progress = now_s, connected, False
        if now_s < self._probe_at_s:
            return []
        self._probe_at_s = now_s + self._probe_s
        self._probe_s = min(2 * self._probe_s, self._longest_probe_s)
        self._unacknowledged = 0
        return [Packet(Kind.PROBE, self._sent, self._received)]

    def excuse(self) -> None:
        """Set the time without a connection to 0, because the peer's process was stopped."""
        self._silence_s = 0.0
        self.is_lost = False

    def forget(self) -> None:
        """Drop all envelopes, because the peer has ended."""
        self._kept.clear()

    def validate(self) -> None:
        """Check the state.

        Raises:
            AssertionError: The state is inconsistent.
        """
        numbers = [number for number, _ in self._kept]
        assert numbers == list(range(self._sent - len(numbers) + 1, self._sent + 1))
        assert self._gap_to == 0 or self._must_answer
        assert 0 <= self._unacknowledged <= self._received
        assert self._silence_s >= 0.0
        assert self._probe_s <= max(FIRST_PROBE_S, self._longest_probe_s)

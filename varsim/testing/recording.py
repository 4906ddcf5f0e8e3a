"""Record the traces of a simulated cluster, like the processes of a real cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Final, get_type_hints

from varsim.launch.link import Lost
from varsim.protocol.codec import MESSAGES, encode
from varsim.protocol.messages import Message, Payload
from varsim.tracing.trace import Trace

_PAYLOADS: Final = {
    cls: dict.fromkeys(
        (one.name for one in fields(cls) if get_type_hints(cls)[one.name] is Payload), Payload(None)
    )
    for cls in MESSAGES
}
"""Replacements in a trace for the fields of messages that hold live objects in a simulation."""


def note_sent(trace: Trace | None, peer: int, messages: Sequence[Message]) -> None:
    """Record each message as a separate envelope, because each message can arrive separately."""
    if trace is not None:
        for message in messages:
            recorded = [replace(message, **_PAYLOADS[type(message)])]
            trace.sent(peer, encode(recorded), recorded)


def note_received(trace: Trace | None, peer: int, messages: Sequence[Message | Lost]) -> None:
    """Record messages that were received from a peer, or that the peer has ended."""
    if trace is not None:
        for message in messages:
            if isinstance(message, Lost):
                trace.lost(peer, message.reason)
            else:
                trace.received(peer)

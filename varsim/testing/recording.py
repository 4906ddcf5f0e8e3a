"""What the processes of a simulated cluster write down, as those of a real one do."""

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
"""Of each class of message, the fields that hold live objects here, and what stands for them."""


def note_sent(trace: Trace | None, peer: int, messages: Sequence[Message]) -> None:
    """Each message is an envelope of its own: each may arrive alone."""
    if trace is not None:
        for message in messages:
            recorded = [replace(message, **_PAYLOADS[type(message)])]
            trace.sent(peer, encode(recorded), recorded)


def note_received(trace: Trace | None, peer: int, messages: Sequence[Message | Lost]) -> None:
    """These of a peer have come, or the news that it has ended."""
    if trace is not None:
        for message in messages:
            if isinstance(message, Lost):
                trace.lost(peer, message.reason)
            else:
                trace.received(peer)

"""The processes of a cluster receive all settings."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from varsim.exchange.exchange import Handover
from varsim.launch.launcher import Backends, LaunchOptions
from varsim.launch.rendezvous import Rendezvous
from varsim.tracing.trace import TraceOptions


def altered(value: Any) -> Any:
    """Return a different value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 7
        case str():
            return value + "\udce9 é"
        case Path():
            return value / "below"
        case None:
            return None
        case TraceOptions() | LaunchOptions() | Handover() | Backends():
            return replace(
                value, **{f.name: altered(getattr(value, f.name)) for f in fields(value)}
            )
        case (int(first), int(end)):  # a pair, which has no other length
            return first + 7, end + 7
        case _:
            return (*value, *value)


WHOLE = Rendezvous(
    options=LaunchOptions(
        7,
        ("a", "b"),
        seed=1,
        log_dir=Path("/logs"),
        trace=TraceOptions(Path("/t"), window=(10, 12)),
    ),
    addresses=("ipc://x", "secret"),
    replica_ids=(0, 2),
    entry_point="m:f",
    search_path=("/one", ""),
    log_dir="/logs",
    private_dir="/private",
    exchange="shared",
    handover=Handover((5,), "100"),
)


def test_settings_arrive_unchanged() -> None:
    assert WHOLE == Rendezvous.from_line(WHOLE.to_line())
    assert 1 == WHOLE.to_line().count(b"\n")


def test_every_field_of_the_settings_arrives() -> None:
    """For each field, a value that differs from the value in `WHOLE` is sent."""
    for name in (field.name for field in fields(Rendezvous)):
        if name == "options":
            continue
        other = replace(WHOLE, **{name: altered(getattr(WHOLE, name))})
        assert other == Rendezvous.from_line(other.to_line()) != WHOLE, name


def test_every_option_arrives() -> None:
    for name in (field.name for field in fields(LaunchOptions)):
        if name in ("trace", "server_trace"):
            continue
        options = replace(WHOLE.options, **{name: altered(getattr(WHOLE.options, name))})
        other = replace(WHOLE, options=options)
        assert options == Rendezvous.from_line(other.to_line()).options != WHOLE.options, name


def test_all_trace_options_arrive() -> None:
    trace = TraceOptions(Path("/elsewhere"), "messages", 12345, (3, 4))
    for name in (field.name for field in fields(TraceOptions)):
        given = WHOLE.options.trace
        assert given is not None
        one = replace(given, **{name: getattr(trace, name)})
        other = replace(WHOLE, options=replace(WHOLE.options, trace=one))
        assert one == Rendezvous.from_line(other.to_line()).options.trace != given, name


def test_the_options_of_the_servers_record_arrive() -> None:
    trace = TraceOptions(Path("/elsewhere"), "messages", 12345, (3, 4))
    other = replace(WHOLE, options=replace(WHOLE.options, server_trace=trace))

    assert trace == Rendezvous.from_line(other.to_line()).options.server_trace

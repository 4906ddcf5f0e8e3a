"""What a wire of the switch does with packets, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.hosts.wire import QUEUE_S, Counts, Wire

PACKET_BYTES = 1_000


def wire(**changes: object) -> Wire:
    made = Wire("seed")
    made.change(changes)
    return made


def due(made: Wire, times: Sequence[float]) -> list[float | None]:
    """Return when packets that are sent at these times are due."""
    return [made.accept(now_s, PACKET_BYTES) for now_s in times]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({}, [5.0, 5.0, 9.0]),
        ({"delay_s": 0.5}, [5.5, 5.5, 9.5]),
        ({"bit_per_s": 80_000}, [5.1, 5.2, 9.1]),  # a packet takes 0.1 s
        ({"bit_per_s": 80_000, "delay_s": 0.5}, [5.6, 5.7, 9.6]),
        ({"is_cut": True}, [None] * 3),
        ({"loss": 1.0}, [None] * 3),
    ],
)
def test_a_packet_is_due_after_its_turn_and_the_delay(shape, expected) -> None:
    assert expected == pytest.approx(due(wire(**shape), [5.0, 5.0, 9.0]))


def test_jitter_delays_packets_but_keeps_their_order() -> None:
    times = [number / 1000 for number in range(100)]
    at = [one for one in due(wire(jitter_s=0.01), times) if one is not None]
    delays = [arrives - sent for arrives, sent in zip(at, times, strict=True)]

    assert sorted(at) == at
    assert 0.0 <= min(delays) < 0.005 < max(delays) < 0.01


def test_a_full_queue_drops_packets() -> None:
    made = wire(bit_per_s=8 * PACKET_BYTES / QUEUE_S)  # a packet takes as long as the queue is

    assert [QUEUE_S, 2 * QUEUE_S, None, None] == due(made, [0.0] * 4)
    assert [3 * QUEUE_S] == due(made, [QUEUE_S])
    assert 2 == made.counts.overflowed


def test_losses_depend_only_on_the_seed() -> None:
    """A cut in between takes its packets, but changes no later loss."""
    whole, interrupted, other = wire(loss=0.3), wire(loss=0.3), Wire("another seed")
    other.change({"loss": 0.3})
    lost = [at is None for at in due(whole, range(1000))]
    again = [at is None for at in due(interrupted, range(500))]
    interrupted.change({"is_cut": True})
    due(interrupted, range(500, 600))
    interrupted.change({"is_cut": False})
    again += [True] * 100 + [at is None for at in due(interrupted, range(600, 1000))]

    assert lost[:500] + lost[600:] == again[:500] + again[600:]
    assert lost != [at is None for at in due(other, range(1000))]
    assert 200 < sum(lost) < 400


def test_a_cut_loses_packets_on_their_way() -> None:
    made = wire(delay_s=1.0)
    due(made, [0.0, 0.1, 0.2])
    assert made.deliver(PACKET_BYTES)
    made.change({"is_cut": True})
    assert not made.deliver(PACKET_BYTES)
    made.change({"is_cut": False})
    assert made.deliver(PACKET_BYTES)
    made.refuse(PACKET_BYTES)  # the receiver's device is down

    expected = Counts(
        offered=3,
        offered_bytes=3 * PACKET_BYTES,
        delivered=1,
        delivered_bytes=PACKET_BYTES,
        cut=2,
    )
    assert expected == made.counts


@pytest.mark.parametrize(
    "changes",
    [{"loss": 1.5}, {"loss": -0.1}, {"delay_s": -1.0}, {"jitter_s": 1e9}, {"bit_per_s": 0}],
)
def test_a_wrong_value_is_refused_with_its_name(changes: dict[str, float]) -> None:
    ((name, value),) = changes.items()
    with pytest.raises(ValueError, match=f"{name}={value!r}: expected"):
        wire(**changes)

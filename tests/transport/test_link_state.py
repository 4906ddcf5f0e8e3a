"""One end of a link: each envelope arrives once and in order, or both ends lose the link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.effort import many
from tests.transport.link_simulation import ALL_KINDS, LOSS_S, SimulatedLink
from varsim.errors import ProtocolError
from varsim.transport.link_state import (
    ACKNOWLEDGED_AT,
    FIRST_PROBE_S,
    LONGEST_LOOK_S,
    OLD_REPORT_LOOKS,
    Kind,
    LinkState,
    Packet,
)

SEEDS = many(200)
STEP_S = LONGEST_LOOK_S / 4
LONGEST_PROBE_S = 1.0


@pytest.fixture
def link() -> LinkState:
    """Return one end, which has looked at its connection at second 0."""
    state = LinkState(LOSS_S, LONGEST_PROBE_S)
    assert [] == state.look(0.0, connected=True)
    return state


def kinds(packets: list[Packet]) -> list[tuple[Kind, int, int]]:
    return [packet[:3] for packet in packets]


def envelope(number: int) -> Packet:
    return Packet(Kind.ENVELOPE, number, 0, [])


def test_envelopes_arrive_once_and_in_order_or_both_ends_lose_the_link() -> None:
    """The seeds together have every kind of event. Each failure names the command to repeat it."""
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        simulated = SimulatedLink(seed)
        try:
            simulated.run()
        except AssertionError as error:
            command = f"python -m tests.transport.link_simulation {seed}"
            raise AssertionError(f"{error}; repeat it with: {command}") from error
        seen += simulated.kinds
    assert set() == ALL_KINDS - set(seen)


def test_only_an_envelope_reported_missing_is_sent_again(link: LinkState) -> None:
    link.send([b"a"])
    link.send([b"b"])
    probes = [link.look(step * FIRST_PROBE_S, connected=True) for step in range(1, 10)]
    assert {(Kind.PROBE, 2, 0)} == {one[:3] for some in probes for one in some}

    link.arrives(Packet(Kind.MISSING, 0, 1))

    assert [(Kind.ENVELOPE, 2, 0, [b"b"])] == link.answers()
    assert [] == link.answers()


def test_probes_become_rare_and_progress_makes_them_frequent_again(link: LinkState) -> None:
    def probe_times(start: int, steps: int) -> Iterator[int]:
        for step in range(start, start + steps):
            if link.look(step * FIRST_PROBE_S, connected=True):
                yield step

    link.send([b"a"])
    assert [1, 2, 4, 8, 12, 16, 20] == list(probe_times(1, 20))
    link.arrives(Packet(Kind.RECEIVED, 0, 1))
    assert [22, 23, 25] == list(probe_times(21, 5))


def test_a_gap_is_reported_once_and_later_at_probes(link: LinkState) -> None:
    late = [envelope(3), envelope(4)]
    assert [False, False] == [link.arrives(one) for one in late]
    assert [(Kind.MISSING, 0, 0)] == kinds(link.answers())
    assert not link.arrives(late[0])
    assert not link.has_answers
    probe = Packet(Kind.PROBE, 4, 0)
    link.arrives(probe)  # it may have been sent before the report arrived
    assert [(Kind.RECEIVED, 0, 0)] == kinds(link.answers())
    for step in range(OLD_REPORT_LOOKS):
        link.look(step * STEP_S, connected=True)
    link.arrives(probe)
    assert [(Kind.MISSING, 0, 0)] == kinds(link.answers())


def test_envelopes_that_are_sent_again_are_not_reported_missing(link: LinkState) -> None:
    """Otherwise each of them would have all later ones sent again."""
    link.arrives(envelope(200))
    assert [(Kind.MISSING, 0, 0)] == kinds(link.answers())
    for number in range(1, ACKNOWLEDGED_AT):
        assert link.arrives(envelope(number))
        assert not link.has_answers
    assert link.arrives(envelope(ACKNOWLEDGED_AT))
    assert [(Kind.RECEIVED, 0, ACKNOWLEDGED_AT)] == kinds(link.answers())

    link.arrives(envelope(ACKNOWLEDGED_AT + 2))
    assert [(Kind.MISSING, 0, ACKNOWLEDGED_AT)] == kinds(link.answers())


def test_a_report_precedes_envelopes_that_are_sent_again(link: LinkState) -> None:
    """The peer then sends its envelopes at the same time."""
    link.send([b"a"])
    link.arrives(envelope(2))
    link.arrives(Packet(Kind.MISSING, 2, 0))
    assert [(Kind.MISSING, 1, 0), (Kind.ENVELOPE, 1, 0)] == kinds(link.answers())


def test_a_gap_is_reported_again_on_a_new_connection(link: LinkState) -> None:
    link.arrives(envelope(3))
    link.answers()
    link.look(FIRST_PROBE_S, connected=True, is_new=True)
    link.arrives(envelope(4))
    assert [(Kind.MISSING, 0, 0)] == kinds(link.answers())


def test_a_gap_that_is_filled_is_not_reported(link: LinkState) -> None:
    for number in (2, 1, 2):
        link.arrives(envelope(number))
    assert [(Kind.RECEIVED, 0, 2)] == kinds(link.answers())


def test_envelopes_that_need_no_answer_are_acknowledged_together(link: LinkState) -> None:
    for number in range(1, ACKNOWLEDGED_AT + 1):
        assert not link.has_answers
        link.arrives(envelope(number))
    assert [(Kind.RECEIVED, 0, ACKNOWLEDGED_AT)] == kinds(link.answers())


def test_an_envelope_acknowledges_received_envelopes(link: LinkState) -> None:
    for number in range(1, ACKNOWLEDGED_AT + 1):
        link.arrives(envelope(number))
    assert ACKNOWLEDGED_AT == link.send([]).received
    assert not link.has_answers


def test_an_acknowledgement_of_an_unsent_envelope_is_refused(link: LinkState) -> None:
    link.send([b"a"])
    with pytest.raises(ProtocolError, match="envelope 2 is acknowledged, but 1 were sent"):
        link.arrives(Packet(Kind.RECEIVED, 0, 2))


# ---------------------------------------------------------------- cuts


def look_until(link: LinkState, start_s: float, end_s: float, *, connected: bool) -> None:
    for step in range(round((end_s - start_s) / STEP_S) + 1):
        link.look(start_s + step * STEP_S, connected=connected)


def test_a_cut_may_not_last_longer_than_the_limit(link: LinkState) -> None:
    look_until(link, STEP_S, STEP_S + LOSS_S, connected=False)
    assert not link.is_lost
    link.look(2 * STEP_S + LOSS_S, connected=False)
    assert link.is_lost


def test_two_short_cuts_are_no_long_cut(link: LinkState) -> None:
    look_until(link, STEP_S, LOSS_S, connected=False)
    look_until(link, LOSS_S + STEP_S, LOSS_S + STEP_S, connected=True)
    look_until(link, LOSS_S + 2 * STEP_S, 2 * LOSS_S, connected=False)
    assert not link.is_lost


def test_a_connection_between_two_looks_ends_a_cut(link: LinkState) -> None:
    look_until(link, STEP_S, LOSS_S, connected=False)
    link.look(LOSS_S + STEP_S, connected=False, is_new=True)
    look_until(link, LOSS_S + 2 * STEP_S, 2 * LOSS_S, connected=False)
    assert not link.is_lost


def test_time_without_looks_does_not_count(link: LinkState) -> None:
    """The process computed or was stopped, so it could not see a connection."""
    look_until(link, STEP_S, LOSS_S, connected=False)
    look_until(link, 10 * LOSS_S, 11 * LOSS_S, connected=False)
    assert not link.is_lost


def test_the_time_of_a_stopped_peer_does_not_count(link: LinkState) -> None:
    look_until(link, STEP_S, 2 * LOSS_S, connected=False)
    assert link.is_lost
    link.excuse()
    look_until(link, 2 * LOSS_S + STEP_S, 3 * LOSS_S, connected=False)
    assert not link.is_lost


def test_a_new_connection_is_probed_at_once(link: LinkState) -> None:
    look_until(link, STEP_S, 1.0, connected=True)
    assert [(Kind.PROBE, 0, 0)] == kinds(link.look(1.01, connected=True, is_new=True))

"""Two ends of a link over a simulated network that loses, repeats and reorders packets.

The network also cuts the connection.

`python -m tests.transport.link_simulation SEED` replays one seed, and prints all events.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter, deque
from dataclasses import dataclass, field

from varsim.transport.link_state import Kind, LinkState, Packet

LOSS_S = 5.0
STEP_S = 0.1
LONGEST_PROBES_S = (1.0, 30.0)
CONNECTED_S = 1.0  # the shortest time between two cuts
WORKER = 1  # the end that notices new connections
QUIET_S = 200.0  # the time without faults in which all envelopes must arrive


@dataclass(slots=True)
class End:
    """One process: its state, the packets on their way to it, and what it has received."""

    state: LinkState
    inbox: deque[Packet] = field(default_factory=deque)
    sent: int = 0
    got: list[int] = field(default_factory=list)
    busy_until_s: float = 0.0
    is_new: bool = False  # whether a connection was made since its last look


class SimulatedLink:
    """A link with random faults; the same seed gives the same run."""

    def __init__(self, seed: int, *, verbose: bool = False) -> None:
        self._random = random.Random(seed)
        self._verbose = verbose
        self.now_s = 0.0
        self.ends = [End(LinkState(LOSS_S, longest)) for longest in LONGEST_PROBES_S]
        self.kinds: Counter[str] = Counter()
        self._cut_at_s = self._cut_until_s = 0.0
        self._faults = self._random.choice((0.0, 0.02, 0.2))
        self._longest_cut_s = self._random.choice((0.0, 0.5 * LOSS_S, 3 * LOSS_S))
        self._is_calm = False

    @property
    def is_cut(self) -> bool:
        return self.now_s < self._cut_until_s

    @property
    def is_lost(self) -> bool:
        return any(end.state.is_lost for end in self.ends)

    def run(self) -> None:
        """Run with faults, and then without faults; check all that arrives."""
        steps = self._random.randint(20, 120)
        for _ in range(steps):
            self._step()
            if self.is_lost:
                return self._lose()
        self._is_calm = True
        end_s = self.now_s + QUIET_S
        while any(end.state._kept for end in self.ends) and self.now_s < end_s:
            self._step()
            if self.is_lost:
                return self._lose()
        for one, other in (self.ends, self.ends[::-1]):
            assert list(range(one.sent)) == other.got, "an envelope is missing"
            assert not one.state._kept, "an envelope is not acknowledged"
        self.kinds["survived"] += 1
        return None

    def _lose(self) -> None:
        """Check that one end was right to lose the link. The other end must lose it, too."""
        self.kinds["lost"] += 1
        assert self.now_s - self._cut_at_s > LOSS_S, "lost although the cut was short"
        self._cut_until_s, self._is_calm = math.inf, True
        until_s = self.now_s + 10 * LOSS_S
        while not all(end.state.is_lost for end in self.ends):
            assert self.now_s < until_s, "only one end has lost the link"
            self._step()

    def _step(self) -> None:
        self.now_s += STEP_S
        draw = self._random
        may_cut = not self._is_calm and self.now_s > self._cut_until_s + CONNECTED_S
        if may_cut and self._longest_cut_s and draw.random() < 0.03:
            self._cut(draw.uniform(0, self._longest_cut_s))
        for number, end in enumerate(self.ends):
            if self.now_s < end.busy_until_s:
                continue
            if not self._is_calm:
                if draw.random() < 0.05:
                    end.busy_until_s = self.now_s + draw.expovariate(0.3)
                    self.kinds["busy"] += 1
                for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 70 if draw.random() < 0.05 else 3))):
                    self._transmit(number, end.state.send([b"%d" % end.sent]))
                    end.sent += 1
            self._serve(number, end)

    def _cut(self, duration_s: float) -> None:
        """Cut the connection: all packets on their way are lost."""
        self._say("cut", duration_s)
        self.kinds["cut"] += 1
        self._cut_at_s, self._cut_until_s = self.now_s, self.now_s + duration_s
        for end in self.ends:
            end.inbox.clear()
            end.is_new = True

    def _serve(self, number: int, end: End) -> None:
        while end.inbox:
            packet = end.inbox.popleft()
            self._say(f"end {number} receives", packet[:3])
            if end.state.arrives(packet):
                end.got.append(int(packet.frames[0]))
                assert end.got[-1] == len(end.got) - 1, "wrong order"
            end.state.validate()
        for packet in end.state.answers():
            self._transmit(number, packet)
        is_new = number == WORKER and end.is_new and not self.is_cut
        end.is_new = end.is_new and self.is_cut
        for packet in end.state.look(self.now_s, connected=not self.is_cut, is_new=is_new):
            self._transmit(number, packet)
        end.state.validate()

    def _transmit(self, sender: int, packet: Packet) -> None:
        inbox = self.ends[1 - sender].inbox
        self.kinds[packet.kind.name] += 1
        if self.is_cut:
            return
        fault = self._random.random() if not self._is_calm else 1.0
        if fault < self._faults:
            name = self._random.choice(("drop", "duplicate", "reorder"))
            self._say(f"{name}: end {sender} sends", packet[:3])
            self.kinds[name] += 1
            if name == "drop":
                return
            if name == "duplicate":
                inbox.append(packet)
            elif inbox:
                inbox.insert(self._random.randrange(len(inbox)), packet)
                return
        inbox.append(packet)

    def _say(self, *words: object) -> None:
        if self._verbose:
            sys.stdout.write(f"{self.now_s:7.1f} s  {' '.join(map(str, words))}\n")


ALL_KINDS = frozenset(
    ("survived", "lost", "cut", "busy", "drop", "duplicate", "reorder", *Kind.__members__)
)

if __name__ == "__main__":
    SimulatedLink(int(sys.argv[1]), verbose=True).run()

"""Carry, report and hold the messages of a scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from tests.scenarios.format import MessageFormat
from tests.scenarios.script import Command, Ends
from varsim.launch.link import Lost, Received
from varsim.protocol.messages import Create, Define, Layout, Message
from varsim.spec import Array
from varsim.sync.actions import COORDINATOR, Reduce
from varsim.sync.stalls import Sighting


class ScriptedLink:
    """The channel of a scenario's coordinator. Messages that are not held arrive in order.

    Args:
        say: Adds a line to the scenario's output.
        deliver: Gives a message to a replica.
        go_on: A function that executes the next step of the scenario. It is called when the
            coordinator waits and no message can arrive.
    """

    def __init__(
        self,
        num_replicas: int,
        say: Callable[[str], None],
        deliver: Callable[[int, Message], None],
        go_on: Callable[[], None],
    ) -> None:
        self.num_replicas = num_replicas
        self.format = MessageFormat()
        self.hidden: tuple[type[Message], ...] = (Create, Define)
        self._say = say
        self._deliver = deliver
        self._go_on = go_on
        self._now_s = 0.0
        self._until_s = 0.0  # the time at which the last command `wait` ends
        self._flight: list[tuple[Ends, Message]] = []
        self._layouts: list[tuple[Ends, Message]] = []
        self._held: set[Ends] = set()
        self._late: Counter[Ends] = Counter()  # messages that were held, and may arrive now

    # ------------------------------------------------------------ for the scenario

    def command(self, command: Command) -> None:
        """Execute one of the commands about messages and time."""
        match command.verb:
            case "wait":
                self._until_s = self._now_s + float(command.words[0])
            case "hold":
                self._held.add(command.ends)
            case "deliver":
                count = int(command.words[3]) if len(command.words) > 3 else 1
                self._late[command.ends] += count
            case "release":
                self._held.remove(command.ends)
                self._late[command.ends] = sum(ends == command.ends for ends, _ in self._flight)

    def post(self, sender: int, receiver: int, message: Message) -> None:
        """Send a message."""
        ends = sender, receiver
        self.format.hear(sender, message)
        if isinstance(message, Layout):  # scenarios do not show layouts
            self._layouts.append((ends, message))
            return
        self._flight.append((ends, message))
        if not isinstance(message, self.hidden):
            self._tell(ends, message, " (held)" if ends in self._held else "")

    def settle(self) -> None:
        """Deliver all messages to replicas, except the held messages."""
        while taken := self._take(to_replicas=True):
            self._deliver(taken[0][1], taken[1])

    def _tell(self, ends: Ends, message: Message, what: str) -> None:
        sender, receiver = ("coordinator" if end == COORDINATOR else end for end in ends)
        self._say(f"{sender} -> {receiver}: {self.format.tell(ends[0], message)}{what}")

    def _take(self, *, to_replicas: bool = False) -> tuple[Ends, Message] | None:
        for index, (ends, message) in enumerate(self._flight):
            if to_replicas and ends[1] == COORDINATOR:
                continue
            if self._late[ends]:
                self._late[ends] -= 1
                self._tell(ends, message, " (delivered)")
            elif ends in self._held:
                continue
            return self._flight.pop(index)
        return None

    # ------------------------------------------------------------ as the coordinator's channel

    def send(self, replica_id: int, messages: Sequence[Message]) -> None:
        """Send messages to a replica."""
        for message in messages:
            self.post(COORDINATOR, replica_id, message)

    def receive(self, timeout_s: float) -> list[tuple[int, Received]]:
        """Return the next message, or nothing if the scenario's time passes before it arrives."""
        while True:
            if self._layouts:
                (sender, _), layout = self._layouts.pop(0)
                return [(sender, layout)]
            taken = self._take()
            if taken is None and self._now_s < self._until_s:
                self._now_s = min(self._until_s, self._now_s + timeout_s)
                return []
            if taken is None:
                self._go_on()
            elif taken[0][1] == COORDINATOR:
                return [(taken[0][0], taken[1])]
            else:
                self._deliver(taken[0][1], taken[1])

    def now_s(self) -> float:
        """Return the scenario's time."""
        return self._now_s

    def reduce(self, request: Reduce, now_s: float) -> Array:
        """Compute a reduction immediately."""
        return request.computed()

    def fill(self) -> bool:
        """Return False: there is no shared memory."""
        return False

    def await_room(self, timeout_s: float) -> Collection[int]:
        """Return that no replica is late: the messages on their way are not limited."""
        return ()

    def where(self, replica_id: int) -> str | None:  # the name in `Channel`
        """Return None: replicas execute the commands of a scenario, and no line of a program."""
        return None

    def examine(
        self, replica_ids: Sequence[int], with_stacks: Collection[int]
    ) -> dict[int, Sighting]:
        """Return sightings without information, because there are no processes."""
        return dict.fromkeys(replica_ids, Sighting())

    def end(self, replica_id: int, reason: str) -> Lost:
        """Report the end of a worker."""
        self._say(f"the worker of replica {replica_id} {reason}")
        return Lost(reason, "", "")

    def close(self, busy: Collection[int] = ()) -> None:
        """Do nothing: there are no processes."""

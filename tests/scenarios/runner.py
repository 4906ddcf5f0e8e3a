"""Run a golden scenario: execute its commands, and report the messages and values that follow."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from tests.scenarios.replica_driver import COMBINING, ReplicaDriver
from tests.scenarios.script import (
    Command,
    ScenarioBlock,
    ScenarioError,
    literal,
    parse,
    render,
    show,
    show_each,
    value_of,
)
from tests.scenarios.scripted_link import ScriptedLink
from varsim import location as locations
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.policies import parse_synchronization
from varsim.distribute.values import DistributedValues
from varsim.distribute.variable import Variable
from varsim.errors import VarsimError
from varsim.launch.backends import use_launcher
from varsim.launch.launcher import LaunchOptions
from varsim.launch.link import Link
from varsim.protocol.messages import (
    Create,
    Define,
    HostCall,
    MergeCall,
    Message,
    Payload,
    Report,
    Returned,
    Start,
)
from varsim.protocol.python_values import LiveCodec
from varsim.protocol.references import References
from varsim.shells.coordinator import RaisedBy
from varsim.spec import (
    Context,
    Operation,
    Synchronization,
    VariableAggregation,
    VariableSpec,
)
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_events import ProgramCall
from varsim.testing.simulation import Validation

Cell = tuple[Synchronization, Context, Operation, VariableAggregation]
"""A cell of the policy table, and an aggregation with which the cell is used."""

REPLICA_COMMANDS = frozenset("merge_call host_call end raise".split()) | COMBINING
"""Commands that only replicas execute.

A replica also executes an assign or a read with `replica=`.
"""

LINK_COMMANDS = frozenset("hold deliver release wait".split())
"""Commands about messages and time, which a scenario can have at any position."""


locations._NOT_THE_USERS += (
    "tests.scenarios",
)  # so that an operation's location is not in the runner


class _Failed(Exception):
    """The command `fail` raises this error in a merge_call's function."""


@dataclass(slots=True)
class _ScenarioCall:
    implicit: bool  # the scenario has no command `call`: the replicas' commands begin the call
    ended: bool = False  # the replicas of an implicit call have got the command `end`


class ScenarioRunner:
    """Runs a scenario: `play` executes its commands; `text` is the scenario with its output."""

    def __init__(self, text: str) -> None:
        self.cells: set[Cell] = set()  # the used cells of the policy table
        self._blocks = list(parse(text))
        self._steps: deque[Command | ScenarioBlock] = deque()
        for block in self._blocks:
            self._steps += [*block.commands, block]
        self.lines: list[str] = []  # the output of the current block
        self._drivers: list[ReplicaDriver] = []
        self._link: ScriptedLink
        self._strategy: MirroredStrategy
        self._variables: dict[str, DistributedVariable] = {}
        self._call: _ScenarioCall | None = None  # None while the program itself runs
        self._shows_all = False

    @property
    def text(self) -> str:
        """Return the scenario with its output."""
        return render(self._blocks)

    def play(self) -> None:
        """Execute all commands.

        Raises:
            ScenarioError: A command is not possible.
        """
        with use_launcher(self), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = self._show_warning
            while self._steps:
                self._do(self._steps.popleft())

    def say(self, line: str) -> None:
        """Add one or several lines to the output of the block."""
        self.lines += line.splitlines()

    def _show_warning(self, message: Warning | str, *about: Any, **_: Any) -> None:
        _category, filename, line, *_rest = about
        self.say(f"warning at {filename}:{line}: {message}")

    # ------------------------------------------------------------ commands

    def _do(self, step: Command | ScenarioBlock) -> None:
        if isinstance(step, ScenarioBlock):
            self._close(step)
        elif step.verb in REPLICA_COMMANDS or "replica" in step.options:
            if self._call is None:
                self._steps.appendleft(step)
                self._run(_ScenarioCall(implicit=True))
            else:
                self._drivers[step.replica_id].tell(step)
        elif step.verb in LINK_COMMANDS:
            self._link.command(step)
        elif step.verb == "show":
            self._shows_all, self._link.hidden = True, ()
        elif self._call is not None:
            raise ScenarioError(f"{step.location}: {step.verb}: the program waits for its call")
        elif step.verb == "cluster":
            self._start(step)
        elif step.verb == "call":
            self._run(_ScenarioCall(implicit=False))
        elif step.verb == "fail":
            raise _Failed(" ".join(step.words))
        elif step.verb in self._PROGRAM_COMMANDS:
            self._refusable(step, partial(self._PROGRAM_COMMANDS[step.verb], self, step))
        else:
            raise ScenarioError(f"{step.location}: there is no command {step.verb}")

    def _refusable(self, step: Command, act: Callable[[], None]) -> None:
        """Perform an operation at the location of the step, and report its error."""
        file, _, line = step.location.rpartition(":")
        code = compile("\n" * (int(line) - 1) + "act()", file, "eval")
        try:
            eval(code, {"__name__": "program", "act": act})
        except VarsimError as error:
            self.say(f"{step.verb} {step.words[0]}: {type(error).__name__}: {error}")

    def _close(self, block: ScenarioBlock) -> None:
        self._link.settle()
        changed = [driver.changed() for driver in self._drivers]
        for variable_id, spec in self._link.format.specs.items():
            for replica_id, values in enumerate(changed):
                if variable_id in values:
                    self.say(f"replica {replica_id}: {spec.name} = {show(values[variable_id])}")
        block.output, self.lines = self.lines, []

    def _start(self, step: Command) -> None:
        count = int(step.options["replicas"])
        strict = bool(literal(step.options.get("strict", "False")))
        devices = [f"cpu:{i}" for i in range(count)]
        auto = step.options.get("auto", "on_write")
        self._strategy = MirroredStrategy(devices, strict=strict, auto=auto)
        self._strategy.start()

    def _create(self, step: Command) -> None:
        name, options = step.words[0], step.options
        with self._strategy.scope():
            variable: Any = Variable(
                literal(options.get("value", "0")),
                name=name,
                dtype=options.get("dtype", "float32"),
                shape=literal(options["shape"]) if "shape" in options else None,
                synchronization=parse_synchronization(options.get("synchronization", "AUTO")),
                aggregation=VariableAggregation[options.get("aggregation", "NONE")],
            )
        assert isinstance(variable, DistributedVariable)
        self._variables[name] = variable

    # ------------------------------------------------------------ the program's commands

    def _read(self, step: Command) -> None:
        variable = self.variable(step.words[0])
        self.used(variable.spec, Context.CROSS_REPLICA, Operation.READ)
        self.say(f"read {step.words[0]} = {show(variable.read_value())}")

    def _write(self, step: Command) -> None:
        name, operation, *words = step.words
        variable = self.variable(name)
        self.used(variable.spec, Context.CROSS_REPLICA, Operation(operation))
        getattr(variable, operation)(value_of(words))

    def _update(self, step: Command) -> None:
        name, operation, *words = step.words
        variable = self.variable(name)
        self.used(variable.spec, Context.UPDATE, Operation(operation))
        if operation == Operation.READ.value:
            seen = self._strategy.extended.update(
                variable, lambda own: own.read_value(), group=False
            )
            self.say(f"update {name} sees {show_each(seen)}")
            return

        def write(own: Any, value: Any) -> None:
            getattr(own, operation)(value)

        self._strategy.extended.update(variable, write, args=(value_of(words),))

    def _values(self, step: Command) -> None:
        values = [part.read_value() for part in self.variable(step.words[0]).values]
        self.say(f"values {step.words[0]} = {show_each(values)}")

    def _drop(self, step: Command) -> None:
        del self._variables[step.words[0]]

    def variable(self, name: str) -> DistributedVariable:
        """Return the variable with this name."""
        if name not in self._variables:
            raise ScenarioError(f"there is no variable {name!r}")
        return self._variables[name]

    def used(self, spec: VariableSpec, context: Context, operation: Operation) -> None:
        """Record that a cell of the policy table is used."""
        self.cells.add((spec.synchronization, context, operation, spec.aggregation))

    # ------------------------------------------------------------ calls

    def _run(self, call: _ScenarioCall) -> None:
        around, self._call = self._call, call
        if not self._shows_all:
            self._link.hidden = (Create, Define, *([Start, Returned] if call.implicit else []))
        arguments = [Payload(((), {}))] * len(self._drivers)
        try:
            site = CallSite("step", called_at="train.py:90")
            self._strategy.coordinator.run(
                ProgramCall("step", Payload("step"), arguments, site), self
            )
        except RaisedBy as raised:
            text = raised.raised.exception.tree
            self.say(f"the call raised the exception of replica {raised.replica_id}: {text}")
        except (VarsimError, _Failed) as error:
            self.say(f"the call failed: {type(error).__name__.lstrip('_')}: {error}")
        else:
            if not call.implicit:
                self.say("the call returned")
        finally:
            self._call = around

    def merge(self, merge_calls: Sequence[MergeCall]) -> list[Payload]:
        """Run a merge_call's function: the commands up to `merged`."""
        self.say("all replicas are in merge_call: the program runs replica 0's function, once")
        around, self._call = self._call, None
        try:
            while not (isinstance(step := self._next(), Command) and step.verb == "merged"):
                self._do(step)
        finally:
            self._call = around
        result = value_of(step.words) if step.words else None
        if isinstance(result, DistributedValues):
            return [Payload(part) for part in result.values]
        return [Payload(result)] * len(merge_calls)

    def perform(self, replica_id: int, host_call: HostCall) -> tuple[Payload, bool]:
        """Report a replica's request, and answer it without doing the operation."""
        self.say(f"the program answers replica {replica_id}: {host_call.request.tree}")
        return Payload(f"{host_call.request.tree}, done"), False

    def show(self, replica_id: int, text: str, *, is_error: bool) -> None:
        """Report what a replica has printed."""
        self.say(f"replica {replica_id} prints{' to stderr' if is_error else ''}: {text}")

    def report(self, replica_id: int, report: Report) -> None:
        """Report the warnings of a replica, unless another replica has given the same warning."""
        for text, location in report.warnings:
            what = text.partition("\n")[0]  # later lines depend on the replica
            if self._strategy.is_new(what):
                self.say(f"warning at {location}: {text}")

    def warn(self, text: str, location: str) -> None:
        """Report a warning of the coordinator."""
        self.say(f"warning at {location}: {text}")

    def _next(self) -> Command | ScenarioBlock:
        if not self._steps:
            raise ScenarioError("the scenario ends while a call runs")
        return self._steps.popleft()

    # ------------------------------------------------------------ messages

    def launch(self, options: LaunchOptions, references: References) -> Link:
        """Start the replicas."""
        count = len(options.devices)
        self._drivers = [ReplicaDriver(self, replica_id, count) for replica_id in range(count)]
        self._link = ScriptedLink(count, self.say, self._deliver, self._go_on)
        return Link(self._link, self._link, LiveCodec(), observer=Validation())

    def post(self, sender: int, receiver: int, message: Message) -> None:
        """Send a message."""
        self._link.post(sender, receiver, message)

    def _deliver(self, replica_id: int, message: Message) -> None:
        self._drivers[replica_id].handle(message)

    def _go_on(self) -> None:
        step, call = self._next(), self._call
        verb = step.verb if isinstance(step, Command) else "----"
        if call is None and verb not in {*LINK_COMMANDS, "----"}:
            raise ScenarioError(f"{verb}: the program waits for a message that is held")
        of_a_replica = isinstance(step, Command) and "replica" in step.options
        if call is None or not call.implicit or call.ended or of_a_replica or verb in LINK_COMMANDS:
            self._do(step)
            return
        self._steps.appendleft(step)
        call.ended = True
        for replica_id, driver in enumerate(self._drivers):
            driver.tell(Command("end", (), {"replica": str(replica_id)}, ""))

    _PROGRAM_COMMANDS: ClassVar[dict[str, Callable[[ScenarioRunner, Command], None]]] = {
        "variable": _create,
        "read": _read,
        "write": _write,
        "update": _update,
        "values": _values,
        "drop": _drop,
    }

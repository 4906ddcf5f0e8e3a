"""Hostile input in large numbers: `python -m tests.fuzzing frames 1000000`, `… states 100000`.

The input is a damaged envelope, or a well-formed message that is wrong in the present state. The
only allowed error is ProtocolError. A state that accepts a message must still be valid. The command
prints the counts, the time of the slowest case, and the largest memory of a case.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints
from unittest import mock

import msgpack
import numpy as np

from tests.memory import peak_bytes, resident_bytes
from tests.testing.programs import PROGRAMS, policies_with_a_copy
from varsim.errors import ProtocolError, WorkerLost
from varsim.extension_dtypes import NUMPY_DTYPES
from varsim.protocol.codec import MESSAGES, PROTOCOL_VERSION, decode, encode
from varsim.protocol.messages import Message, Payload, ToCoordinator, ToWorker
from varsim.protocol.parts import LEAF, Structure
from varsim.sync.coordinator_events import MessageArrives
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.replica_state import ReplicaState
from varsim.testing import simulated_cluster

Random = random.Random
Case = Callable[[], None]

_NUMBERS = (-1, 0, 0, 1, 1, 2, 2, 3, 4, 7, 100, 2**31, 2**62)
_TEXTS = ("", "train.py:1", "x", "\udcff", "\u4e2d", "['a']", "a list of 2", "a dict", LEAF)
_OTHER_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**40,
    2**63,
    1.5,
    "x",
    b"x",
    [],
    [0],
    [[]] * 3,
)
_SHAPES = ((), (), (1,), (2,), (2,), (3,), (0,), (2, 2), (2, 3))


# ---------------------------------------------------------------- random values


def value_of(hint: Any, rng: Random) -> Any:
    """Return a random value for a type annotation that occurs in messages."""
    if hint == Structure:
        nodes = (("", rng.choice(("a list of 2", LEAF))), ("[0]", LEAF), ("[1]", LEAF))
        return nodes[: rng.randrange(4)]
    arguments = get_args(hint)
    match get_origin(hint) or hint:
        case origin if origin is UnionType:
            return value_of(rng.choice(arguments), rng)
        case origin if origin is np.ndarray:
            return array_of(rng)
        case origin if origin is np.dtype:
            return rng.choice(NUMPY_DTYPES)
        case origin if origin is tuple and Ellipsis in arguments:
            return tuple(value_of(arguments[0], rng) for _ in range(rng.choice((0, 1, 1, 2, 3))))
        case origin if origin is tuple:
            return tuple(value_of(argument, rng) for argument in arguments)
        case origin if origin is NoneType:
            return None
        case origin if origin is Payload:
            return Payload(value_of(rng.choice((int, str, NoneType)), rng))
        case cls if dataclasses.is_dataclass(cls):
            return instance_of(cls, rng)
        case enum if issubclass(enum, Enum):
            return rng.choice(list(enum))
        case plain:
            choices = {
                int: _NUMBERS,
                float: (0.0, 1.0, -1.0, float("inf")),
                str: _TEXTS,
                bool: (False, True),
                bytes: (b"", b"x"),
            }
            return rng.choice(choices[plain])


def array_of(rng: Random) -> Any:
    dtype = rng.choice((np.dtype(np.float32), np.dtype(np.int64), rng.choice(NUMPY_DTYPES)))
    shape = rng.choice(_SHAPES)
    return (
        np.array(rng.choices((0, 1, 2, 3, 100, -1), k=int(np.prod(shape))))
        .astype(dtype)
        .reshape(shape)
    )


def instance_of(cls: Any, rng: Random) -> Any:
    """Return an instance of a dataclass with random fields."""
    hints = _hints(cls)
    return cls(**{name: value_of(hint, rng) for name, hint in hints.items()})


_known_hints: dict[type, dict[str, Any]] = {}


def _hints(cls: Any) -> dict[str, Any]:
    if cls not in _known_hints:
        hints = get_type_hints(cls)
        names = [field.name for field in dataclasses.fields(cls) if field.init]
        _known_hints[cls] = {name: hints[name] for name in names}
    return _known_hints[cls]


def changed(value: Any, rng: Random) -> Any:
    """Return a copy of a dataclass in which one field, or a part of this field, is different."""
    hints = _hints(type(value))
    if not hints:
        return value
    name = rng.choice(list(hints))
    old = getattr(value, name)
    if dataclasses.is_dataclass(old) and not isinstance(old, Payload) and rng.random() < 0.8:
        new = changed(old, rng)
    elif isinstance(old, tuple) and old and rng.random() < 0.8:
        new = _changed_tuple(old, hints[name], rng)
    elif isinstance(old, np.ndarray) and rng.random() < 0.5:
        new = _changed_array(old, rng)
    elif isinstance(old, int) and not isinstance(old, bool) and rng.random() < 0.5:
        new = old + rng.choice((-2, -1, 1, 2))
    else:
        new = value_of(hints[name], rng)
    return dataclasses.replace(value, **{name: new})


def _changed_tuple(old: tuple[Any, ...], hint: Any, rng: Random) -> tuple[Any, ...]:
    index = rng.randrange(len(old))
    kept = list(old)
    match rng.randrange(4):
        case 0:
            del kept[index]
        case 1:
            kept.insert(index, kept[index])
        case 2 if dataclasses.is_dataclass(kept[index]):
            kept[index] = changed(kept[index], rng)
        case 2 if isinstance(kept[index], np.ndarray):
            kept[index] = _changed_array(kept[index], rng)
        case _:
            kept = list(value_of(hint, rng)) if get_origin(hint) is tuple else kept
    return tuple(kept)


def _changed_array(old: Any, rng: Random) -> Any:
    match rng.randrange(5):
        case 0:
            return old.astype(rng.choice(NUMPY_DTYPES))
        case 1:
            return old[None]
        case 2:
            return np.concatenate([old.reshape(-1)] * 2)
        case 3:
            return old.reshape(-1)[:-1]
        case _:
            new = np.array(old)
            if new.size and new.dtype.kind in "iuf":
                new.reshape(-1)[rng.randrange(new.size)] = rng.choice((0, 1, 2, 100))
            return new


# ---------------------------------------------------------------- frames


def corpus(rng: Random) -> list[list[bytes]]:
    """Return the frames of 300 envelopes; each has random messages of random classes."""
    made: list[list[bytes]] = []
    while len(made) < 300:
        messages = [instance_of(rng.choice(MESSAGES), rng) for _ in range(rng.randrange(1, 4))]
        with suppress(ValueError):  # a negative size cannot be encoded
            made.append([bytes(frame) for frame in encode(messages)])
    return made


def damaged(frames: list[bytes], rng: Random) -> list[bytes]:
    """Return the frames of an envelope with changed bytes, values or frames."""
    result = [bytearray(frame) for frame in frames]
    for _ in range(rng.choice((1, 1, 2, 3))):
        frame = rng.choice(result)
        offset = rng.randrange(len(frame) + 1)
        match rng.randrange(8):
            case 0 | 1:
                frame[offset : offset + 1] = rng.randbytes(1)
            case 2:
                frame[offset:offset] = rng.randbytes(rng.randrange(9))
            case 3:
                del frame[offset : offset + rng.randrange(1, 9)]
            case 4 if len(result) > 1:
                result.remove(frame)
            case 5:
                result.append(bytearray(frame))
            case 6:
                result.reverse()
            case _:
                result[0][:] = _other_value(bytes(result[0]), rng)
    if rng.random() < 0.0005:
        result[0][:] = hostile(rng)
    return [bytes(frame) for frame in result]


def _other_value(header: bytes, rng: Random) -> bytes:
    """Replace one value in a header by another value."""
    try:
        tree = msgpack.unpackb(header, unicode_errors="surrogatepass", strict_map_key=False)
    except (ValueError, TypeError):
        return header
    node = tree
    while type(node) is list and node:
        index = rng.randrange(len(node))
        if type(node[index]) is not list or rng.random() < 0.2:
            node[index] = rng.choice(_OTHER_VALUES)
            break
        node = node[index]
    packed: bytes = msgpack.packb(tree, unicode_errors="surrogatepass")
    return packed


def hostile(rng: Random) -> bytes:
    """Return a large header whose decoded values take much more memory than the header."""
    unit = rng.choice((b"\x90", b"\x80", b"\xe0", b"\xa2ab", b"\xcd\x01\x01", b"\x01", b"\x91\x90"))
    count = rng.choice((2**14, 2**18, 2**20, 2**22, 2**25)) // len(unit)
    length = count.to_bytes(4, "big")
    return b"\x93%b\xc4\x00\xdd%b%b" % (msgpack.packb(PROTOCOL_VERSION), length, unit * count)


def frame_cases(rng: Random) -> Iterator[Case]:
    """Yield functions without end; each decodes a damaged envelope."""
    envelopes = corpus(rng)
    while True:
        frames = damaged(rng.choice(envelopes), rng)
        yield lambda frames=frames: _decode(frames)  # type: ignore[misc]


def _decode(frames: list[bytes]) -> None:
    decode(frames)


# ---------------------------------------------------------------- states


@dataclasses.dataclass
class Recorded:
    """A function that creates a state, and the events of this state in a run."""

    make: Callable[[], Any]
    events: list[Any]


def recorded(seeds: range) -> list[Recorded]:
    """Run programs in the simulated cluster; return the events of every state.

    With the first seed no worker is lost. With each other seed one worker is lost.
    """
    found: dict[int, Recorded] = {}
    kept = []  # states that are not freed, so that no id is reused

    def recording(cls: Any, make: Callable[[Any], Callable[[], Any]]) -> Any:
        handle = cls.handle

        def handling(state: Any, event: Any) -> Any:
            if id(state) not in found:
                kept.append(state)
                found[id(state)] = Recorded(make(state), [])
            found[id(state)].events.append(event)
            return handle(state, event)

        return mock.patch.object(cls, "handle", handling)

    def coordinator(state: Any) -> Callable[[], Any]:
        count = state.num_replicas
        return lambda: CoordinatorState(count)

    def replica(state: Any) -> Callable[[], Any]:
        replica_id, count = state.replica_id, state.num_replicas
        return lambda: ReplicaState(replica_id, count)

    with recording(CoordinatorState, coordinator), recording(ReplicaState, replica):
        for program in (*PROGRAMS, policies_with_a_copy):
            for seed in seeds:
                deaths = {seed % 3: 3 * seed} if seed else {}
                with suppress(WorkerLost), simulated_cluster(seed, deaths=deaths):
                    program()
    return list(found.values())


def state_cases(kind: type, rng: Random, seeds: range) -> Iterator[Case]:
    """Yield functions without end; each gives a wrong message to a state in a recorded run."""
    runs = [one for one in recorded(seeds) if isinstance(one.make(), kind)]
    to_coordinator = kind is CoordinatorState
    classes = get_args(ToCoordinator if to_coordinator else ToWorker)
    while True:
        run = rng.choice(runs)
        state = run.make()
        stop = rng.randrange(len(run.events))
        for event in run.events[:stop]:
            with suppress(Exception):  # an event of the recorded program can raise any error
                state.handle(event)
        for _ in range(10):
            if to_coordinator:
                event = _wrong_arrival(run, stop, classes, rng)
            else:
                event = _wrong_message(run, stop, classes, rng)
            yield lambda state=state, event=event: _handled(state, event)  # type: ignore[misc]


def _handled(state: Any, event: Any) -> None:
    """Give a message to a state. If the state accepts it, check that the state is consistent."""
    state.handle(event)
    state.validate()


def _wrong_arrival(run: Recorded, stop: int, classes: Any, rng: Random) -> MessageArrives:
    near = run.events[max(0, stop - 4) : stop + 8] if rng.random() < 0.8 else run.events
    arrivals = [event for event in near if isinstance(event, MessageArrives)]
    count = run.make().num_replicas
    if not arrivals or rng.random() < 0.15:
        return MessageArrives(rng.randrange(count), instance_of(rng.choice(classes), rng), 1.0)
    known = rng.choice(arrivals)
    replica_id = known.replica_id if rng.random() < 0.8 else rng.randrange(count)
    message = known.message if rng.random() < 0.2 else changed(known.message, rng)
    return MessageArrives(replica_id, message, known.now_s)


def _wrong_message(run: Recorded, stop: int, classes: Any, rng: Random) -> Message:
    near = run.events[max(0, stop - 4) : stop + 8] if rng.random() < 0.8 else run.events
    messages = [event for event in near if isinstance(event, Message)]
    if not messages or rng.random() < 0.15:
        made: Message = instance_of(rng.choice(classes), rng)
        return made
    known = rng.choice(messages)
    return known if rng.random() < 0.2 else changed(known, rng)


# ---------------------------------------------------------------- the command

MOST_CPU_S = 1.0
MOST_BYTES = 100 * 2**20


@dataclasses.dataclass
class Outcome:
    """The counts of many cases, and the first traceback of each kind of crash."""

    refused: int = 0
    accepted: int = 0
    slowest_s: float = 0.0  # processor time
    most_bytes: int = 0  # the largest growth of the process
    crashes: Counter[str] = dataclasses.field(default_factory=Counter)
    first: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        crashes = sum(self.crashes.values())
        lines = [
            f"{self.refused + self.accepted + crashes:,} cases: {self.refused:,} refused, "
            f"{self.accepted:,} harmless, {crashes:,} other errors; "
            f"at most {self.slowest_s:.3f} s of processor time and "
            f"{self.most_bytes / 2**20:.0f} MiB"
        ]
        for name, count in self.crashes.most_common():
            lines.append(f"  {count:7,} {name}\n{self.first[name]}")
        return "\n".join(lines)

    @property
    def is_good(self) -> bool:
        """Return whether no case crashed, took too long or needed too much memory."""
        within = self.slowest_s <= MOST_CPU_S and self.most_bytes <= MOST_BYTES
        return within and not self.crashes


def judged(cases: Iterator[Case], count: int) -> Outcome:
    """Run `count` cases; count any exception except a ProtocolError as a crash."""
    outcome = Outcome()
    for _ in range(count):
        case = next(cases)
        before = resident_bytes()
        started_s = time.process_time()
        try:
            case()
            outcome.accepted += 1
        except ProtocolError:
            outcome.refused += 1
        except Exception as error:  # every other error is counted as a crash
            last = traceback.extract_tb(error.__traceback__)[-1]
            name = f"{type(error).__name__} at {last.filename.rpartition('/')[2]}:{last.lineno}"
            outcome.crashes[name] += 1
            if name not in outcome.first:
                outcome.first[name] = "".join(traceback.format_exception(error)[-6:])[-900:]
        outcome.slowest_s = max(outcome.slowest_s, time.process_time() - started_s)
        outcome.most_bytes = max(outcome.most_bytes, peak_bytes() - before)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["frames", "states"])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = Random(options.seed)
    kinds = {"frames": frame_cases(rng)}
    if options.what == "states":
        kinds = {
            kind.__name__: state_cases(kind, rng, range(3))
            for kind in (CoordinatorState, ReplicaState)
        }
    is_good = True
    for name, cases in kinds.items():
        outcome = judged(cases, options.count)
        is_good = is_good and outcome.is_good
        sys.stdout.write(f"{name}: {outcome}\n")
    return int(not is_good)


if __name__ == "__main__":
    sys.exit(main())

"""The shared memory of a cluster whose processes are simulated in one process."""

from __future__ import annotations

import os
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from varsim.protocol.buffers import SharedReference
from varsim.transport.arena import Arena, create_file
from varsim.transport.leases import SHARED_FROM_BYTES, Leases

Array = np.ndarray[Any, Any]
LIMIT_BYTES = 2**30
INT = np.dtype(np.int64)
SIZES = tuple(SHARED_FROM_BYTES // 8 + extra for extra in (0, 1, 5_000, 50_000))


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """An array that a process holds, and the value that all its elements must keep."""

    array: Array
    number: int

    def is_unchanged(self) -> bool:
        return bool((self.array == self.number).all())


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """Arrays that were sent: for each, a reference or a copy, its size and its number."""

    arrays: list[tuple[SharedReference | Array, int, int]]
    note: bytes | None


@dataclass(slots=True, eq=False)
class Process:
    """One process: its arena, its leases by peer, and the arrays that it holds."""

    name: str
    arena: Arena
    leases: dict[str, Leases] = field(default_factory=dict)
    inbox: dict[str, deque[Envelope]] = field(default_factory=dict)
    held: list[Kept] = field(default_factory=list)

    def used_bytes(self) -> int:
        """Return the total size of this process's own blocks that are in use."""
        self.arena.settle()
        free = sum(size * len(blocks) for size, blocks in self.arena._free.items())
        return self.arena._held_bytes - free


class SharedCluster:
    """A coordinator "c" and two workers "a" and "b" with one shared file."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.warnings: list[str] = []
        descriptor = create_file()
        self.processes = {
            name: Process(
                name,
                Arena(os.dup(descriptor), owner, 3, limit_bytes, self.warnings.append),
            )
            for owner, name in enumerate("cab")
        }
        os.close(descriptor)
        for worker in "ab":
            for one, other in ((worker, "c"), ("c", worker)):
                process = self.processes[one]
                process.leases[other] = Leases(process.arena)
                process.inbox[other] = deque()
        self._next_number = 1

    def __getitem__(self, name: str) -> Process:
        return self.processes[name]

    def close(self) -> None:
        for process in self.processes.values():
            process.held.clear()
            for leases in process.leases.values():
                leases.cancel()
            process.arena.close()

    def make(self, name: str, size: int = SIZES[0], *, shared: bool = True) -> Kept:
        """Return a new array of a process. Its elements are a number that no other array has."""
        arena = self[name].arena
        array = arena.empty((size,), INT) if shared else None
        if array is None:
            array = np.empty(size, INT)
        kept = Kept(array, self._next_number)
        self._next_number += 1
        array.fill(kept.number)
        self[name].held.append(kept)
        return kept

    def send(self, sender: str, receiver: str, *arrays: Kept) -> None:
        """Put arrays, and the note of released blocks, into an envelope."""
        leases = self[sender].leases[receiver]
        sent = []
        for kept in arrays:
            reference = leases.put(kept.array)
            content = kept.array.copy() if reference is None else reference
            sent.append((content, kept.array.size, kept.number))
        self[receiver].inbox[sender].append(Envelope(sent, leases.note()))

    def deliver(self, receiver: str, sender: str) -> list[Kept]:
        """Take the oldest envelope in the order of `codec.decode`: arrays first, then the note."""
        process = self[receiver]
        leases = process.leases[sender]
        envelope = process.inbox[sender].popleft()
        taken = []
        for content, size, number in envelope.arrays:
            array = content
            if isinstance(content, SharedReference):
                array = leases.get(content, size * 8).view(INT)
            assert isinstance(array, np.ndarray)
            taken.append(Kept(array, number))
        if envelope.note is not None:
            leases.take_note(envelope.note)
        process.held += taken
        return taken

    def pass_on(self, sender: str, receiver: str, *arrays: Kept) -> list[Kept]:
        """Send arrays, and deliver the envelope immediately."""
        self.send(sender, receiver, *arrays)
        return self.deliver(receiver, sender)

    def settle(self) -> None:
        """Deliver all envelopes, and exchange notes of released blocks until no process has one."""
        ways = [(name, peer) for name, process in self.processes.items() for peer in process.leases]
        quiet = False
        while not quiet:
            quiet = True
            for name, peer in ways:
                while self[name].inbox[peer]:
                    self.deliver(name, peer)
                note = self[peer].leases[name].note()
                if note is not None:
                    quiet = False
                    self[name].leases[peer].take_note(note)

    def let_go(self) -> None:
        """Drop all arrays of all processes."""
        for process in self.processes.values():
            process.held.clear()
        self.settle()
        for process in self.processes.values():  # `settle` has delivered arrays to processes
            process.held.clear()
        self.settle()

    def assert_unchanged(self) -> None:
        for process in self.processes.values():
            for kept in process.held:
                assert kept.is_unchanged(), f"{process.name} holds {kept.number}: {kept.array}"

    def assert_free(self) -> None:
        """Check that each process has only free blocks, and has lent none."""
        for process in self.processes.values():
            assert 0 == process.used_bytes(), process.name
            for peer, leases in process.leases.items():
                assert not leases._lent, f"{process.name} has lent to {peer}: {leases._lent}"

    # ------------------------------------------------------------ at random

    def act(self, chance: random.Random) -> None:
        """Make, send, deliver or drop arrays at random."""
        process = self[chance.choice("ccab")]
        match chance.choice("make make send send send deliver deliver deliver drop drop".split()):
            case "make":
                shared = chance.random() < 0.8
                self.make(process.name, chance.choice(SIZES), shared=shared)
            case "send" if process.held:
                peer = chance.choice(list(process.leases))
                some = chance.choices(process.held, k=chance.randint(1, 3))
                self.send(process.name, peer, *[part_of(kept, chance) for kept in some])
            case "deliver":
                peer = chance.choice(list(process.inbox))
                if process.inbox[peer]:
                    self.deliver(process.name, peer)
            case "drop" if process.held:
                chance.shuffle(process.held)
                del process.held[: chance.randint(1, 4)]
            case _:
                pass


def part_of(kept: Kept, chance: random.Random) -> Kept:
    """Return the array, or a view of a part of it."""
    if chance.random() < 0.7:
        return kept
    start = chance.randint(0, 100)
    return Kept(kept.array[start : kept.array.size - chance.randint(0, 100)], kept.number)

"""A history of a run without faults, with variables of every kind and all events recorded.

The module uses no code of varsim's states or of the judge. A few lines of arithmetic compute the
events that a run would have recorded. Every value is a small whole number, so that no sum rounds.
Every write changes its component, and is read before the next write.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tests.analysis.build import HistoryBuilder
from varsim.tracing.history import PROGRAM

REPLICAS = 3
JOINED = 1  # how many replicas take no part in the last call, if the run `joins`
DIVISOR = REPLICAS * (REPLICAS - JOINED)  # a mean over the replicas of any call is a whole number
MERGED = {"w": "MEAN", "s": "SUM", "f": "ONLY_FIRST_REPLICA"}
MERGED_ROWS = "b"  # the replicas' sparse writes to this variable are merged
LOCAL_ROWS = "e"  # each replica changes rows of its own component of this variable
ROWS = 4  # the number of rows of these two variables
MERGED[MERGED_ROWS] = "MEAN"
LOCAL = {"p": "NONE", "t": "SUM", "m": "MEAN", "o": "ONLY_FIRST_REPLICA", "n": "NONE"}
SHAPED = "w"  # the variable whose value is a list of a number and its double
DEFERRED = "a"

Rows = tuple[list[int], list[int]]
"""Indices and values."""


class Healthy(HistoryBuilder):
    """A run of a few calls.

    Args:
        joins: Whether a replica takes no part in the last call. No replica writes the adaptive
            variable in such a call.
    """

    def __init__(self, seed: int, calls: int = 3, *, joins: bool = False) -> None:
        super().__init__(REPLICAS)
        self.chance = random.Random(seed)
        self.variable("w", "ON_WRITE", "MEAN", "float32", "[2]")
        self.variable("s", "ON_WRITE", "SUM", "int32", "[]")
        self.variable("f", "ON_WRITE", "ONLY_FIRST_REPLICA", "int64", "[]")
        self.variable("p", "ON_WRITE", "NONE", "float32", "[]")
        self.variable("t", "ON_READ", "SUM", "int32", "[]")
        self.variable("m", "ON_READ", "MEAN", "float64", "[]")
        self.variable("o", "ON_READ", "ONLY_FIRST_REPLICA", "int32", "[]")
        self.variable("n", "NONE", "NONE", "float16", "[]")
        self.variable(MERGED_ROWS, "ON_WRITE", "MEAN", "float32", f"[{ROWS}]")
        self.variable(LOCAL_ROWS, "NONE", "NONE", "float64", f"[{ROWS}]")
        self.variable("a", "AUTO", "SUM", "int32", "[]")
        self.held: dict[str, list[Any]] = {name: [0] * REPLICAS for name in self.variables}
        self.counter = 0
        for name in (MERGED_ROWS, LOCAL_ROWS):
            self.held[name] = [[0] * ROWS] * REPLICAS
        self.versions = dict.fromkeys(self.variables, 0)
        for name in self.variables:
            self.add(PROGRAM, "create", name, self._mirror(name), version=0)
        for name in self.variables:
            self._replicas_read(name, None)
        for call in range(1, calls + 1):
            self._call(call, REPLICAS - JOINED if joins and call == calls else REPLICAS)
            self._program_writes()
        for name in self.variables:
            self._program_reads(name)
            self._replicas_read(name, None)

    def _number(self) -> int:
        """Return a positive multiple of `DIVISOR`."""
        return DIVISOR * self.chance.randint(1, 30)

    def _rows(self, indices: Sequence[int]) -> Rows:
        """Return rows whose values occur once in the run, and are multiples of `DIVISOR`."""
        numbers = range(self.counter + 1, self.counter + 1 + len(indices))
        self.counter += len(indices)
        return [*indices], [DIVISOR * number for number in numbers]

    def _value(self, name: str, number: Any) -> Any:
        return [number, 2 * number] if name == SHAPED else number

    # ------------------------------------------------------------ a call

    def _call(self, call: int, present: int) -> None:
        columns = {} if present == REPLICAS else {"present": present}
        start = self.add(PROGRAM, "call", call=call, **columns)
        order = self.chance.sample(range(present), present)
        for replica in order:
            self.add(replica, "begin", call=call, cause=start)
            for name in self.chance.sample([*LOCAL], 3):
                self._local_write(replica, name, call)
            self._local_sparse_write(replica, call)
        self._merge(call, order)
        if present == REPLICAS:
            self._deferred(call, order)
        arrivals = {
            i: self.add(i, "arrive", call=call, position=len(MERGED), operation="merge_call")
            for i in order
        }
        self._hear(arrivals)
        answer = self.add(PROGRAM, "answer", call=call, position=len(MERGED), operation="merged")
        ends = {i: self.add(i, "return", call=call, cause=answer) for i in order}
        self._hear(ends)
        self.add(PROGRAM, "finish", call=call)

    def _local_write(self, replica: int, name: str, call: int) -> None:
        number = self._number()
        operation = self.chance.choice(["assign", "assign_add", "assign_sub"])
        held = self.held[name]
        after = {"assign": number, "assign_add": held[replica] + number}
        after["assign_sub"] = held[replica] - number
        if after[operation] == held[replica]:
            operation = "assign_add"
        held[replica] = after[operation]
        self.add(replica, "write", name, number, operation=operation, call=call)
        self._read(replica, name, call)

    def _local_sparse_write(self, replica: int, call: int) -> None:
        """Write one row twice and another row once. The last value of each row remains."""
        once, twice = self.chance.sample(range(ROWS), 2)
        rows = self._rows([twice, once, twice])
        held = self.held[LOCAL_ROWS]
        held[replica] = with_rows(held[replica], "scatter_update", rows)
        columns = {"operation": "scatter_update", "call": call, "at": rows[0]}
        self.add(replica, "write", LOCAL_ROWS, rows[1], **columns)
        self._read(replica, LOCAL_ROWS, call)

    def _merge(self, call: int, order: Sequence[int]) -> None:
        sent, operations = {}, {}
        numbers: dict[str, list[Any]] = {}
        for name in MERGED:
            operations[name] = self.chance.choice(["assign", "assign_add", "assign_sub"])
            numbers[name] = [self._number() for _ in order]
        operations[MERGED_ROWS] = self.chance.choice(["scatter_add", "scatter_sub"])
        numbers[MERGED_ROWS] = [
            self._rows(self.chance.choices(range(ROWS), k=i + 1)) for i in range(len(order))
        ]
        for replica in order:
            for position, name in enumerate(MERGED):
                travels = MERGED[name] != "ONLY_FIRST_REPLICA" or replica == 0
                value = self._value(name, numbers[name][replica]) if travels else None
                columns = {"operation": operations[name], "call": call, "position": position}
                if name == MERGED_ROWS:
                    columns["at"], value = numbers[name][replica]
                self.add(replica, "write", name, value, **columns)
            sent[replica] = self.add(replica, "wait", "w", call=call)
        self._hear(sent)
        commits = {}
        for position, (name, aggregation) in enumerate(MERGED.items()):
            if name == MERGED_ROWS:
                commits[name] = self._merged_rows(operations[name], numbers[name], call, position)
                continue
            operand = numbers[name][0]
            if aggregation != "ONLY_FIRST_REPLICA":
                operand = sum(numbers[name]) // (len(order) if aggregation == "MEAN" else 1)
            commits[name] = self._merged(name, operations[name], operand, call, position)
        for replica in order:
            for name, commit in commits.items():
                self._install(replica, name, commit, call)
            for name in commits:
                self._read(replica, name, call)
        for replica in range(len(order), REPLICAS):
            for name, commit in commits.items():
                self._install(replica, name, commit, None)
                self._read(replica, name, None)

    def _merged(self, name: str, operation: str, operand: int, call: int, position: int) -> int:
        before = self.held[name][0]
        after = {"assign": operand, "assign_add": before + operand}
        after["assign_sub"] = before - operand
        self.held[name] = [after[operation]] * REPLICAS
        self.versions[name] += 1
        columns = {"version": self.versions[name], "call": call, "position": position}
        return self.add(PROGRAM, "commit", name, self._mirror(name), operation="assign", **columns)

    def _merged_rows(self, operation: str, parts: Sequence[Rows], call: int, position: int) -> int:
        indices = [index for own, _ in parts for index in own]
        values = [value // len(parts) for _, own in parts for value in own]
        columns = {"call": call, "position": position}
        return self._commit_rows(operation, (indices, values), **columns)

    def _commit_rows(self, operation: str, rows: Rows, **columns: int) -> int:
        name = MERGED_ROWS
        self.held[name] = [with_rows(self.held[name][0], operation, rows)] * REPLICAS
        self.versions[name] += 1
        columns |= {"version": self.versions[name]}
        return self.add(
            PROGRAM, "commit", name, rows[1], at=rows[0], operation=operation, **columns
        )

    def _mirror(self, name: str, replica: int = 0) -> Any:
        return self._value(name, self.held[name][replica])

    def _deferred(self, call: int, order: Sequence[int]) -> None:
        for replica in order:
            for _ in range(2):
                number = self._number()
                self.held[DEFERRED] = [one + number for one in self.held[DEFERRED]]
                columns = {"operation": "assign_add", "call": call}
                self.add(replica, "write", DEFERRED, number, **columns)
        self._hear({i: self.add(i, "wait", DEFERRED, call=call) for i in order})
        self.versions[DEFERRED] += 1
        columns = {"operation": "assign", "version": self.versions[DEFERRED]}
        commit = self.add(PROGRAM, "commit", DEFERRED, self.held[DEFERRED][0], **columns)
        for replica in order:
            self._install(replica, DEFERRED, commit, call)
            self._read(replica, DEFERRED, call)

    # ------------------------------------------------------------ outside

    def _program_writes(self) -> None:
        for name in self.chance.sample(["w", "s", "p", "t", "m", "n"], 3):
            number = self._number()
            number += number in self.held[name]  # so that the write changes every component
            self.held[name] = [number] * REPLICAS
            self.versions[name] += 1
            self.add(PROGRAM, "write", name, self._mirror(name), operation="assign")
            columns = {"operation": "assign", "version": self.versions[name]}
            commit = self.add(PROGRAM, "commit", name, self._mirror(name), **columns)
            for replica in range(REPLICAS):
                self._install(replica, name, commit, None)
            self._program_reads(name)
            self._replicas_read(name, None)

        rows = self._rows([self.chance.randrange(ROWS)])
        self.add(PROGRAM, "write", MERGED_ROWS, rows[1], at=rows[0], operation="scatter_sub")
        commit = self._commit_rows("scatter_sub", rows)
        for replica in range(REPLICAS):
            self._install(replica, MERGED_ROWS, commit, None)
        self._program_reads(MERGED_ROWS)
        self._replicas_read(MERGED_ROWS, None)

    def _program_reads(self, name: str) -> None:
        held, version = self.held[name], self.versions[name]
        asked = {"t": range(REPLICAS), "m": range(REPLICAS), "o": [0], "n": [1], "p": [2]}
        asked[LOCAL_ROWS] = [2]
        told = {}
        for replica in asked.get(name, ()):
            fetch = self.add(PROGRAM, "fetch", name, replica=replica)
            columns = {"version": version, "cause": fetch}
            told[replica] = self.add(replica, "component", name, held[replica], **columns)
        self._hear(told)
        one = {"n": 1, "p": 2, LOCAL_ROWS: 2}.get(name)
        value = self._mirror(name, one or 0)
        if name in {"t", "m"}:
            value = sum(held) if name == "t" else sum(held) / REPLICAS
        self.add(PROGRAM, "read", name, value, version=version, replica=one)

    def _replicas_read(self, name: str, call: int | None) -> None:
        for replica in range(REPLICAS):
            self._read(replica, name, call)

    # ------------------------------------------------------------ events

    def _read(self, replica: int, name: str, call: int | None) -> None:
        value = self._mirror(name, replica)
        how = "value" if self.chance.random() < 0.5 else "digest_of"
        self.add(replica, "read", name, **{how: value}, version=self.versions[name], call=call)

    def _install(self, replica: int, name: str, commit: int, call: int | None) -> None:
        columns = {"version": self.versions[name], "cause": commit, "operation": "assign"}
        self.add(replica, "install", name, call=call, **columns)

    def _hear(self, last: dict[int, int]) -> None:
        for replica, event in last.items():
            self.add(PROGRAM, "receive", replica=replica, cause=event)


def with_rows(component: Sequence[int], operation: str, rows: Rows) -> list[int]:
    """Return a component after a sparse write: one row after the other."""
    after = [*component]
    for index, value in zip(*rows, strict=True):
        change = {"scatter_add": after[index] + value, "scatter_sub": after[index] - value}
        after[index] = change.get(operation, value)
    return after

"""Which variables cannot save merges by deferring writes, according to the recorded order."""

from __future__ import annotations

from collections import Counter

from varsim.tracing.history import PROGRAM
from varsim.whatif.recorded import RecordedProgram, RecordedWrite, accesses


def least_exchanges(program: RecordedProgram) -> dict[int, tuple[int, int]]:
    """Return each variable's number of merges, and the least number of exchanges of adaptive AUTO.

    A read by the program or by a replica needs one exchange for all writes since the last one. So
    the reads of one replica and of the program give a lower limit: other replicas can only need
    more. A variable that no replica writes is not in the result.
    """
    writers: dict[int, int] = {}  # variable → the replica whose accesses are counted
    merges: Counter[int] = Counter()
    exchanges: Counter[int] = Counter()
    unread: set[int] = set()
    for one in accesses(program.actions):
        variable = one.variable
        if one.replica is not None:
            continue  # an access to one component
        if isinstance(one, RecordedWrite):
            if one.process != PROGRAM and writers.setdefault(variable, one.process) == one.process:
                merges[variable] += 1
                unread.add(variable)
        elif variable in unread and one.process in (PROGRAM, writers[variable]):
            exchanges[variable] += 1
            unread.remove(variable)
    return {variable: (count, exchanges[variable]) for variable, count in merges.items()}

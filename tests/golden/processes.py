"""Selects the cases for real worker processes: a sample, because processes are slow.

Worker processes share no memory with the program. So some programs have another outcome on worker
processes, for example if replicas change a list. `LEFT_OUT` has patterns that find such programs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from tests.golden.recorded import Case
from tests.golden.rules import not_offered

LEFT_OUT = {
    "its function changes an object of the program": r"\bL\.append\(|\bH\[|\bN\[0\]",
    "it returns a replica's context": r"s\.run\(lambda: ctx\(\)\)",
    "it starts workers of its own": r"MirroredStrategy\(",
}
"""Reason why a program has another outcome on worker processes → pattern in its text."""


def fits_processes(case: Case) -> bool:
    """Return whether a case has the same outcome with replicas in their own processes."""
    return (
        (case.is_mirrored or case.family in ("central", "mixing"))
        and not not_offered(case)
        and not any(re.search(text, case.text, re.MULTILINE) for text in LEFT_OUT.values())
    )


def sample(cases: Iterable[Case], count: int, seed: int) -> list[Case]:
    """Return a sample of suitable cases from all families, grouped by number of replicas."""
    chance = random.Random(seed)
    families: dict[str, list[Case]] = {}
    for case in cases:
        if fits_processes(case):
            families.setdefault(case.family, []).append(case)
    chosen: list[Case] = []
    for rank, family in enumerate(sorted(families.values(), key=len)):
        share = (count - len(chosen)) // (len(families) - rank)
        chosen += chance.sample(family, min(share, len(family)))
    return sorted(chosen, key=lambda case: case.world)

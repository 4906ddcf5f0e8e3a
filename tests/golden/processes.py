"""What is compared on real worker processes: a sample, since processes are slow.

They share no memory with the program. What a program sees of its functions' work through such
memory has another outcome there; it is left out, by what its text says.
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
"""Why a program has another outcome on processes → how its text shows that."""


def fits_processes(case: Case) -> bool:
    """Whether a case has the same one outcome with replicas in processes of their own."""
    return (
        (case.is_mirrored or case.family == "mixing")
        and not not_offered(case)
        and not any(re.search(text, case.text, re.MULTILINE) for text in LEFT_OUT.values())
    )


def sample(cases: Iterable[Case], count: int, seed: int) -> list[Case]:
    """Some of the cases that fit, of all families alike; grouped by their number of replicas."""
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

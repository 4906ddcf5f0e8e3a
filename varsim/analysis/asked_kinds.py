"""The words by which users ask for kinds of finding: `--fail-on`, and `fail_on=` in tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from varsim.analysis.unexplained import DIFFERENCE
from varsim.nearest import did_you_mean

if TYPE_CHECKING:
    from varsim.analysis.findings.model import Finding

ANY: Final = "any"
"""Every kind of finding."""


def words() -> list[str]:
    """Return the words for kinds: the kinds of finding, and two other words."""
    from varsim.analysis.search import KINDS

    return [*dict.fromkeys(kind.word for kind in KINDS), DIFFERENCE, ANY]


def meant_by(text: str) -> frozenset[str]:
    """Return the kinds that a word means: the kind of this name, or all kinds with this word.

    So `conflict` means `write-write-conflict` and `read-write-conflict`.

    Raises:
        ValueError: There is no such kind; the text has the nearest ones.
    """
    from varsim.analysis.findings.model import as_word

    word, known = as_word(text), words()
    if word in known:
        return frozenset({word})
    found = frozenset(one for one in known if word and f"-{word}-" in f"-{one}-")
    if not found:
        near = did_you_mean(word, known, most=3)
        raise ValueError(
            f"{word}: there is no such kind of finding{near}\n  kinds: {', '.join(known)}"
        )
    return found


def kinds_in(findings: Iterable[Finding], asked: frozenset[str]) -> list[str]:
    """Return the requested kinds among findings, in alphabetical order."""
    kinds = {one.kind.word for one in findings}
    return sorted(one for one in kinds if one in asked or ANY in asked)

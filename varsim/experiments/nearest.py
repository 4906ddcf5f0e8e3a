"""The nearest right word, for errors about a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_MAX_LISTED: Final = 20  # as many words as one reads in an error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A clause such as "; did you mean 'workers'?", or nothing if no word is near."""
    words = list(known)
    by_small_letters = {one.lower(): one for one in words}
    begun = [one for one in words if len(word) > 1 and one.lower().startswith(word.lower())]
    if len(begun) == 1:
        return f"; did you mean {begun[0]!r}?"
    near = difflib.get_close_matches(word.lower(), by_small_letters, n=1, cutoff=0.5)
    return f"; did you mean {by_small_letters[near[0]]!r}?" if near else ""


def listed(known: Iterable[str], *, none: str = "none") -> str:
    """The words, with commas; the first of them if they are many."""
    words = list(known)
    more = len(words) - _MAX_LISTED
    shown = words[:_MAX_LISTED] if more > 0 else words
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") or none

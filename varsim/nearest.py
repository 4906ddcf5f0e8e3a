"""Find the valid words that are nearest to an invalid one, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_MAX_LISTED: Final = 20  # longer lists are hard to read
_MAX_NEAR: Final = 3
_SIMILAR: Final = 0.5
_ALMOST_EQUAL: Final = 0.75


def nearest(
    word: str, known: Iterable[str], most: int = _MAX_NEAR, *, cutoff: float = _SIMILAR
) -> list[str]:
    """Return similar words, the nearest first.

    If exactly one word begins with `word`, return only this word.

    Args:
        cutoff: The smallest similarity, from 0 to 1; see `difflib.get_close_matches`.
    """
    words = list(dict.fromkeys(known))
    begun = [one for one in words if len(word) > 1 and one.lower().startswith(word.lower())]
    if len(begun) == 1:
        return begun
    by_small_letters = {one.lower(): one for one in reversed(words)}
    near = difflib.get_close_matches(word.lower(), by_small_letters, n=most, cutoff=cutoff)
    return [by_small_letters[one] for one in near]


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """Return a clause such as "; did you mean 'workers'?", or "" if no word is near."""
    near = [repr(one) for one in nearest(word, known, most)]
    if not near:
        return ""
    return f"; did you mean {' or '.join(filter(None, [', '.join(near[:-1]), near[-1]]))}?"


def misspelt(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Return " (did you mean tf.LocalSGD?)", or "" if no word is almost equal.

    Args:
        prefix: What to write before the word, such as "tf.".
    """
    near = nearest(word, known, 1, cutoff=_ALMOST_EQUAL)
    return f" (did you mean {prefix}{near[0]}?)" if near else ""


def listed(known: Iterable[str]) -> str:
    """Return the words separated by commas; of many words, only the first few."""
    words = list(known)
    more = len(words) - _MAX_LISTED
    shown = words[:_MAX_LISTED] if more > 0 else words
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") or "none"


def no_variable(name: str, names: Iterable[str]) -> str:
    """Return an error about an unknown variable, with all names, or the nearest of many names."""
    known = list(dict.fromkeys(names))
    near = did_you_mean(name, known, most=_MAX_NEAR)
    said = f"there is no variable {name!r}{near}"
    if near and len(known) > _MAX_LISTED:
        return said
    few = known if len(known) <= _MAX_LISTED else known[:_MAX_NEAR]
    more = len(known) - len(few)
    return f"{said}\n  variables: {listed(few)}" + (f" and {more} more" if more else "")

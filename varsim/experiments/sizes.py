"""Read the sizes that users write, such as `64 MiB`."""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(r"\s*(\d{1,18})\s*(B|KiB|MiB|GiB|TiB)?\s*")
_UNITS: Final = {None: 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def size_bytes(text: str) -> int | None:
    """Return a size in bytes; None if the text is not a whole number with or without a unit."""
    found = _SIZE.fullmatch(text)
    return None if found is None else int(found[1]) * _UNITS[found[2]]

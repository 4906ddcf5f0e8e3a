"""The environment variables that go from the program to its workers on other hosts."""

from __future__ import annotations

import os
from typing import Final

from varsim.environment import PREFIX

_SENT: Final = (
    PREFIX,
    "PYTHONHASHSEED",
    "GOTO_",
    "OPENBLAS_",
    "MKL_",
    "BLIS_",
    "NPY_",
)
"""The program's environment variables that its workers on other hosts get, by their first letters:
those that decide how workers compute. Without OPENBLAS_CORETYPE, for example, a product of matrices
can have other last bits there than here."""


def sent_environment() -> dict[str, str]:
    """Return the environment variables of this process that decide how its workers compute."""
    return {name: value for name, value in os.environ.items() if name.startswith(_SENT)}

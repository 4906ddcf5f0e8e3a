"""The word for a difference from a single device that no rule explains."""

from __future__ import annotations

from typing import Final

DIFFERENCE: Final = "unexplained-difference"
"""How `varsim check --fail-on` and SARIF name such a difference. It is not a finding."""

"""Show objects in notebooks: the base of classes that `varsim.notebook` shows as HTML."""

from __future__ import annotations

import importlib
from typing import Final

_VIEWS: Final = "varsim.notebook.views"
"""The module that makes the HTML. It is imported when an object is shown, because it uses all of
varsim, and a worker or a program outside notebooks does not need it."""


class ShownAsHtml:
    """An object that Jupyter and IPython show as HTML, in the colours of the notebook."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        """Return the HTML; None if the text of `repr` must do, such as on a replica."""
        shown: str | None = importlib.import_module(_VIEWS).html_of(self)
        return shown

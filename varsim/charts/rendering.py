"""Render charts: as SVG, as PNG, and the JavaScript that draws them in a page.

This is the only module that imports `vl_convert`, the package `vl-convert-python`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

from varsim.charts.chart import Spec, without_hidden_points
from varsim.charts.theme import ANY_PAGE, LIGHT
from varsim.errors import ConfigError

NOT_INSTALLED: Final = (
    "the report needs the package {name}, which is not installed: "
    "pip install 'varsim-distribute[report]'"
)

_SNIPPET: Final = "window.vegaEmbed = vegaEmbed;"
_VEGA_LITE: Final = "6.4"  # the newest one of vl-convert 1.9; later releases keep it
_SCALE: Final = 2  # pixels of a PNG for each pixel of the specification
_PAPER: Final = "white"


def _converter() -> ModuleType:
    """Import the package.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise ConfigError(NOT_INSTALLED.format(name="vl-convert-python")) from error
    module: ModuleType = vl_convert
    return module


def require_renderer() -> None:
    """Raise an error if charts cannot be rendered.

    Raises:
        ConfigError: The package is not installed; the text says how to install it.
    """
    _converter()


def javascript() -> str:
    """Return the JavaScript of Vega-Embed, Vega-Lite and Vega, 0.9 MB; it needs no network."""
    text: str = _converter().javascript_bundle(_SNIPPET, vl_version=_VEGA_LITE)
    return text


def svg(spec: Spec) -> str:
    """Return a chart as SVG, for a light page."""
    text: str = _converter().vegalite_to_svg(spec, vl_version=_VEGA_LITE, config=_on_paper())
    return text


def svg_for_any_page(spec: Spec) -> str:
    """Return a chart as SVG that takes the colour of texts from the page around it."""
    text: str = _converter().vegalite_to_svg(
        without_hidden_points(spec), vl_version=_VEGA_LITE, config=ANY_PAGE
    )
    return text


def png(spec: Spec) -> bytes:
    """Return a chart as PNG, for a light page, with two pixels for each one of its size."""
    found: bytes = _converter().vegalite_to_png(
        spec, vl_version=_VEGA_LITE, scale=_SCALE, config=_on_paper()
    )
    return found


def _on_paper() -> dict[str, Any]:
    return {**LIGHT, "background": _PAPER}

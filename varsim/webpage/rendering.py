"""Render a page as one HTML file that needs no network: text, charts, style and script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache, lru_cache
from importlib import resources
from types import ModuleType
from typing import Any, Final

from varsim.charts.chart import Chart, without_legends
from varsim.charts.rendering import NOT_INSTALLED, javascript, require_renderer
from varsim.charts.theme import DARK, LIGHT
from varsim.errors import ConfigError
from varsim.visible import visible
from varsim.webpage.section import Page

_PACKAGE: Final = "varsim.webpage"
_STYLES: Final = ("page.css",)
_SCRIPTS: Final = ("page.js",)
_MOST_ROWS: Final = 150  # of the table below a chart; further rows are counted


def require_page() -> None:
    """Raise an error if pages cannot be rendered.

    Raises:
        ConfigError: A package of the extra `report` is not installed; the text says how to install.
    """
    require_renderer()
    _jinja()


def _jinja() -> ModuleType:
    try:
        import jinja2
    except ImportError as error:
        raise ConfigError(NOT_INSTALLED.format(name="Jinja2")) from error
    module: ModuleType = jinja2
    return module


def html(page: Page) -> str:
    """Return the file of a page.

    Its content security policy allows only the scripts in it, and no request.

    Raises:
        ConfigError: A package of the extra `report` is not installed.
    """
    scripts = [_asset(name) for name in dict.fromkeys(_used(page, "scripts", _SCRIPTS))]
    if page.charts:
        scripts.insert(0, javascript())
    sources = [_in_script(text) for text in scripts]
    template = _environment().get_template("page.html")
    text: str = template.render(
        page=page,
        style="\n".join(_asset(name) for name in dict.fromkeys(_used(page, "styles", _STYLES))),
        scripts=sources,
        hashes=" ".join(f"'sha256-{_digest(one)}'" for one in sources),
        themes=_json({"light": LIGHT, "dark": DARK}),
        most_rows=_MOST_ROWS,
    )
    return text


def _used(page: Page, field: str, always: tuple[str, ...]) -> list[str]:
    return [*always, *(name for one in page.sections for name in getattr(one, field))]


@cache
def _environment() -> Any:
    """Return what compiles the templates, each at its first use."""
    jinja2 = _jinja()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(json=_json, chart=_chart_data, code=_with_code, shown=visible)
    return environment


def _json(value: Any) -> Any:
    """Return JSON for a script element: no text in it can end the element."""
    import markupsafe

    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return markupsafe.Markup(text.replace("<", "\\u003c"))  # noqa: S704  # no markup is left in it


def _chart_data(chart: Chart) -> Any:
    spec = without_legends(chart.spec)  # the boxes beside the chart are its legend
    return _json({"spec": spec, "palette": chart.palette, "styles": dict(chart.styles)})


def _with_code(text: str) -> Any:
    """Return a text of which the parts in `backquotes` are code."""
    import markupsafe

    parts = re.split(r"`([^`\n]+)`", visible(text))
    marked = (
        markupsafe.Markup("<code>{}</code>").format(one) if place % 2 else markupsafe.escape(one)
        for place, one in enumerate(parts)
    )
    return markupsafe.Markup("").join(marked)


def _in_script(text: str) -> str:
    """Return a script as it stands in the file: nothing in it can end the element."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@lru_cache
def _asset(name: str) -> str:
    return resources.files(_PACKAGE).joinpath("assets", name).read_text("utf-8")

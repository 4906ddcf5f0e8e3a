"""Charts in notebooks: as SVG, in the colours of the notebook, if the extra `report` is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from varsim.charts.chart import Chart
from varsim.charts.rendering import svg_for_any_page
from varsim.errors import ConfigError
from varsim.notebook.fragments import paragraph, text

_WITHOUT: Final = "Charts need an extra: `pip install 'varsim-distribute[report]'`"
_STYLE: Final = "max-width:min(100%,46em);height:auto;color:inherit"


def drawn(charts: Sequence[Chart], most: int) -> str:
    """Return the first `most` charts; without the extra, how to install it; "" without charts."""
    try:
        return "".join(map(_figure, charts[:most]))
    except ConfigError:
        return paragraph(_WITHOUT, faint=True)


def _figure(chart: Chart) -> str:
    said = text(chart.description)
    begin = f'<svg role="img" aria-label="{said}" style="{_STYLE}"'
    drawing = svg_for_any_page(chart.spec).replace("<svg", begin, 1)
    title = f"<figcaption>{text(chart.title)}</figcaption>"
    notes = "".join(paragraph(one, faint=True) for one in chart.notes)
    return f'<figure style="margin:.6em 0">{title}{drawing}{notes}</figure>'

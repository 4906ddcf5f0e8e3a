"""The model of a page: sections, each with a template, its content and its charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from varsim.charts.chart import Chart


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of a page.

    A new section is a function that returns one, a template in `templates/`, and a line in the
    list of a page's sections.
    """

    key: str  # unique in the page; the target of links
    title: str
    template: str  # the name of a file in `templates/`
    content: Mapping[str, Any] = field(default_factory=dict)  # the variables of the template
    charts: tuple[Chart, ...] = ()
    scripts: tuple[str, ...] = ()  # names of JavaScript files in `assets/`, which the page includes
    styles: tuple[str, ...] = ()  # names of CSS files in `assets/`


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Sections about one record; most pages have one part without a heading."""

    heading: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: a title, a sentence, and parts."""

    title: str
    outcome: str  # the result in one sentence
    mood: str  # "good", "bad" or "unsure": the sign beside the outcome
    parts: tuple[Part, ...]

    @property
    def sections(self) -> list[Section]:
        """Return all sections, in order."""
        return [section for part in self.parts for section in part.sections]

    @property
    def charts(self) -> list[Chart]:
        """Return all charts, in order."""
        return [chart for section in self.sections for chart in section.charts]

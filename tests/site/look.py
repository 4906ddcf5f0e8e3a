"""Open pages of a site in headless Chromium without a network, and print what they do as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from docs.browser import browser, opened

if TYPE_CHECKING:
    from docs.browser import Scheme

LOOKS: Final[tuple[tuple[int, Scheme], ...]] = ((1280, "light"), (390, "dark"))
_CUT_TABLES: Final = """
    [...document.querySelectorAll(".table-wrapper")].filter(
        table => table.scrollWidth > table.clientWidth).length
"""
_RESULTS: Final = """
    [...document.querySelectorAll("ul.search li > a")].map(one => one.getAttribute("href"))
"""
_FOUND_MS: Final = 30_000  # the time in which a search shows its first result


def looked_at(site: Path, pages: list[str]) -> list[dict[str, Any]]:
    """Return for each page and window the errors, the requests to a network, and what is cut.

    `cut_tables` counts the tables that are visible as a whole only after scrolling to the right.
    """
    found = []
    with browser() as chromium:
        for page in pages:
            for width, scheme in LOOKS:
                with opened(
                    chromium, site / page, width=width, scheme=scheme, ready="article"
                ) as one:
                    found.append(
                        {
                            "page": page,
                            "width": width,
                            "errors": one.errors,
                            "requests": [url for url in one.requests if not _is_local(url)],
                            "overflow": one.overflow,
                            "cut_tables": one.page.evaluate(_CUT_TABLES),
                        }
                    )
    return found


def results_of_search(site: Path, word: str) -> list[str]:
    """Return the addresses of the pages that the search of the site finds, from files alone."""
    with (
        browser() as chromium,
        opened(chromium, site / "search.html", width=1280, ready="body") as one,
    ):
        one.page.goto(f"{(site / 'search.html').as_uri()}?q={word}")
        one.page.wait_for_selector("ul.search li", timeout=_FOUND_MS)
        one.page.wait_for_function("document.querySelector('.search-summary').textContent")
        found: list[str] = one.page.evaluate(_RESULTS)
        return found


def _is_local(url: str) -> bool:
    return url.startswith(("file:", "data:"))


def main() -> None:
    """Look at the pages that the command line names."""
    site, word, *pages = sys.argv[1:]
    looks = looked_at(Path(site), pages)
    print(json.dumps({"looks": looks, "results": results_of_search(Path(site), word)}))


if __name__ == "__main__":
    main()

"""Look at a report in headless Chromium, and print what is there as JSON.

It is a process of its own, because the driver of the browser keeps an event loop and pipes.

    python -m tests.webpage.look report.html
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from docs.browser import browser, opened

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
MARKS = '.mark-line path[d^="M"], .mark-rect path[d^="M"], .mark-symbol path[d^="M"]'

TOOLS = """Array.from(document.querySelectorAll("input, button, summary, .keys, fieldset legend"))
    .filter((one) => one.checkVisibility() && !one.closest("details[open]") && !one.closest("th"))
    .map((one) => one.textContent)"""
"""The texts of what only a screen has: fields, buttons, hints, and what opens closed parts.

A heading by which a table is sorted is a button, too, and stays on paper.
"""


def charts(page: Any) -> dict[str, int]:
    """Return the number of marks in each chart."""
    found: dict[str, int] = page.evaluate(
        """marks => Object.fromEntries(Array.from(document.querySelectorAll("figure.chart"),
        one => [one.id, one.querySelectorAll(marks).length]))""",
        MARKS,
    )
    return found


def switched(page: Any) -> dict[str, bool]:
    """Switch a series off and on again, by the keyboard; return whether the charts follow.

    The content security policy of a report forbids functions from texts, with which Playwright
    waits for a condition, so selectors are waited for.
    """
    followed = {}
    for figure in page.query_selector_all("figure.chart"):
        box = figure.query_selector("input[data-series]")
        if box is None:
            continue
        key = figure.get_attribute("id")
        before = charts(page)[key]
        box.focus()
        page.keyboard.press("Space")
        page.wait_for_selector(f'[id="{key}"][data-off="1"]')
        without = charts(page)[key]
        page.keyboard.press("Space")
        page.wait_for_selector(f'[id="{key}"][data-off="0"]')
        followed[key] = without < before == charts(page)[key]
    return followed


def ordered(page: Any, field: Any) -> dict[str, Any]:
    """Filter the points of a sweep by a setting, and sort them by their messages."""
    field.fill("mode=on_write, ")
    found = {"rows with a setting": page.locator("table.sortable tbody tr:visible").count()}
    field.fill("")
    heading = page.locator("table.sortable th button", has_text="messages")
    for sign in ("ascending", "descending"):
        heading.click()
        found[sign] = page.locator("table.sortable tbody tr th").first.text_content()
    return found


def used(page: Any) -> dict[str, Any]:
    """Use the filters, a button and a table; return what is shown then."""
    page.keyboard.press("Tab")
    found: dict[str, Any] = {"first focus": page.evaluate("document.activeElement.textContent")}
    found["switched"] = switched(page)
    box = page.query_selector("fieldset[data-filters] input[value=cost]")
    if box is not None:
        box.click()
        found["cost findings"] = page.locator(".finding.cost:visible").count()
        found["other findings"] = page.locator(".finding.wrong:visible").count()
    field = page.query_selector(".rows-filter")
    if field is not None:
        found["rows"] = page.locator("table tbody tr:visible").count()
        if page.query_selector("table.sortable") is not None:
            found |= ordered(page, field)
        field.fill("on_write")
        found["filtered rows"] = page.locator("table tbody tr:visible").count()
    page.locator("button.copy").first.click()
    button = page.locator("button.copy", has_text=re.compile("Copied|Selected")).first
    button.wait_for()
    found["button"] = button.text_content()
    page.locator("figure details summary").first.click()
    found["numbers"] = page.locator("figure details[open] td:visible").count()
    return found


def main(file: Path) -> dict[str, Any]:
    """Return what a report looks like at each width and in each scheme, and how it behaves."""
    looks = []
    with browser() as chromium:
        for width in WIDTHS:
            for scheme in SCHEMES:
                with opened(chromium, file, width=width, scheme=scheme) as one:
                    looks.append(
                        {
                            "width": width,
                            "scheme": scheme,
                            "errors": one.errors,
                            "requests": one.requests,
                            "overflow": one.overflow,
                            "charts": charts(one.page),
                            "background": one.page.evaluate(
                                "getComputedStyle(document.body).backgroundColor"
                            ),
                        }
                    )
        with opened(chromium, file, width=WIDTHS[0]) as one:
            behaviour = used(one.page)
            behaviour["errors"], behaviour["requests"] = one.errors, one.requests
            one.page.emulate_media(color_scheme="dark")
            one.page.wait_for_selector("html[data-drawn=dark]", state="attached")
            behaviour["overflow"] = one.overflow
            one.page.emulate_media(color_scheme="dark", media="print")
            one.page.wait_for_selector("html[data-drawn=light]", state="attached")
            behaviour["overflow on paper"] = one.overflow
            behaviour["tools on paper"] = one.page.evaluate(TOOLS)
    return {"looks": looks, "behaviour": behaviour}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))

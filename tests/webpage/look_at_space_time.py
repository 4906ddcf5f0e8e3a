"""Use the space-time diagram of a report in headless Chromium, and print what it did as JSON.

It is a process of its own, like tests/webpage/look.py.

    python -m tests.webpage.look_at_space_time report.html
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from docs.browser import browser, opened
from tests.webpage.look import WIDTHS

DRAWN = ".space-time[data-drawn]"


class Diagram:
    """The diagram of an open page."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.root = page.locator(".space-time")
        self.canvas = page.locator(".space-time canvas")
        page.wait_for_selector(DRAWN)
        self.canvas.scroll_into_view_if_needed()

    def get(self, name: str) -> str:
        """Return a datum of the diagram after the next frame."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => done()))")
        found: str = self.root.get_attribute(f"data-{name}")
        return found

    def press(self, *keys: str) -> None:
        """Press keys in the diagram."""
        self.canvas.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def record(self) -> str:
        """Return the text of the record of the chosen event."""
        found: str = self.page.locator(".event-record").inner_text()
        return found

    def said(self) -> str:
        """Return what the diagram says about its filters and tools."""
        found: str = self.page.locator(".said").text_content()
        return found


def used(page: Any) -> dict[str, Any]:
    """Use the diagram by mouse and keyboard; return what it shows then."""
    one = Diagram(page)
    found: dict[str, Any] = {"start": float(one.get("start")), "shown": int(one.get("shown"))}

    box = one.canvas.bounding_box()
    x, y = box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 200, y, steps=4)
    page.mouse.up()
    found["dragged"] = float(one.get("start"))
    found["chosen after a drag"] = one.get("chosen")
    page.keyboard.down("Shift")
    page.mouse.wheel(0, 100)
    page.keyboard.up("Shift")
    found["turned"] = float(one.get("start"))
    scale = float(one.get("scale"))
    one.press("+")
    found["zoomed by key"] = float(one.get("scale")) > scale
    page.locator("[data-do=out]").click()
    found["zoomed out by button"] = abs(float(one.get("scale")) - scale) < 0.1
    one.press("0", "Home")
    found["whole"] = float(one.get("scale")) < scale

    page.locator(".marks button").first.click()
    found["finding"] = one.record()
    one.press("ArrowDown")
    found["lane"] = one.record()
    box = one.canvas.bounding_box()
    page.mouse.move(1, 1)
    one.press("Escape", "Home", "ArrowRight")
    found["first"] = one.get("chosen")
    one.press("ArrowRight")
    found["second"] = one.get("chosen")
    one.press("Escape")
    found["none"] = one.get("chosen")
    found["record of none"] = one.record()
    place = page.evaluate(
        """() => {  // the first event of the first lane that stands in view
        const canvas = document.querySelector(".space-time canvas");
        const rect = canvas.getBoundingClientRect();
        for (let x = 78; x < rect.width; x += 2) for (const type of ["pointermove"]) {
          const at = { bubbles: true, clientX: rect.x + x, clientY: rect.y + 24 + 33 };
          canvas.dispatchEvent(new PointerEvent(type, at));
          if (!document.querySelector(".space-time .tip").hidden) return [at.clientX, at.clientY];
        }}"""
    )
    page.mouse.click(*place)
    found["clicked"] = one.record()

    return found | filtered(page, one)


def filtered(page: Any, one: Diagram) -> dict[str, Any]:
    """Use the table, the filters and the tools of the diagram; return what it shows then."""
    found: dict[str, Any] = {}
    page.locator("details.events summary").click()
    one.get("drawn")
    found["rows"] = page.locator("details.events tbody tr").count()
    page.locator(".families input").first.uncheck()
    found["without a variable"] = int(one.get("shown"))
    page.locator(".families input").first.check()
    page.locator(".processes input").last.uncheck()
    found["without a process"] = int(one.get("shown"))
    page.locator(".processes input").last.check()
    page.locator(".names").fill("own")
    found["of a name"] = int(one.get("shown"))
    page.locator(".names").fill("zzz")
    found["said of a wrong name"] = one.said()
    page.locator(".names").fill("")
    found["said of all"] = one.said()
    page.locator(".call").fill("500")
    found["said of a wrong call"] = one.said()
    page.locator(".call").fill("2")
    found["said of a call"] = one.said()
    page.locator(".spacing").select_option("time")
    found["by time"] = float(one.get("scale"))
    found["pixels between events by time"] = float(one.get("apart"))
    found["all again"] = int(one.get("shown"))
    return found


def main(file: Path) -> dict[str, Any]:
    """Return what the diagram did at each width."""
    found = {}
    with browser() as chromium:
        for width in WIDTHS:
            with opened(chromium, file, width=width) as one:
                found[str(width)] = used(one.page) | {
                    "errors": one.errors,
                    "requests": one.requests,
                    "overflow": one.overflow,
                }
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))

"""Open a page in headless Chromium, for screenshots and for tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    Scheme = Literal["light", "dark"]

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
DRAWN: Final = "html[data-drawn]"  # a report whose charts are drawn
_DRAWN_MS: Final = 60_000  # a page of twenty charts needs about two seconds
HEIGHT: Final = 900  # of the window, in pixels


class NoBrowserError(Exception):
    """A page cannot be opened; the text says what to install."""


def executable() -> str:
    """Return the path of Chromium.

    Raises:
        NoBrowserError: Chromium or Playwright is not installed.
    """
    try:
        import playwright  # noqa: F401  # only whether it is there
    except ImportError:
        raise NoBrowserError("Playwright is missing: pip install playwright") from None
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise NoBrowserError("Chromium is missing (Debian, Ubuntu: apt-get install chromium)")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium, and end it after the block."""
    path = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        found = player.chromium.launch(executable_path=path, args=list(_OPTIONS))
        try:
            yield found
        finally:
            found.close()


@dataclass(slots=True)
class Opened:
    """A page in the browser, and what it has done that it should not."""

    page: Any  # a page of Playwright
    errors: list[str] = field(default_factory=list)  # of the console, and of scripts
    requests: list[str] = field(default_factory=list)  # all but that for the file itself

    @property
    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return int(
            self.page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )


@contextmanager
def opened(
    browser: Browser,
    file: Path,
    *,
    width: int,
    scheme: Scheme = "light",
    height: int = HEIGHT,
    ready: str = DRAWN,
) -> Iterator[Opened]:
    """Open a page without a network, and wait until it is ready, such as a report that is drawn.

    Args:
        width: Of the window, in pixels, like `height`.
        scheme: The colours that the reader prefers.
        ready: A selector that matches an element of the page when the page is ready.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        offline=True,
        reduced_motion="reduce",
    )
    page = context.new_page()
    found = Opened(page)
    address = file.absolute().as_uri()
    page.on("console", lambda one: found.errors.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("request", lambda one: _note(found, one.url, address))
    try:
        page.goto(address)
        page.wait_for_selector(ready, state="attached", timeout=_DRAWN_MS)
        yield found
    finally:
        context.close()


def _note(found: Opened, url: str, address: str) -> None:
    if url != address:
        found.requests.append(url)

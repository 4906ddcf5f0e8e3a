"""The site in headless Chromium: it needs no network, and fits a phone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.site import build
from tests.browser import ROOT, browser_installed, looked_at  # noqa: F401  # a fixture

PAGES = [
    "docs/index.html",
    "README.html",
    "docs/cli.html",
    "docs/mixing.html",
    "docs/ways.html",
    "docs/api/varsim.html",
    "docs/how-to/wrong-factor.html",
    "docs/coming-from/pytorch.html",
]
DEVELOPMENT = re.compile(r"docs/adr/|\b(ARCHITECTURE|CHANGELOG|CONTRIBUTING|docs/protocol)\.html")


@pytest.mark.usefixtures("browser_installed")
@pytest.mark.slow
@pytest.mark.timeout(300)  # seconds; the build takes 25 on an idle machine
def test_pages_need_no_network_and_fit_their_window(tmp_path: Path):
    build(ROOT, tmp_path)
    found = looked_at("tests.site.look", str(tmp_path), "report", *PAGES)

    assert 2 * len(PAGES) == len(found["looks"])
    for look in found["looks"]:
        assert ([], [], 0) == (look["errors"], look["requests"], look["overflow"]), look["page"]
    cut = {look["page"] for look in found["looks"] if look["width"] > 1000 and look["cut_tables"]}
    assert cut <= {"docs/mixing.html"}  # its largest tables have a column for each mechanism
    about_development = [bool(DEVELOPMENT.search(address)) for address in found["results"]]
    assert {False, True} == {*about_development}
    assert sorted(about_development) == about_development, "pages for users come first"

"""The site in headless Chromium: it needs no network, and fits a phone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs.browser import NoBrowserError, executable
from docs.site import build

ROOT = Path(__file__).parents[2]
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


@pytest.mark.slow
@pytest.mark.timeout(300)  # seconds; the build takes 25 on an idle machine
def test_pages_need_no_network_and_fit_their_window(tmp_path: Path):
    try:
        executable()
    except NoBrowserError as error:
        if os.environ.get("VARSIM_TEST_BROWSER") == "required":
            raise
        pytest.skip(str(error))
    build(ROOT, tmp_path)

    command = [sys.executable, "-m", "tests.site.look", str(tmp_path), "staleness", *PAGES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)

    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert 2 * len(PAGES) == len(found["looks"])
    for look in found["looks"]:
        assert ([], [], 0) == (look["errors"], look["requests"], look["overflow"]), look["page"]
    cut = {look["page"] for look in found["looks"] if look["width"] > 1000 and look["cut_tables"]}
    assert cut <= {"docs/mixing.html"}  # its largest tables have a column for each mechanism
    assert found["results"] > 3

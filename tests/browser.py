"""Look at pages in headless Chromium, which another process drives.

`.ci/run` installs Playwright and Chromium, and sets VARSIM_TEST_BROWSER=required, so that these
tests fail without them. Otherwise they are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs.browser import NoBrowserError, executable

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def browser_installed() -> None:
    """Skip the tests if there is no browser, or fail them if it is required."""
    try:
        executable()
    except NoBrowserError as error:
        if os.environ.get("VARSIM_TEST_BROWSER") == "required":
            raise
        pytest.skip(str(error))


def looked_at(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module that looks at pages, and return what it prints as JSON."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found

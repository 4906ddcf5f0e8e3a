"""Make the pictures of reports in docs/screenshots: `make screenshots`.

The runs are made anew in a temporary folder: the run whose output README.md shows, a digits run
that merges at each step, the experiment about metrics with its findings, a sweep of sixteen points,
and the notebook of the examples.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from docs.browser import DRAWN, browser, opened

if TYPE_CHECKING:
    from docs.browser import Scheme

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "docs" / "screenshots"
NOTEBOOK: Final = ROOT / "examples" / "notebooks" / "modes.ipynb"


class _Shot(NamedTuple):
    """One picture."""

    name: str
    report: str
    width: int
    scheme: Scheme
    section: str = ""  # the key of the section to show; "" for the top of the page
    height: int = 900
    ready: str = DRAWN  # as in `opened`


SHOTS: Final = (
    _Shot("report", "readme", 1280, "light", height=1000),
    _Shot("report-findings", "findings", 1280, "light", "findings"),
    _Shot("report-dark", "digits", 1280, "dark", "traffic"),
    _Shot("report-lens", "lens", 1280, "light", "lens"),
    _Shot("report-space-time", "digits", 1280, "light", "space-time", height=680),
    _Shot("report-phone", "findings", 390, "dark", height=844),
    _Shot("sweep", "sweep", 1280, "light", height=760),
    _Shot("sweep-multiples", "sweep", 1280, "dark", "multiples"),
    _Shot("notebook", "notebook", 900, "dark", "Runs", height=1180, ready="#Comparisons"),
)


def _varsim(folder: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "varsim", *arguments], cwd=folder, check=True)


def _make_reports(folder: Path) -> None:
    configs = ROOT / "configs"
    # A copy of the program: findings then have its name as their place, not the checkout's path.
    shutil.copy(ROOT / "varsim" / "workloads" / "metrics.py", folder)
    for name, arguments in (
        ("readme", ["digits", "--workers", "4", "--mode", "on_read"]),
        ("digits", ["digits", "--workers", "4", "--mode", "on_write"]),
        ("findings", [str(configs / "metrics.yaml"), "workload=metrics.py", "--oracle"]),
        ("lens", [str(configs / "digits_none.yaml"), "--oracle"]),
    ):
        _varsim(folder, "run", *arguments, "--quiet")
        _varsim(folder, "report", "-o", f"{name}.html", "--no-advice")
    _varsim(folder, "sweep", "mode=auto,none,on_read,on_write", "workers=1,2,4,8")
    _varsim(folder, "report", "latest-sweep", "-o", "sweep.html")
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--execute", str(NOTEBOOK)]
    options = ["--HTMLExporter.theme=dark", "--output", "notebook", "--output-dir", str(folder)]
    subprocess.run([*command, *options], cwd=folder, check=True)


def _shoot(page: Any, shot: _Shot, file: Path) -> None:
    """Write a picture of the visible part of a page, from the section on."""
    if shot.section:
        page.evaluate("key => document.getElementById(key).scrollIntoView()", shot.section)
    page.screenshot(path=str(file), type="png")


def main() -> None:
    """Make all reports and pictures."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_reports(folder)
        with browser() as chromium:
            for shot in SHOTS:
                file = folder / f"{shot.report}.html"
                with opened(
                    chromium,
                    file,
                    width=shot.width,
                    scheme=shot.scheme,
                    height=shot.height,
                    ready=shot.ready,
                ) as one:
                    picture = FOLDER / f"{shot.name}.png"
                    _shoot(one.page, shot, picture)
                    print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

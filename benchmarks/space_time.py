"""How long does a space-time diagram of 20,000 events take to open, and how smoothly does it pan?

The digits job trains on four workers until its record has more than 20,000 events. Its report is
opened in headless Chromium, without a GPU. *open* is the time from the request for the page until
the diagram is drawn. *frames/s* is counted while the diagram is turned by a wheel, one turn for
each frame: with the first view, and with a view in which the diagram shows all events and all
messages at once. The targets are 3 s and 30 frames a second on two cores. A screen shows at most
60 frames a second.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Quartiles
from benchmarks.record import Measured, Rows, answer
from docs.browser import NoBrowserError, browser, executable

STEPS = 500
ROUNDS = 3
FRAMES = 120
OPEN_S = 3.0
LEAST_FRAMES = 30.0
WIDTH, HEIGHT = 1280, 900

TURN = """async ([frames, along]) => {
  const canvas = document.querySelector(".space-time canvas");
  const root = document.querySelector(".space-time");
  const next = () => new Promise(requestAnimationFrame);
  await next();
  const [began, drawn] = [performance.now(), Number(root.dataset.drawn)];
  for (let frame = 0; frame < frames; frame += 1) {
    const deltaX = along || frame % 2 ? 25 : -25;
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaX, cancelable: true }));
    await next();
  }
  return (Number(root.dataset.drawn) - drawn) / (performance.now() - began) * 1000;
}"""
"""Return how many times the diagram was drawn in a second while it was turned."""


def varsim(folder: Path, *arguments: str) -> None:
    """Run a command."""
    command = [sys.executable, "-m", "varsim", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def look(chromium: Any, file: Path) -> tuple[float, float, float, int]:
    """Open a report; return the seconds that this took, both numbers of frames, and the events."""
    page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    began = time.perf_counter()
    page.goto(file.as_uri(), wait_until="commit")
    page.wait_for_selector(".space-time[data-drawn]")
    opened_s = time.perf_counter() - began
    page.wait_for_selector("html[data-drawn]", state="attached")
    page.locator(".space-time canvas").scroll_into_view_if_needed()
    near = page.evaluate(TURN, [FRAMES, True])
    page.locator("[data-do=all]").click()
    page.locator("[data-do=in]").click()  # so that there is something to turn
    far = page.evaluate(TURN, [FRAMES, False])
    events = int(page.locator(".space-time").get_attribute("data-shown"))
    page.close()
    return opened_s, near, far, events


def measure(workers: int, rounds: int) -> Measured:
    """Make the run and its report, and look at it several times."""
    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        folder = Path(name)
        varsim(folder, "run", "digits", "-n", str(workers), "--steps", str(STEPS), "--quiet")
        varsim(folder, "report", "-o", "x.html", "--no-advice")
        file = folder / "x.html"
        found = [look(chromium, file) for _ in range(rounds)]
        print(f"the report has {file.stat().st_size:,} bytes; its diagram {found[0][3]:,} events")
    rows: Rows = []
    took = Quartiles.of([one[0] for one in found])
    met = _target(f"{OPEN_S:.0f} s", met=took.median < OPEN_S)
    rows.append({"workers": workers, "task": "open", "took": took, "frames/s": None, "target": met})
    for task, place in (("pan, first view", 1), ("pan, all events", 2)):
        frames = sorted(one[place] for one in found)[rounds // 2]
        met = _target(f"{LEAST_FRAMES:.0f}/s", met=frames >= LEAST_FRAMES)
        row = {"workers": workers, "task": task, "took": None, "frames/s": round(frames, 1)}
        rows.append({**row, "target": met})
    return rows, {}


def _target(text: str, *, met: bool) -> str:
    return f"{text}, {'met' if met else 'missed'}"


def main() -> None:
    """Measure, print, and keep the results if asked."""
    try:
        executable()
    except NoBrowserError as error:
        sys.exit(f"{error}")
    title = "a space-time diagram of {workers} workers, in headless Chromium"
    answer("space_time", __doc__, measure, title, rounds=ROUNDS)


if __name__ == "__main__":
    main()

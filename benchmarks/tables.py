"""Return the newest kept measurement of each question as Markdown, for docs/performance.md."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.measure import Quartiles
from benchmarks.record import RESULTS


def newest(question: str) -> str:
    """Return the rows that were kept last, with the machine and the versions."""
    kept = RESULTS / f"{question}.jsonl"
    if not kept.exists():
        return "Not measured yet: `make bench`."
    *_, line = kept.read_text("utf-8").splitlines()
    entry = json.loads(line)
    keys = list(dict.fromkeys(key for row in entry["rows"] for key in row))
    lines = [f"| {' | '.join(keys)} |", "| --- " * len(keys) + "|"]
    lines += [f"| {' | '.join(_cell(row.get(key)) for key in keys)} |" for row in entry["rows"]]
    machine = entry["machine"]
    versions = entry["versions"] | entry.get("peers", {})
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines += [
        "",
        f"Measured at commit {entry['commit']} on {machine['processor']} with {machine['cores']} "
        f"cores, after a load average of {entry['load_before']:.2f}; {said}.",
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case [float(median), float(low), float(high), int(count)]:
            return str(Quartiles(median, low, high, count))
        case {"ratio": ratio, "target": target, "met": met}:
            return f"**{ratio:.3g}×** ({'met' if met else 'missed'}: ≤ {target:g})"
        case float():
            return f"{value:.3g}"
        case _:
            return str(value)

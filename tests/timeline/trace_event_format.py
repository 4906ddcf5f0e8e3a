"""A validator of the Trace Event Format, as far as varsim writes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

Entry = dict[str, Any]

NEEDS: dict[str, set[str]] = {
    "M": {"name", "pid", "tid", "args"},
    "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
    "i": {"name", "s", "pid", "tid", "ts"},
    "C": {"name", "pid", "ts", "args"},
    "s": {"name", "cat", "id", "pid", "tid", "ts"},
    "t": {"name", "cat", "id", "pid", "tid", "ts"},
    "f": {"name", "cat", "id", "bp", "pid", "tid", "ts"},
}


def problems(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a document: [] if it is valid."""
    entries = document.get("traceEvents")
    if not isinstance(entries, list):
        return ["traceEvents is no list"]
    found = [*_members(entries)]
    return found or [*_named(entries), *_nested(entries), *_counters(entries), *_flows(entries)]


def _members(entries: list[Entry]) -> Iterator[str]:
    for entry in entries:
        missing = NEEDS.get(entry.get("ph", ""), {"ph"}) - entry.keys()
        if missing:
            yield f"{entry} lacks {sorted(missing)}"
            continue
        if min(entry["pid"], entry.get("tid", 1)) < 1:
            yield f"the viewer drops {entry}: it numbers tracks from 1"
        if entry.get("ts", 0) < 0 or entry.get("dur", 1) <= 0:
            yield f"the time of {entry} is wrong"


def _named(entries: list[Entry]) -> Iterator[str]:
    names = [(one["pid"], one["tid"]) for one in entries if one["name"] == "thread_name"]
    if len(names) != len(set(names)):
        yield "a track has two names"
    for one in entries:
        if one["ph"] != "M" and one["ph"] != "C" and (one["pid"], one["tid"]) not in names:
            yield f"the track of {one} has no name"


def _nested(entries: list[Entry]) -> Iterator[str]:
    """Slices of one track are disjoint, or one contains the other."""
    for slices in _by_track(entries, "X").values():
        ends: list[float] = []
        for one in sorted(slices, key=lambda one: (one["ts"], -one["dur"])):
            end = one["ts"] + one["dur"]
            while ends and ends[-1] <= one["ts"] + 1e-4:
                ends.pop()
            if ends and end > ends[-1] + 1e-4:
                yield f"{one} overlaps another slice"
            ends.append(end)


def _counters(entries: list[Entry]) -> Iterator[str]:
    last: dict[tuple[int, str], float] = {}
    for one in entries:
        if one["ph"] == "C":
            (value,) = one["args"].values()
            if value < last.get((one["pid"], one["name"]), 0):
                yield f"{one} is less than before"
            last[one["pid"], one["name"]] = value


def _flows(entries: list[Entry]) -> Iterator[str]:
    """Each flow has a begin and an end, is in order, and each of its points is in a slice."""
    slices = _by_track(entries, "X")
    flows: dict[int, list[Entry]] = defaultdict(list)
    for one in entries:
        if one["ph"] in "stf":
            flows[one["id"]].append(one)
    for number, points in flows.items():
        phases = "".join(one["ph"] for one in points)
        if phases[0] != "s" or phases[-1] != "f" or phases[1:-1].strip("t"):
            yield f"flow {number} has the points {phases}"
        if any(later["ts"] < early["ts"] for early, later in pairwise(points)):
            yield f"flow {number} goes back in time"
        for one in points:
            track = slices[one["pid"], one["tid"]]
            if not any(it["ts"] <= one["ts"] < it["ts"] + it["dur"] for it in track):
                yield f"{one} is in no slice"


def _by_track(entries: list[Entry], phase: str) -> dict[tuple[int, int], list[Entry]]:
    found: dict[tuple[int, int], list[Entry]] = defaultdict(list)
    for one in entries:
        if one["ph"] == phase:
            found[one["pid"], one["tid"]].append(one)
    return found

"""Makes `cases.json.gz` from a recording of TensorFlow: `python tests/golden/extract.py SOURCE`.

SOURCE is the full recording, `{"meta": …, "cases": […]}`, gzipped. What is in scope is copied,
without what a comparison does not use: null fields, and error messages beyond a line.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE / "cases.json.gz"

FAMILIES = frozenset(
    "create init write writex writet fnwrite read seq badvalue edge api numerics".split()
)
GROUPS = frozenset(
    [f"mirrored-w{world}" for world in (1, 2, 3, 4)]
    + ["one_device-w1", "default-w1", "no_strategy-w1"]
)
MESSAGE_CHARACTERS = 100


def in_scope(case_id: str) -> bool:
    """Whether varsim is to be compared with a case; the rest awaits its issues.

    Left out are scatter, checkpoints, the multi-worker, central-storage and parameter-server
    strategies, and the cases that show how TensorFlow poisons its process.
    """
    group, family = case_id.split("/")[:2]
    return group == "mixing" or (group in GROUPS and family in FAMILIES)


def shortened(value: Any) -> Any:
    """A part of a case with its messages cut to one short line."""
    if isinstance(value, list):
        return [shortened(member) for member in value]
    if not isinstance(value, dict):
        return value
    return {
        key: member.partition("\n")[0][:MESSAGE_CHARACTERS]
        if key == "message" and isinstance(member, str)
        else shortened(member)
        for key, member in value.items()
    }


def extracted(case: dict[str, Any]) -> dict[str, Any]:
    """A case without null fields and without the rest of its messages."""
    kept = {key: value for key, value in case.items() if value is not None}
    for key in ("result", "error"):
        if key in kept:
            kept[key] = shortened(kept[key])
    if kept["mode"] == "eager":
        del kept["mode"]
    return kept


def main(source: str) -> None:
    """Reads the recording and writes the project's copy."""
    recording = json.loads(gzip.decompress(Path(source).read_bytes()))
    cases = [extracted(case) for case in recording["cases"] if in_scope(case["id"])]
    lines = ["{", f'"tensorflow": {json.dumps(recording["meta"]["tensorflow"])},', '"cases": [']
    lines += [",\n".join(json.dumps(case, separators=(",", ":")) for case in cases), "]}"]
    TARGET.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    print(f"{len(cases)} cases, {TARGET.stat().st_size} bytes, in {TARGET.name}")


if __name__ == "__main__":
    main(sys.argv[1])

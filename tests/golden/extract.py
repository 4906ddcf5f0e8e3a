"""Writes `cases.json.gz` from a recording of TensorFlow: `python tests/golden/extract.py SOURCE`.

SOURCE is the full recording, `{"meta": …, "cases": […]}`, gzipped. The cases in scope are copied
without the parts that a comparison does not use, such as null fields and long error messages.
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
    "create init write writex writet fnwrite read seq badvalue edge api numerics scatter".split()
)
GROUPS = frozenset(
    [f"{strategy}-w{world}" for strategy in ("mirrored", "mwms") for world in (1, 2, 3, 4)]
    + ["central-w2", "one_device-w1", "default-w1", "no_strategy-w1"]
)
MESSAGE_CHARACTERS = 100


def in_scope(case_id: str) -> bool:
    """Return whether the project compares varsim with a case.

    Out of scope are cases after which TensorFlow's process did not work any more.
    """
    group, family = case_id.split("/")[:2]
    return group in {"mixing", "ckpt", "pss", "pss-w2"} or (group in GROUPS and family in FAMILIES)


def shortened(value: Any) -> Any:
    """Return a part of a case with messages cut to one short line."""
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
    """Return a case without null fields and without the rest of its messages."""
    kept = {key: value for key, value in case.items() if value is not None}
    for key in ("result", "error", "per_worker"):
        if key in kept:
            kept[key] = shortened(kept[key])
    if kept["mode"] == "eager":
        del kept["mode"]
    return kept


def main(source: str) -> None:
    """Read the recording and write the project's copy."""
    recording = json.loads(gzip.decompress(Path(source).read_bytes()))
    cases = [extracted(case) for case in recording["cases"] if in_scope(case["id"])]
    lines = ["{", f'"tensorflow": {json.dumps(recording["meta"]["tensorflow"])},', '"cases": [']
    lines += [",\n".join(json.dumps(case, separators=(",", ":")) for case in cases), "]}"]
    TARGET.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    print(f"{len(cases)} cases, {TARGET.stat().st_size} bytes, in {TARGET.name}")


if __name__ == "__main__":
    main(sys.argv[1])

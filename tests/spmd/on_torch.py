"""Run the 40 collectives on real torch.distributed (gloo), and compare them with the recording.

`python -m tests.spmd.on_torch` prints how many values are equal; `--write` records them again.
torch is no dependency of varsim, so no test imports this file.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.spmd.forty_collectives import SIZE, run

RECORDED = Path(__file__).parent / "forty_collectives.json"
"""The values of every rank, as torch has computed them: a list of a dict for each rank."""


def _rank(rank: int, folder: str) -> None:
    import torch  # type: ignore[import-not-found]
    import torch.distributed as dist  # type: ignore[import-not-found]

    def new(values: Any, dtype: str) -> Any:
        return torch.tensor(values, dtype=getattr(torch, dtype))

    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, world_size=SIZE, rank=rank)
    values = run(dist, new, lambda array: array.tolist())
    Path(folder, f"{rank}.json").write_text(json.dumps(values), "utf-8")
    dist.destroy_process_group()


def main() -> int:
    """Run all ranks; return 0 if the values are those of the recording."""
    from torch.multiprocessing import spawn  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        spawn(_rank, (folder,), nprocs=SIZE)
        found = [json.loads(Path(folder, f"{i}.json").read_text("utf-8")) for i in range(SIZE)]
    if "--write" in sys.argv:
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in found)
        RECORDED.write_text(f"[\n{lines}\n]\n", "utf-8")
    expected = json.loads(RECORDED.read_text("utf-8"))
    names = list(expected[0])
    equal = [
        name
        for name in names
        if all(a[name] == b[name] for a, b in zip(expected, found, strict=True))
    ]
    print(f"{len(equal)} of {len(names)} collectives have the recorded values")
    for name in sorted(set(names) - set(equal)):
        print(f"  {name}: {[one[name] for one in found]}")
    return 0 if len(equal) == len(names) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Run a command as a Ray task, on a node of a Ray cluster, and send its folder home."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import zmq

from varsim.launch.remote.engines import EngineCommand, RunningCommand
from varsim.launch.remote.greeting import Greeting
from varsim.transport.folders import new_path, remove_leftovers

PART_BYTES: Final = 2**20
"""Size of a part of a folder. Ray keeps few parts at a time in its object store."""

RESULT: Final = "result.json"
"""The file in which a command leaves its result, in the folder that it got."""

RUN: Final = "run"
"""The folder that is sent home, in the same folder."""

_END_S: Final = 5.0  # a child ends as soon as its stdin is closed
_BY_RAY: Final = "OMP_NUM_THREADS"  # Ray sets it to the processors of a task


def look(greeting: Mapping[str, Any]) -> tuple[str, int, str]:
    """Look whether the program's tasks can run on this node.

    Args:
        greeting: The fields of the program's greeting.
    Returns:
        The name of the node, this process, and why they cannot run here; "" if they can.
    """
    here = Greeting.of_this_host()
    return here.host, here.process_id, Greeting.from_value(greeting).difference(here)


def run_task(
    greeting: Mapping[str, Any], module: str, text: str, environment: Mapping[str, str]
) -> Iterator[Any]:
    """Run a module of varsim as a child process.

    The child gets the path of a folder, which it creates, and the text through stdin. It writes its
    files into `RUN` there and then its result into `RESULT`, and closes its output. As soon as its
    stdin is closed, it removes the folder and ends, also if this process is killed.

    Yields:
        First the id, name and address of this node, and why it does not fit to the program. Then
        how the child has ended, and its result. Then the parts of a tar of `RUN`. Then the end. The
        begin and the end are times of this node's clock, in seconds.
    """
    import ray

    begin_s = time.monotonic()
    name, _, unfit = look(greeting)
    yield {
        "id": ray.get_runtime_context().get_node_id(),
        "name": name,
        "address": ray.util.get_node_ip_address(),
        "unfit": unfit,
        "begin_s": begin_s,
    }
    if unfit:
        return
    remove_leftovers()
    folder = new_path("task-")
    command = (sys.executable, "-P", "-m", module, str(folder))
    others = {one: value for one, value in os.environ.items() if one != _BY_RAY}
    running = RunningCommand(
        EngineCommand(command, None, text + "\n"),
        name=f"python -m {module}",
        environment=others | dict(environment),
    )
    try:
        poller = zmq.Poller()
        poller.register(running.output, zmq.POLLIN)
        while not running.has_ended:
            poller.poll()
            running.read()
        result = folder / RESULT
        if result.exists():
            yield {"reason": "", "result": result.read_text("utf-8")}
            yield from _packed(folder / RUN)
        else:
            yield {"reason": running.reason, "result": ""}
    finally:
        running.end(time.monotonic() + _END_S)
        shutil.rmtree(folder, ignore_errors=True)  # of a child that was killed
    yield {"end_s": time.monotonic()}


def _packed(folder: Path) -> Iterator[bytes]:
    """Yield the parts of a tar of the files in a folder; links are left out."""
    part = bytearray()
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
        entry.size = path.stat().st_size
        part += entry.tobuf(tarfile.PAX_FORMAT)
        with path.open("rb") as file:
            while chunk := file.read(PART_BYTES):
                part += chunk
                while len(part) >= PART_BYTES:
                    yield bytes(part[:PART_BYTES])
                    del part[:PART_BYTES]
        part += bytes(-entry.size % tarfile.BLOCKSIZE)
    yield bytes(part + bytes(2 * tarfile.BLOCKSIZE))

"""Run the fork server (`python -m varsim_worker`), which starts the workers of a coordinator."""

import gc
import json
import os
import select
import shutil
import signal
import sys

from varsim_worker import system

_STDIN = 0


def start() -> None:
    """Run the fork server, and remove the coordinator's private directory at the end.

    The arguments are the private directory and the process id of the coordinator. The coordinator
    creates the directory after it has started this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the program handles Ctrl-C
    # The program blocked this signal while it started this process.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if len(sys.argv) != 3:
        sys.exit("varsim starts this program itself, with input on stdin; see workers/README.md")
    private_dir, coordinator_id = sys.argv[1], int(sys.argv[2])
    coordinator = system.open_process(coordinator_id)
    gc.disable()  # the imports create many objects that stay; `fork_workers` enables it again
    try:
        line = read_line(coordinator) if os.getppid() == coordinator_id else b""
        if line:
            sys.path[:] = json.loads(line)["search_path"]
            from varsim_worker.fork_server import run  # after sys.path is set: it imports NumPy

            run(line, coordinator)
    finally:
        shutil.rmtree(private_dir, ignore_errors=True)


def read_line(coordinator: int | None) -> bytes:
    """Return the coordinator's line on stdin; b"" if the coordinator has ended, or gave up.

    Args:
        coordinator: The descriptor of the coordinator's process. A fork of the program may also
            hold the pipe, so the end of the program does not always close the pipe.
    """
    poll = select.poll()
    for descriptor in (_STDIN, coordinator):
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
    read = b""
    while not read.endswith(b"\n"):
        ready = {descriptor for descriptor, _ in poll.poll()}
        chunk = os.read(_STDIN, 2**16) if _STDIN in ready else b""
        if not chunk:
            return b""
        read += chunk
    return read if read.count(b"\n") == 1 and read != b"\n" else b""


start()

"""Run the fork server (`python -m varsim_worker`), which a coordinator starts for its workers."""

import json
import signal
import sys


def start() -> None:
    """Read the coordinator's module search path from stdin, and continue with its modules."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, {signal.SIGINT}
    )  # the program blocked it while it started this process
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit("varsim starts this program itself, with input on stdin; see workers/README.md")
    sys.path[:] = json.loads(line)["search_path"]
    from varsim_worker.fork_server import run  # after sys.path is set: it imports NumPy

    run(line)


start()

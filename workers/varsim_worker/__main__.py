"""Run the fork server (`python -m varsim_worker`), which starts the workers of a coordinator."""

import json
import signal
import sys


def start() -> None:
    """Read the coordinator's module search path from stdin, set it, and run the fork server."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the program handles Ctrl-C
    # The program blocked this signal while it started this process.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit("varsim starts this program itself, with input on stdin; see workers/README.md")
    sys.path[:] = json.loads(line)["search_path"]
    from varsim_worker.fork_server import run  # after sys.path is set: it imports NumPy

    run(line)


start()

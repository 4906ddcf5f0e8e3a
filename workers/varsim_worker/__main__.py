"""`python -m varsim_worker`: the nursery, which a coordinator starts for its workers."""

import json
import signal
import sys


def start() -> None:
    """Reads who the coordinator is and where its modules are, and goes on with those."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which has blocked it until now
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(
            "varsim starts this program itself, and tells it what to do; see workers/README.md"
        )
    sys.path[:] = json.loads(line)["search_path"]
    from varsim_worker.nursery import run  # only now: NumPy must be the program's own

    run(line)


start()

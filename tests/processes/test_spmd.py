"""Scripts that every worker process runs as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.processes, pytest.mark.thorough]

SCRIPT = """
import os, subprocess, sys, threading
import numpy as np
import varsim as tf
from beside import double

context = tf.distribute.get_replica_context()
rank = context.replica_id_in_sync_group

class Own(Exception):
    pass

def in_a_thread():
    print("from a thread")

if __name__ == "__main__":
    print(sys.argv[1:], os.getpid(), end="")
    print()
    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    child = os.fork()
    if child == 0:
        print("from a fork")
        os._exit(0)
    os.waitpid(child, 0)
    subprocess.run(["echo", "from a process"])
    print("sum", float(context.all_reduce("SUM", double(rank))))
    context.barrier()
    print("x" * 100_000)
    if rank == 3:
        raise Own("mine")
    context.all_reduce("SUM", np.zeros(3))
"""


def test_four_processes_run_a_script(tmp_path: Path) -> None:
    """The lines of forks and other processes are only in the workers' logs."""
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("def double(x):\n    return 2.0 * x\n")
    command = [sys.executable, "-m", "varsim", "exec", "--spmd", "-n", "4", "-q", "script.py", "a"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    lines = [line.partition("] ")[2] for line in ended.stdout.splitlines()]

    assert 1 == ended.returncode
    assert 4 == len({line for line in lines if line.startswith("['a'] ")})
    assert 4 == lines.count("sum 12.0")
    assert 400_000 == sum(line.count("x") for line in lines)
    assert "from a fork" not in ended.stdout
    assert "from a process" not in ended.stdout
    assert "from a thread" in lines  # at the end of the script
    assert "[replica 3] Own: mine\n" in ended.stderr
    assert '[replica 3]   File "script.py", line 32, in <module>\n' in ended.stderr
    log = "".join(path.read_text() for path in tmp_path.glob("runs/latest/logs/*"))
    assert [4, 4, 4] == [log.count(f"from a {what}\n") for what in ("thread", "fork", "process")]


UNEVEN = """
import numpy as np
import varsim.horovod as hvd

hvd.init()
batches = np.split(np.arange(6, dtype=np.float32), [1, 3])[hvd.rank()]
w = np.float32(0)
for batch in batches:
    w += hvd.allreduce(batch, op=hvd.Sum, name="gradient")
last = hvd.join()
w = hvd.broadcast(np.float32(w), root_rank=last)
print(f"{last} {w}")
"""


def test_ranks_with_different_numbers_of_batches_join(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(UNEVEN)
    command = [sys.executable, "-m", "varsim", "exec", "--spmd", "-n", "3", "-q", "script.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    checked = subprocess.run(
        [sys.executable, "-m", "varsim", "check", "runs/latest"],
        cwd=tmp_path, capture_output=True, text=True, timeout=50,
    )  # fmt: skip

    assert 0 == ended.returncode, ended.stderr
    assert [f"[replica {i}] 2 15.0" for i in range(3)] == sorted(ended.stdout.splitlines())
    assert 0 == checked.returncode, checked.stdout

"""Standard streams that are full, closed, or have no reader: no traceback, correct exit codes."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import MS, wait_for
from varsim.experiments.store import load_summary
from varsim.tracing.history import HISTORY

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux"),
]

TIMEOUT_S = 30_000 * MS
VARSIM = [sys.executable, "-m", "varsim"]

PRINTS = """
import sys
from varsim.cli import streams
streams.guard()
for number in range(3000):
    print("a line of the output", number)
    print("a message", number, file=sys.stderr)
open("alive", "w").close()
sys.exit(streams.problem())
"""

ENDS = """
import os, signal
import varsim as tf

def run(job, *, victim: str = ""):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)

    def step():
        v.assign_add(1.0)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        if victim == "worker" and replica == 1 and v.numpy() > 20:
            os.kill(os.getpid(), signal.SIGKILL)

    for number in range(30):
        job.strategy.run(step)
    if victim == "program":
        os.kill(os.getpid(), signal.SIGKILL)
"""

FULL, NO_READER, CLOSED = "/dev/full", "no reader", "closed"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    Path("ends.py").write_text(ENDS)


def ran(
    command: list[str], out: str | None = None, err: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with these kinds of stdout and stderr; None is a pipe that is read."""
    opened: list[int] = []

    def stream(kind: str | None) -> int:
        if kind is None or kind == CLOSED:
            return subprocess.PIPE
        if kind == FULL:
            opened.append(os.open(FULL, os.O_WRONLY))
        else:
            reads, writes = os.pipe()
            os.close(reads)
            opened.append(writes)
        return opened[-1]

    closed = "".join(f" {n}>&-" for n, kind in ((1, out), (2, err)) if kind == CLOSED)
    try:
        return subprocess.run(
            ["sh", "-c", f'exec "$@"{closed}', "sh", *command],
            stdout=stream(out),
            stderr=stream(err),
            timeout=TIMEOUT_S,
        )
    finally:
        for descriptor in opened:
            os.close(descriptor)


@pytest.mark.parametrize(
    ("out", "err", "said", "unbuffered"),
    [
        (FULL, None, b"the output cannot be written: No space left on device\n", ""),
        (FULL, None, b"the output cannot be written: No space left on device\n", "1"),
        (None, FULL, None, ""),
        (NO_READER, None, b"a message 2999\n", ""),
        (CLOSED, None, b"the output cannot be written: it is closed\n", ""),
        (CLOSED, CLOSED, b"", ""),
    ],
)
def test_a_program_continues_without_its_output(
    out: str | None,
    err: str | None,
    said: bytes | None,
    unbuffered: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unwritten text is no problem only if the reader has ended."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = ran([sys.executable, "-c", PRINTS], out, err)

    assert Path("alive").exists()
    assert (NO_READER != out) == (done.returncode == 1), done
    if said is None:
        assert done.stdout.endswith(b"a line of the output 2999\n")
    else:
        assert done.stderr.endswith(said)
        assert b"Error" not in done.stderr


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", rb"\u2026"), ("utf-8", "…".encode())])
def test_characters_that_an_encoding_lacks_are_escaped(
    encoding: str, shown: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    prints = "from varsim.cli import streams; streams.guard(); print('\\u2026')"
    done = ran([sys.executable, "-c", prints])

    assert (0, shown + b"\n") == (done.returncode, done.stdout), done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("out", "err", "code"),
    [
        (FULL, None, 6),
        (None, FULL, 6),
        (FULL, FULL, 6),
        (NO_READER, NO_READER, 0),
        (CLOSED, None, 6),
        (None, CLOSED, 6),
        (CLOSED, CLOSED, 6),
    ],
)
def test_the_results_of_a_run_without_output_are_saved(
    out: str | None, err: str | None, code: int
) -> None:
    done = ran([*VARSIM, "run", "-n", "2", "--steps", "22"], out, err)

    assert code == done.returncode
    if out == FULL and err is None:
        said = done.stderr.splitlines()
        assert b"Error: the output cannot be written: No space left on device" == said[-1]
        assert 1 == len([line for line in said if not line.startswith(b"step ")])
    summary = load_summary(Path("runs/latest"))
    assert ("done", 22) == (summary.status.value, summary.step)
    assert summary.verdict is not None
    assert Path("runs/latest", HISTORY).is_file()


@pytest.mark.slow
def test_a_script_gets_the_errors_of_its_streams_as_under_python() -> None:
    Path("script.py").write_text(
        "import varsim as tf\n"
        "with tf.distribute.MirroredStrategy().scope(): tf.Variable(0.0)\n"
        "print('x', flush=True)\n"
    )
    done = ran([*VARSIM, "exec", "script.py"], FULL)

    assert 1 == done.returncode
    assert b"OSError: [Errno 28] No space left on device\n" in done.stderr
    assert "failed" == load_summary(Path("runs/latest")).status.value


@pytest.mark.slow
def test_a_limit_of_the_file_size_loses_only_the_history() -> None:
    """The output names the missing history. Without the limit, `varsim check` writes it."""
    limit = 290_000  # a trace's first file has 262,144 bytes

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = [*VARSIM, "run", "-n", "2", "--steps", "600", "--exchange", "star"]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=TIMEOUT_S, preexec_fn=limited
    )

    assert 6 == done.returncode
    assert "Error: the history of the run was not written into runs/" in done.stderr
    assert "Traceback" not in done.stderr
    assert 600 == load_summary(Path("runs/latest")).step
    checked = subprocess.run([*VARSIM, "check"], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert 4 == checked.returncode
    assert "stops where it could not be written (File too large)" in " ".join(
        checked.stdout.split()
    )


@pytest.mark.slow
def test_the_failure_and_the_report_do_not_wait_for_the_merge() -> None:
    """Both are printed before the traces are merged."""
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [*VARSIM, "run", "ends.py", "-n", "2", "params.victim=worker"],
        stdout=subprocess.PIPE,
        stderr=writes,
        text=True,
    )
    os.close(writes)
    with process, os.fdopen(reads) as said:
        assert process.stdout is not None
        assert "Error: the run failed: WorkerLost: replica 1: worker was killed" in said.readline()
        assert "ends: failed after" in process.stdout.readline()
        process.communicate(timeout=TIMEOUT_S)
    assert 1 == process.returncode


@pytest.mark.slow
def test_the_traces_of_a_killed_run_are_merged_and_judged() -> None:
    """The verdict is UNKNOWN, not INVALID, because the killed run is not a fault of varsim."""
    process = subprocess.Popen(
        [*VARSIM, "run", "ends.py", "-n", "2", "params.victim=program"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert -signal.SIGKILL == process.wait(TIMEOUT_S)
    assert not Path("runs/latest/summary.json").exists()
    wait_for(lambda: "varsim_worker" not in processes(), TIMEOUT_S)
    checked = subprocess.run(
        [*VARSIM, "check", "latest"], capture_output=True, text=True, timeout=TIMEOUT_S
    )

    assert 4 == checked.returncode
    assert re.fullmatch("merging the traces of runs/.*, which its run .*\n", checked.stderr)
    assert "INVALID" not in checked.stdout
    assert "how the program ended: there is no summary.json" in " ".join(checked.stdout.split())
    assert {"logs", HISTORY} <= {path.name for path in Path("runs/latest").iterdir()}


def processes() -> str:
    """Return the command lines of this test's processes."""
    here = os.environ["VARSIM_TEST_RUN"].encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if here in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:  # the process has ended, or belongs to another user
            continue
    return "\n".join(found)

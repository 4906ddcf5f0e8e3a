"""Every way in which the start of workers can fail, through the commands `run` and `exec`.

The command prints the reason, saves the run as failed, leaves no traces, and starts workers at
most once.
"""

from __future__ import annotations

import errno
import resource
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq
from click.testing import CliRunner, Result

from varsim.cli.main import main
from varsim.experiments.store import load_summary
from varsim.launch import fork_server, process
from varsim.launch.launcher import LaunchOptions
from varsim.launch.process import ProcessLauncher
from varsim.report.summary import RunStatus
from varsim.transport.folders import PrivateFolder
from varsim.transport.transport import TRANSPORTS

pytestmark = pytest.mark.processes

Patch = pytest.MonkeyPatch

SCRIPT = """
import varsim as tf
strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    tf.Variable(0.0)
"""

CAUGHT = """
import varsim as tf
strategy = tf.distribute.MirroredStrategy()
try:
    with strategy.scope():
        tf.Variable(0.0)
except RuntimeError as error:
    print("caught", type(error).__name__)
"""


def raises(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_: object, **__: object) -> Any:
        raise type(error)(*error.args)  # a new error, because a traceback keeps objects alive

    return raise_it


FULL = OSError(errno.ENOSPC, "No space left on device", "a/file")


def few_files(patch: Patch) -> None:
    patch.setattr(resource, "getrlimit", lambda _: (10, 10))


def no_private_folder(patch: Patch) -> None:
    patch.setattr(PrivateFolder, "__init__", raises(FULL))


def no_socket(patch: Patch) -> None:
    transport = type(TRANSPORTS.make("ipc"))
    patch.setattr(transport, "listen", raises(zmq.ZMQError(errno.EMFILE)))


def no_shared_memory(patch: Patch) -> None:
    patch.setattr("varsim.exchange.shared.Arena", raises(FULL))


def no_process(patch: Patch) -> None:
    patch.setattr(subprocess, "Popen", raises(BlockingIOError(errno.EAGAIN, "no more processes")))


def dies_at_once(patch: Patch) -> None:
    patch.setattr(fork_server, "_COMMAND", ("-c", "raise SystemExit(3)"))


def dies_later(patch: Patch) -> None:
    patch.setattr(fork_server, "_COMMAND", ("-c", "input(); raise SystemExit(3)"))


def worker_dies(patch: Patch) -> None:
    said = "input(); print('[0, 256]', flush=True); input()"
    patch.setattr(fork_server, "_COMMAND", ("-c", said))


def never_ready(patch: Patch) -> None:
    patch.setattr(fork_server, "_COMMAND", ("-c", "input(); input()"))
    launch = ProcessLauncher.launch

    def impatient(self: ProcessLauncher, options: LaunchOptions, references: Any) -> Any:
        return launch(self, replace(options, start_timeout_s=0.01), references)

    patch.setattr(ProcessLauncher, "launch", impatient)


def no_trace_folder(patch: Patch) -> None:
    before = Path.mkdir

    def mkdir(path: Path, *arguments: Any, **more: Any) -> None:
        if path.name == "trace":
            raise type(FULL)(*FULL.args)
        before(path, *arguments, **more)

    patch.setattr(Path, "mkdir", mkdir)


def no_trace(patch: Patch) -> None:
    patch.setattr(process, "open_trace", raises(FULL))


FAULTS: dict[Callable[[Patch], None], str] = {
    few_files: "need about",
    no_private_folder: "set TMPDIR to a folder that can be written",
    no_socket: "cannot start workers: ",
    no_shared_memory: "shared memory is not available",
    no_process: "no more processes",
    dies_at_once: "exited with code 3",
    dies_later: "exited with code 3",
    worker_dies: "worker exited with code 1, before it was ready",
    never_ready: "workers were not ready in time",
    no_trace_folder: "the folder of the traces cannot be created",
    no_trace: "cannot start workers: [Errno 28] No space left on device",
}


@pytest.fixture(autouse=True)
def launches(tmp_path: Path, monkeypatch: Patch) -> list[object]:
    """Count the launches of workers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VARSIM_WORKERS", raising=False)
    Path("script.py").write_text(SCRIPT)
    Path("caught.py").write_text(CAUGHT)
    seen: list[object] = []
    launch = ProcessLauncher.launch

    def counted(self: ProcessLauncher, *arguments: Any) -> Any:
        seen.append(arguments)
        return launch(self, *arguments)

    monkeypatch.setattr(ProcessLauncher, "launch", counted)
    return seen


def varsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--exchange", "shared"),
        pytest.param(("exec", "--exchange", "shared", "script.py"), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_start_is_reported_once_and_saved(
    fault: Callable[[Patch], None],
    words: tuple[str, ...],
    monkeypatch: Patch,
    launches: list[object],
) -> None:
    with monkeypatch.context() as patch:
        fault(patch)
        result = varsim(*words)

    assert 1 == result.exit_code, result.output
    assert isinstance(result.exception, SystemExit)
    assert FAULTS[fault] in result.stderr
    if words[0] == "run":  # `exec` shows the error as Python shows it
        assert 1 == result.stderr.count("Error") - result.stderr.count("StartError")
        assert "Traceback" not in result.stderr
    assert "failed after 0 calls" in result.stdout
    assert "The workers did not start, so nothing was recorded" in result.stdout
    summary = load_summary(Path(result.stdout.split("saved in ")[1].strip()))
    assert (RunStatus.FAILED, []) == (summary.status, summary.variables)
    assert summary.failure is not None
    assert "StartError" == summary.failure.kind
    assert len(launches) == (0 if fault is no_trace_folder else 1)
    assert [] == [*Path(summary.directory).glob("trace"), *Path(summary.directory).glob("strat*")]


def test_after_a_caught_failure_no_workers_are_started(
    monkeypatch: Patch, launches: list[object]
) -> None:
    with monkeypatch.context() as patch:
        few_files(patch)
        result = varsim("exec", "caught.py")

    assert (0, 1) == (result.exit_code, len(launches))
    assert result.stdout.startswith("caught StartError\n\ncaught: 0 calls\n")


def test_a_start_can_be_repeated_after_a_failure(monkeypatch: Patch, tmp_path: Path) -> None:
    """A failed start must leave no traces, because the second start overwrites no traces."""
    from varsim.distribute.mirrored import MirroredStrategy
    from varsim.errors import StartError
    from varsim.tracing.trace import TraceOptions

    strategy = MirroredStrategy(["a"], trace=TraceOptions(tmp_path / "traces"))
    for fault in (worker_dies, dies_later):
        with monkeypatch.context() as patch:
            fault(patch)
            with pytest.raises(StartError, match="exited with code"):
                strategy.start()
    assert [] == list((tmp_path / "traces").iterdir())


def test_a_strategy_closed_before_its_start_gets_no_workers(
    launches: list[object],
) -> None:
    from varsim.distribute.mirrored import MirroredStrategy
    from varsim.errors import ContextError

    strategy = MirroredStrategy(["a", "b"])
    strategy.close()

    with pytest.raises(ContextError, match="was closed, and has no workers"):
        strategy.run(lambda: None)
    assert [] == launches

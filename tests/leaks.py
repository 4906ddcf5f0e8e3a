"""Find what a test leaves behind: processes, threads, descriptors, temporary files, segments.

A snapshot takes about a tenth of a millisecond, and the check takes two snapshots for every test. A
search of all processes takes longer, so the check does it only after a test that has started a
process.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import MS, is_running, wait_for

MARK = "VARSIM_TEST_RUN"
"""An environment variable that identifies all descendants of a test run, including orphans."""

GRACE_S = 500 * MS
"""The time in seconds in which processes and threads must end after a test."""

YOUNG = 1
"""The generation of objects that have survived at most one collection."""

SEGMENTS = Path("/dev/shm")


Identity = tuple[int, int]
"""Device and inode of a file, a pipe or a socket. Descriptors of other kinds, such as eventfds, all
have the same. Asking for it takes less time than for the name that `/proc` shows."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The resources of this test run at one moment."""

    children: frozenset[int]
    children_faults: int  # page faults of children that have ended and were waited for
    threads: frozenset[threading.Thread]
    descriptors: dict[int, Identity]  # open descriptor -> what it refers to
    files: frozenset[str]


def snapshot(temporary: Path) -> Snapshot:
    """Return the current resources; `temporary` is the folder of this test run's files."""
    return Snapshot(
        children=frozenset(_children()),
        children_faults=resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt,
        threads=frozenset(threading.enumerate()),
        descriptors=_descriptors(),
        files=frozenset(_files(temporary)),
    )


def _children() -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        tasks = os.listdir("/proc/self/task")
        # Without children, this raises ChildProcessError, which takes less time than reading files.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        for task in tasks:
            found += map(int, Path(f"/proc/self/task/{task}/children").read_text().split())
    return found


def _descriptors() -> dict[int, Identity]:
    found: dict[int, Identity] = {}
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the descriptor of this listing itself
                status = os.fstat(int(name))
                found[int(name)] = status.st_dev, status.st_ino
    return found


def _targets(before: dict[int, Identity], now: dict[int, Identity]) -> Counter[str]:
    """Return the names of what new descriptors refer to, with the number of descriptors."""
    more = Counter(now.values()) - Counter(before.values())
    found: Counter[str] = Counter()
    # A new descriptor is one that was not open before, or that referred to something else.
    for descriptor in sorted(now.keys() - before.keys()) + sorted(now.keys() & before.keys()):
        identity = now[descriptor]
        if more[identity] > 0 and before.get(descriptor) != identity:
            more[identity] -= 1
            with suppress(OSError):  # closed in the meantime
                found[os.readlink(f"/proc/self/fd/{descriptor}")] += 1
    return found


def _files(temporary: Path) -> list[str]:
    found = [str(temporary / name) for name in os.listdir(temporary)]
    if SEGMENTS.is_dir():
        found += [str(SEGMENTS / name) for name in os.listdir(SEGMENTS) if "varsim" in name]
    return found


def _descendants(mark: str) -> set[int]:
    """Return the running processes that this test run started, directly or indirectly."""
    wanted = f"{MARK}={mark}".encode()
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            with suppress(OSError):
                if wanted in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    found.add(int(name))
    return {pid for pid in found if is_running(pid)}


class LeakCheck:
    """Compare the resources after a test with the resources before the test."""

    def __init__(self, temporary: Path, mark: str) -> None:
        self._temporary = temporary
        self._mark = mark
        self._processes: set[int] = set()  # processes of fixtures that several tests share
        self._before = snapshot(temporary)
        if self._before.children:
            self._processes = _descendants(mark)

    def leaks(self) -> list[str]:
        """Return one line for each leak, after processes and threads have had time to end."""
        if not self._left():
            return []
        # Unreachable objects are no leaks: a collection closes their resources. A full collection
        # visits all collected tests, which takes longer than most tests.
        gc.collect(YOUNG)
        if not self._left():
            return []
        gc.collect()
        with suppress(AssertionError):
            wait_for(lambda: not self._left(), GRACE_S)
        return self._left()

    def end_processes(self) -> None:
        """Kill leaked processes, so that they do not disturb other tests."""
        for pid in self._started():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _started(self) -> set[int]:
        """Return the running processes that started after the snapshot.

        A child without the mark is included, because its environment is empty while it starts.
        """
        children = {pid for pid in _children() if is_running(pid)} - self._before.children
        return children | (_descendants(self._mark) - self._processes)

    def _left(self) -> list[str]:
        before, now = self._before, snapshot(self._temporary)
        left: list[str] = []
        if now.children - before.children or now.children_faults != before.children_faults:
            left += map(_describe_process, sorted(self._started()))
        left += [f"thread {thread.name}" for thread in now.threads - before.threads]
        left += [
            f"{count} descriptor(s): {target}"
            for target, count in _targets(before.descriptors, now.descriptors).items()
            if _matters(target)
        ]
        files = now.files - before.files
        left += [f"file {name}" for name in sorted(files - self._of_other_runs(files))]
        return left

    def _of_other_runs(self, files: frozenset[str]) -> set[str]:
        """Return the segments that processes of other test runs or programs use."""
        segments = {name for name in files if Path(name).parent == SEGMENTS}
        if not segments:
            return set()
        found: set[str] = set()
        own = {os.getpid()} | _descendants(self._mark)
        for name in os.listdir("/proc"):
            if name.isdecimal() and int(name) not in own:
                with suppress(OSError):
                    maps = Path(f"/proc/{name}/maps").read_text("utf-8", "replace")
                    found |= {one for one in segments if one in maps}
        return found


def _describe_process(pid: int) -> str:
    with suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        return f"process {pid}: {command}"
    return f"process {pid}"


def _matters(target: str) -> bool:
    """Return whether an open descriptor is of a kind that a cluster uses.

    A ZeroMQ socket has an eventfd, and its context has eventfds and epolls. Files of other kinds
    belong to pytest, or to the cache of a library.
    """
    return (
        target.startswith(("socket:", "pipe:", "anon_inode:", "/memfd:", f"{SEGMENTS}/"))
        or "varsim-" in target
    )

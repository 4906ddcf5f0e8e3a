"""The numbers of threads and of addresses that this process can still get."""

from __future__ import annotations

import _thread
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from varsim.protocol.buffers import SharedReference
from varsim.threads import spare_threads
from varsim.tracing.absent import AbsentMemory
from varsim.transport import sockets
from varsim.transport.arena import Arena, create_file, region_size
from varsim.transport.host_limits import address_space

MIB = 2**20


@pytest.fixture
def few_addresses() -> Iterator[int]:
    """Limit the addresses of this process to 1 GiB more than it uses now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 1024 * MIB, before[1]))
    yield 1024 * MIB
    resource.setrlimit(resource.RLIMIT_AS, before)


def refuse_after(count: int) -> Callable[..., int]:
    """Return a function that starts `count` threads, and then fails as the interpreter does."""
    start = _thread.start_new_thread
    started: list[int] = []

    def start_new_thread(*arguments: Any) -> int:
        if len(started) == count:
            raise RuntimeError("can't start new thread")
        started.append(1)
        return start(*arguments)

    return start_new_thread


def test_spare_threads_are_counted_and_the_started_threads_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    before = threads()
    assert 20 == spare_threads(20)
    assert before == threads()
    monkeypatch.setattr(_thread, "start_new_thread", refuse_after(3))
    assert 3 == spare_threads(20)
    assert before == threads()


def test_spare_addresses_are_counted(few_addresses: int) -> None:
    spare = address_space()
    assert spare is not None
    assert 0.9 * few_addresses < spare <= few_addresses


def test_without_a_limit_addresses_are_not_counted() -> None:
    assert address_space() is None


def test_shared_memory_fits_into_few_addresses(few_addresses: int) -> None:
    """The coordinator chooses the size of a region for all processes."""
    assert region_size(2**33, 3) < few_addresses // 6
    descriptor = create_file()
    arena = Arena(descriptor, 0, 3, 2**33, pytest.fail)
    try:
        assert region_size(2**33, 3) <= arena.region_bytes == arena.limit_bytes
        assert arena.empty((2 * MIB,), np.dtype(np.uint8)) is not None
    finally:
        arena.close()


def test_a_record_without_values_is_read_with_few_addresses(few_addresses: int) -> None:
    absent = AbsentMemory()
    sizes = [100, 50 * MIB, 200 * MIB, 100]
    absent.expect([None])
    arrays = [absent.get(SharedReference(0, 0, 0), size) for size in sizes]

    assert sizes == [array.nbytes for array in arrays]
    assert all(map(absent.is_absent, arrays))


def test_large_frames_are_copied_if_no_thread_can_free_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[bool] = []

    class Socket:
        def send(self, frame: bytes, flags: int, *, copy: bool) -> None:
            sent.append(copy)

    for spare, copied in ((2, True), (3, False)):
        monkeypatch.setattr(sockets, "spare_threads", lambda wanted, spare=spare: spare)
        sockets._must_copy.cache_clear()
        sockets._send(Socket(), [b"small", bytes(2 * MIB)], 0)  # type: ignore[arg-type]
        assert [True, copied] == sent[-2:]
    sockets._must_copy.cache_clear()

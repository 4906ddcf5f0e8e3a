"""Blocks of shared memory: their sizes, their limits, and their release."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.leaks import SEGMENTS
from varsim.environment import SHARED_MEMORY
from varsim.errors import ConfigError
from varsim.transport.arena import (
    Arena,
    create_file,
    limit_bytes,
    size_class,
)

BYTE = np.dtype(np.uint8)
MIB = 2**20

Make = Callable[..., Arena]


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def make(warnings: list[str]) -> Iterator[Make]:
    """Return a function that makes the arena of a cluster with one process."""
    made: list[Arena] = []

    def arena(limit: int = 64 * MIB) -> Arena:
        made.append(Arena(create_file(), 0, 1, limit, warnings.append))
        return made[-1]

    yield arena
    while made:
        made.pop().close()


def allocated_bytes(arena: Arena) -> int:
    """Return how much memory the system has allocated for the file."""
    return 512 * os.fstat(arena.descriptor).st_blocks


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def segments() -> set[Path]:
    return set(SEGMENTS.iterdir())


def take(arena: Arena, size_bytes: int) -> Any:
    array = arena.empty((size_bytes,), BYTE)
    assert array is not None
    return array


# ---------------------------------------------------------------- sizes


@given(st.integers(0, 2**44))
def test_a_block_is_little_larger_than_its_array(size_bytes: int) -> None:
    size = size_class(size_bytes)
    assert size_bytes <= size
    assert 0 == size % 2**16
    assert size == size_class(size)
    if size_bytes >= 2**18:
        assert size - size_bytes < size_bytes / 4


@given(st.integers(0, 2**44), st.integers(0, 2**44))
def test_a_larger_array_never_has_a_smaller_block(one: int, other: int) -> None:
    assert (one <= other) <= (size_class(one) <= size_class(other))


def test_there_are_four_block_sizes_between_a_size_and_its_double() -> None:
    assert 4 == len({size_class(size) for size in range(MIB + 1, 2 * MIB + 1, 1000)})


@pytest.mark.parametrize("shape", [(), (0,), (3, 5), (100_000,)])
@pytest.mark.parametrize("dtype", ["?", "f2", "f8", "c16"])
def test_an_array_is_aligned_and_writeable(make: Make, shape: tuple[int, ...], dtype: str) -> None:
    array = make().empty(shape, np.dtype(dtype))
    assert array is not None
    assert (shape, np.dtype(dtype)) == (array.shape, array.dtype)
    assert array.flags.aligned
    assert array.flags.writeable
    assert array.flags.c_contiguous
    array[...] = 1


# ---------------------------------------------------------------- use


def test_two_arrays_never_share_a_block(make: Make) -> None:
    arena = make()
    arrays = [take(arena, 100_000) for _ in range(20)]
    for number, array in enumerate(arrays):
        array.fill(number)
    assert all((array == number).all() for number, array in enumerate(arrays))


@pytest.mark.parametrize(
    "keep",
    [
        lambda array: array[10:20],
        lambda array: array.reshape(10, -1).T[3],
        lambda array: array.view(np.float32),
        memoryview,
        lambda array: np.asarray(memoryview(array)),
        lambda array: np.lib.stride_tricks.as_strided(array, (5,), (2,)),
        lambda array: array.view(np.recarray),
        iter,
    ],
    ids="slice transposed dtype memoryview array-of-it strided subclass iterator".split(),
)
def test_any_view_keeps_the_block(make: Make, keep: Callable[[Any], Any]) -> None:
    arena = make()
    array = take(arena, 100_000)
    array.fill(1)
    kept = keep(array)
    del array
    for _ in range(3):
        take(arena, 100_000).fill(2)
    assert 1 == int(np.asarray(next(kept) if hasattr(kept, "__next__") else kept).view("u1").max())
    del kept
    arena.settle()
    assert arena._held_bytes == sum(size * len(free) for size, free in arena._free.items())


def test_a_step_that_drops_its_arrays_needs_one_block(make: Make) -> None:
    arena = make()
    for _ in range(200):
        take(arena, MIB)
    assert MIB == arena._held_bytes == allocated_bytes(arena)


def test_a_block_that_a_fork_reads_is_not_reused(make: Make) -> None:
    arena = make()
    array = take(arena, MIB)
    array.fill(1)
    mine, its = os.pipe()
    copy = os.fork()
    if not copy:
        os.read(mine, 1)
        os._exit(int(array.max()))
    del array
    take(arena, MIB).fill(2)
    os.write(its, b"x")
    assert 1 == os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    for descriptor in (mine, its):
        os.close(descriptor)


# ---------------------------------------------------------------- limits


def test_a_full_arena_gives_no_block_and_one_warning(make: Make, warnings: list[str]) -> None:
    arena = make(2 * MIB)
    kept = [take(arena, MIB), take(arena, MIB)]
    assert [None, None] == [arena.empty((n,), BYTE) for n in (1, MIB)]
    (warning,) = warnings
    assert SHARED_MEMORY in warning
    assert "2,097,152" in warning

    kept.pop()
    assert arena.empty((MIB,), BYTE) is not None


def test_a_full_arena_returns_free_blocks_of_other_sizes(make: Make, warnings: list[str]) -> None:
    arena = make(4 * MIB)
    for _ in range(3):  # repeat, so that addresses whose memory was returned are used again
        several = [take(arena, MIB) for _ in range(4)]
        for number, array in enumerate(several):
            array.fill(number + 1)
        del several, array
        large = take(arena, 4 * MIB)
        large.fill(9)
        assert 4 * MIB == arena._held_bytes == allocated_bytes(arena)
        del large
    assert 8 * MIB == arena._next_offset
    assert [] == warnings


def test_only_the_needed_memory_is_returned_to_the_system(make: Make) -> None:
    arena = make(4 * MIB)
    several = [take(arena, MIB) for _ in range(4)]
    kept = several.pop()
    kept.fill(5)
    several.clear()

    take(arena, 2 * MIB)

    assert (kept == 5).all()
    assert 4 * MIB == arena._held_bytes


def test_an_arena_gives_no_block_if_the_system_gives_no_memory(
    make: Make, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = make()
    before = take(arena, MIB)

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        assert [None, None] == [arena.empty((MIB,), BYTE) for _ in range(2)]
    assert 1 == len(warnings)
    before.fill(1)
    take(arena, MIB).fill(1)


def test_an_arena_raises_oserror_if_its_file_would_be_too_large(make: Make) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    try:
        descriptor = create_file()
        with pytest.raises(OSError, match="File too large"):
            Arena(descriptor, 0, 1, 64 * MIB, pytest.fail)
        os.close(descriptor)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_warning_that_raises_an_error_is_given_once(make: Make) -> None:
    arena = make(MIB)
    arena._warn = pytest.fail
    with pytest.raises(pytest.fail.Exception):
        arena.empty((2 * MIB,), BYTE)
    assert arena.empty((2 * MIB,), BYTE) is None


@pytest.mark.parametrize("asked", ["", "lots", "-1", "1.5", "1 GiB", "²", "0x10"])
def test_a_limit_that_is_not_a_number_is_refused(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv(SHARED_MEMORY, asked)
    with pytest.raises(ConfigError, match="expected a number of bytes"):
        limit_bytes()


def test_the_default_limit_is_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(SHARED_MEMORY, raising=False)
    assert 0 < limit_bytes() <= 2**50
    monkeypatch.setenv(SHARED_MEMORY, "123456789")
    assert 123456789 == limit_bytes()


# ---------------------------------------------------------------- after the end


def test_blocks_need_no_descriptors(make: Make) -> None:
    """A process has about a thousand descriptors, and a model may have as many variables."""
    arena = make()
    before = descriptors()
    kept = [take(arena, 2**16) for _ in range(100)]
    assert before == descriptors()
    del kept


def test_a_closed_arena_leaves_no_file_and_no_descriptor(make: Make) -> None:
    files, opened = segments(), descriptors()
    arena = make()
    take(arena, MIB)
    assert files == segments()
    assert 0 == os.fstat(arena.descriptor).st_mode & 0o077

    arena.close()
    arena.close()

    assert opened == descriptors()
    assert arena.empty((MIB,), BYTE) is None


def test_after_an_arena_is_closed_only_arrays_in_use_have_memory(make: Make) -> None:
    arena = make()
    descriptor = os.dup(arena.descriptor)
    kept, dropped = take(arena, MIB), take(arena, 8 * MIB)
    kept.fill(3)
    dropped.fill(4)
    del dropped

    arena.close()

    assert (kept == 3).all()
    assert MIB == 512 * os.fstat(descriptor).st_blocks
    os.close(descriptor)
    del kept, arena

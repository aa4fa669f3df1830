"""Memory and files that several processes map, passed on as open files: nothing has a name, so nothing is left."""

from __future__ import annotations

import errno
import math
import mmap
import os
import re
import resource
import struct
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from ..split import pieces

__all__ = [
    "KIND",
    "Layout",
    "Region",
    "Segment",
    "Segments",
    "Source",
    "anonymous_file",
    "array_at",
    "compact",
    "host_room",
    "parts_of_file",
]

Array = NDArray[Any]

KIND = "memfd" if hasattr(os, "memfd_create") else "unlinked files"
ALIGNMENT = 64  # bytes; a cache line
SPARE_BYTES = 64 << 20  # that a team keeps for the next call: new memory costs a page fault every 4 KiB
SMALLEST = 1 << 16  # bytes of a segment
COPIED_AT_A_TIME = 1 << 23  # elements
# Files of a control group: its limit, what is used, and what of that the kernel would give back.
CGROUP2 = "memory.max", "memory.current", "inactive_file"
CGROUP1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
STAMP = struct.Struct("<Q")  # behind each segment: how often it was taken back

# An array in a mapped region: key of the region, offset in it, dtype, shape and strides.
Layout = tuple[int, int, str, tuple[int, ...], tuple[int, ...]]

_keys = count()


class Region(NamedTuple):
    """What to map of an open file that comes with it."""

    key: int
    start: int
    length: int
    writable: bool

    def map(self, file: int) -> mmap.mmap:
        """Map it; the file is not needed any longer then."""
        access = mmap.ACCESS_WRITE if self.writable else mmap.ACCESS_READ
        return mmap.mmap(file, self.length, access=access, offset=self.start)


def array_at(layout: Layout, maps: dict[int, mmap.mmap]) -> Array:
    """The array that `layout` describes, in a process that has mapped its region."""
    key, offset, dtype, shape, strides = layout
    return np.ndarray(shape, dtype, maps[key], offset, strides)


class Source:
    """An open file, closed when it is no longer used, and what to map of it."""

    file = -1  # of one that Ctrl-C interrupted before it had its file

    def __init__(self, file: int, start: int, length: int, writable: bool) -> None:
        self.file = file
        self.region = Region(next(_keys), start, length, writable)

    def layout(self, view: Array, offset: int) -> Layout:
        """Where `view` lies, `offset` bytes from the start of the region."""
        return self.region.key, offset, view.dtype.str, view.shape, view.strides

    def __del__(self) -> None:
        if self.file >= 0:
            os.close(self.file)


class Segment(Source):
    """Shared memory of one team.

    Raises
    ------
    MemoryError
        If there is not so much.
    """

    def __init__(self, nbytes: int) -> None:
        super().__init__(anonymous_file("parlinalg-segment"), 0, nbytes, True)
        self._uses = 0
        try:
            reserve(self.file, nbytes + STAMP.size)
            self.memory = self.region.map(self.file)
            self._address = address(np.frombuffer(self.memory, np.uint8, 1))
        except OSError as error:
            raise MemoryError(f"{nbytes} bytes of shared memory are not available: {error.strerror}") from error

    def empty(self, shape: tuple[int, ...], dtype: np.dtype, offset: int) -> Array:
        return np.ndarray(shape, dtype.newbyteorder("="), self.memory, offset)

    def copy(self, a: Array) -> Array:
        """A copy of `a` in this segment: native byte order, axes in the same order in memory, without gaps."""
        axes = sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))
        ordered = a.transpose(axes)
        view = self.empty(ordered.shape, a.dtype, 0)
        for index in pieces(ordered.shape, COPIED_AT_A_TIME):  # Ctrl-C is seen in between
            view[index] = ordered[index]
        return view.transpose(np.argsort(axes))

    def part(self, view: Array) -> Layout:
        """Where a view of what `copy` or `empty` returned lies."""
        return self.layout(view, address(view) - self._address if view.size else 0)

    def stamp(self) -> None:
        """Tell processes that know this segment without the knowledge of this one that it will hold something else."""
        self._uses += 1
        os.pwrite(self.file, STAMP.pack(self._uses), self.region.length)

    def is_stamped(self) -> bool:
        """Whether another process has done so since this one was forked from it."""
        return os.pread(self.file, STAMP.size, self.region.length) != STAMP.pack(self._uses)


class Segments:
    """Segments that are free, up to SPARE_BYTES of them."""

    def __init__(self) -> None:
        self._spare: list[Segment] = []
        self._oldest = 0  # key of the first segment that is used again

    def take(self, nbytes: int) -> Segment:
        """A segment of `nbytes` or more; it holds anything."""
        fitting = [s for s in self._spare if nbytes <= s.region.length <= max(4 * nbytes, SMALLEST)]
        if fitting:
            best = min(fitting, key=lambda segment: segment.region.length)
            self._spare.remove(best)
            return best
        # Powers of two, so that sizes that differ a little share segments; not where that would waste much.
        return Segment(nbytes if nbytes > SPARE_BYTES else max(SMALLEST, 1 << (nbytes - 1).bit_length()))

    def give(self, segment: Segment) -> list[Source]:
        """Take a segment back; return those that are given up, the oldest first."""
        if self.has_retired(segment):
            return [segment]
        segment.stamp()
        self._spare.append(segment)
        dropped: list[Source] = []
        while sum(s.region.length for s in self._spare) > SPARE_BYTES:
            dropped.append(self._spare.pop(0))
        return dropped

    def retire(self) -> None:
        """Never again use a segment that exists now: another process may have a matrix in it."""
        self._oldest = next(_keys)

    def has_retired(self, source: Source) -> bool:
        """Whether it existed when `retire` was called."""
        return source.region.key < self._oldest


def anonymous_file(name: str) -> int:
    """An empty file in memory (elsewhere than on Linux: on disk) that no other process can find; its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def reserve(file: int, nbytes: int) -> None:
    """Make a file `nbytes` long, with all its memory: where that is missing later, the process that writes is killed.

    Raises
    ------
    OSError
        If there is not so much.
    """
    free = host_room()
    if nbytes > free:
        raise OSError(errno.ENOMEM, f"only {free} bytes of memory are free")
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, nbytes)
    else:
        os.ftruncate(file, nbytes)


def host_room() -> float:
    """Bytes of memory that this process can still have, by what the host, its control groups and its limit say."""
    return min(_host_room(), _group_room(), _process_room())


def _host_room(meminfo: Path = Path("/proc/meminfo")) -> float:
    """Bytes of memory that this host has left; infinity where it does not say."""
    match = re.search(r"^MemAvailable: +(\d+) kB", _read(meminfo), re.MULTILINE)
    return int(match[1]) * 1024 if match else math.inf


def _process_room() -> float:
    """Bytes of address space that the limit of this process (``ulimit -v``) leaves."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _read(Path("/proc/self/statm")).partition(" ")[0]
    if limit == resource.RLIM_INFINITY or not used.isdecimal():
        return math.inf
    return max(0, limit - int(used) * resource.getpagesize())


def _group_room(cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """Bytes that the control groups of this process still grant it; beyond, the kernel kills it."""
    return min(_room_below(root, cgroup, "", CGROUP2), _room_below(root / "memory", cgroup, "memory", CGROUP1))


def _room_below(root: Path, cgroup: Path, controller: str, names: tuple[str, str, str]) -> float:
    match = re.search(rf"^\d+:(?:[\w,=]+,)?{controller}(?:,[\w,=]+)?:/(.*)$", _read(cgroup), re.MULTILINE)
    group = root / (match[1] if match else "")
    return min(_room(folder, *names) for folder in (group, *group.parents) if folder.is_relative_to(root))


def _room(group: Path, most: str, now: str, cache: str) -> float:
    limit, used = _read(group / most).strip(), _read(group / now).strip()
    cached = re.search(rf"^{cache} (\d+)$", _read(group / "memory.stat"), re.MULTILINE)
    if not (limit.isdecimal() and used.isdecimal()):  # no limit
        return math.inf
    return int(limit) - int(used) + (int(cached[1]) if cached else 0)


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:  # not Linux, or hidden from this process
        return ""


def address(a: Array) -> int:
    """Where the first element lies in memory."""
    return int(a.__array_interface__["data"][0])  # a.ctypes.data takes three times as long


def compact(a: Array) -> Array:
    """`a` without the repetitions along axes of stride 0: ``broadcast_to(compact(a), a.shape)`` is `a` again."""
    return a[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in a.strides)]


def parts_of_file(a: Array, ranges: Sequence[range]) -> list[tuple[Source, Layout]] | None:
    """``a[rows]`` for each of `ranges` as a part of the file that `a` is a memory map of; None if it is none."""
    mapped, memory = _memmap_of(a)
    if mapped is None or mapped.mode == "c" or not mapped.filename or a.size == 0:
        return None
    start = address(np.frombuffer(memory, np.uint8))
    # numpy.memmap begins at a multiple of the granularity; slices of it keep the `offset` of the whole.
    first = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY - start
    try:
        file = os.open(mapped.filename, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it has been removed, for example, but the memory is there
        return None
    try:
        if not _is_mapped(os.path.realpath(mapped.filename), start):
            return None
        return [_part(os.dup(file), first, a, a[rows.start : rows.stop]) for rows in ranges]
    finally:
        os.close(file)


def _memmap_of(a: Any) -> tuple[np.memmap[Any, Any] | None, mmap.mmap]:
    """The outermost memmap that `a` is a view of, and its memory; None if it is none."""
    mapped = None
    while isinstance(a, np.ndarray):
        mapped = a if isinstance(a, np.memmap) else mapped
        a = a.base
    return (mapped if isinstance(a, mmap.mmap) else None), a


def _is_mapped(path: str, start: int) -> bool:
    """Whether the file that is mapped at `start` is still called `path`: another one may have replaced it."""
    text = _read(Path("/proc/self/maps"))
    for line in text.splitlines():
        span, _, name = line.partition(" ")
        low, high = (int(edge, 16) for edge in span.split("-"))
        if low <= start < high:
            return name.endswith(" " + path)
    return not text  # not Linux: nothing tells


def _part(file: int, first: int, a: Array, part: Array) -> tuple[Source, Layout]:
    low, high = byte_bounds(part if part.size else a)
    start = (first + low) - (first + low) % mmap.ALLOCATIONGRANULARITY
    source = Source(file, start, first + high - start, False)
    return source, source.layout(part, first + address(part) - start if part.size else 0)

"""An OpenCL device: what it has, its programs and its memory."""

from __future__ import annotations

import os
import threading
import time
import warnings
import weakref
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple

import numpy as np

from ..errors import BackendError
from ..exact import FLOAT_DIGITS
from ..profiles import default_path, stored
from ._base import Array
from ._device_choice import FORKED, has_float64
from ._shared import host_room

__all__ = ["CHUNK", "PAIRS", "WIDEST", "Device", "Settings", "power_of_two"]

SOURCES = Path(__file__).parent / "opencl"
ALIGNMENT = 128  # bytes
WORTH_ASKING = 1 << 20  # bytes, from which on the host is asked how much is left: it takes 0.1 ms
COPIED = 1 << 28  # bytes, to see how fast memory is
MOST_RANGES = 1 << 16  # that a profile may ask for
CHUNK = 16  # digits of states that items of a group add up at a time
WIDEST = 16  # bytes that one load of an item of a group takes
LOG = 2000  # characters of a build log that an error shows
KEPT: defaultdict[int, dict[int, int]] = defaultdict(dict)  # bytes that stay on devices, by device and owner

# How elements of a dtype are stored on a device, and added up there. Nothing that a caller passes gets into a source.
REAL = {"LOAD(p, i)": "((p)[i])", "STORE(p, i, v)": "((p)[i] = (v))", "ZERO": "0", "ADD(a, b)": "((a) + (b))"}
SUM = {"MULTIPLY_ADD(sum, a, b)": "((sum) + (a) * (b))"}
COMPLEX = REAL | {
    "ZERO": "(ACC)(0, 0)",
    "MULTIPLY_ADD(s, a, b)": "((s) + (ACC)((a).x * (b).x - (a).y * (b).y, (a).x * (b).y + (a).y * (b).x))",
}
HALF = {"STORED": "ushort", "LOAD(p, i)": "vload_half(i, p)", "STORE(p, i, v)": "vstore_half_rte(v, i, p)"}
FOUR = {"WIDTH": "4", "VLOAD": "vload4", "STOREV": "vstore4"}
EIGHT = {"WIDTH": "8", "VLOAD": "vload8", "STOREV": "vstore8"}
# Of 512 bits, for Intel's runtime: with other drivers they change calling conventions, and compilers have crashed.
WIDE: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "float64": {**EIGHT, "VECTOR": "double8"},
        "float32": {"WIDTH": "16", "VLOAD": "vload16", "STOREV": "vstore16", "VECTOR": "float16"},
    }
)
BOOL = {
    "LOAD(p, i)": "((uchar)((p)[i] != 0))",
    "ADD(a, b)": "((a) | (b))",
    "MULTIPLY_ADD(s, a, b)": "((s) | ((a) & (b)))",
}
OF_PAIRS = {
    "LOAD(p, i)": "load_pair((p)[i])",
    "STORE(p, i, v)": "((p)[i] = store_pair(v))",
    "ZERO": "(float4)(0)",
    "ADD(a, b)": "add_pairs(a, b)",
    "MULTIPLY_ADD(s, a, b)": "multiply_add_pairs(s, a, b)",
}
PAIRS = "pairs"  # of float32, that stand for float64
PRODUCTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "float64": {"T": "double", "ACC": "double", **FOUR, "VECTOR": "double4", **REAL, **SUM},
        "float32": {"T": "float", "ACC": "float", **EIGHT, "VECTOR": "float8", **REAL, **SUM},
        "float16": {"T": "half", "ACC": "float", **REAL, **SUM, **HALF},
        "complex128": {"T": "double2", "ACC": "double2", **COMPLEX},
        "complex64": {"T": "float2", "ACC": "float2", **COMPLEX},
        "uint64": {"T": "ulong", "ACC": "ulong", **FOUR, "VECTOR": "ulong4", **REAL, **SUM},
        "uint32": {"T": "uint", "ACC": "uint", **EIGHT, "VECTOR": "uint8", **REAL, **SUM},
        "uint16": {"T": "ushort", "ACC": "ushort", **REAL, **SUM},
        "uint8": {"T": "uchar", "ACC": "uchar", **REAL, **SUM},
        "bool": {"T": "uchar", "ACC": "uchar", **REAL, **SUM, **BOOL},
        PAIRS: {"T": "float2", "ACC": "float4", **OF_PAIRS},
    }
)
WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "float64": {"WORD": "ulong", "MANTISSA": "52", "EXPONENT": "11"},
        "float32": {"WORD": "uint", "MANTISSA": "23", "EXPONENT": "8"},
        "float16": {"WORD": "ushort", "MANTISSA": "10", "EXPONENT": "5"},
    }
)
INTEGERS: Mapping[str, str] = MappingProxyType(
    {
        **{f"int{bits}": name for bits, name in ((8, "char"), (16, "short"), (32, "int"), (64, "long"))},
        **{f"uint{bits}": f"u{name}" for bits, name in ((8, "char"), (16, "short"), (32, "int"), (64, "long"))},
        "bool": "uchar",
    }
)


class Settings(NamedTuple):
    """How work is given to a device; what is best differs between them."""

    ranges_per_unit: int = 256  # of a processor: enough for none to wait long for another
    group: int = 128  # work items of a group, elsewhere; a power of two
    groups_per_unit: int = 32  # that a compute unit has to choose from
    rows_side_by_side: int = 32  # or loads of several rows, that work items side by side take from a column

    @classmethod
    def of(cls, chosen: Any) -> Settings:
        """What any device like this one can have; rows as many as it runs in step, where it says so (OpenCL 3.0)."""
        from pyopencl import Error

        usual = cls()
        in_step = usual.rows_side_by_side
        with suppress(Error):
            in_step = power_of_two(chosen.preferred_work_group_size_multiple)
        group = min(usual.group, power_of_two(chosen.max_work_group_size))
        return cls(group=group, rows_side_by_side=min(group, in_step))


def power_of_two(most: int) -> int:
    """The largest one that is not above it."""
    return 1 << (max(1, int(most)).bit_length() - 1)


class _Usable:
    """What `Device.usable` returns: one for all calls, since each of them counts in a small product."""

    def __init__(self, name: str, memory: int) -> None:
        import pyopencl

        self._name = name
        self._memory = memory
        self._errors = pyopencl.MemoryError, pyopencl.Error

    def __enter__(self) -> None:
        FORKED.require()

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        no_memory, failed = self._errors
        if isinstance(error, no_memory):
            raise MemoryError(f"opencl: {self._name}, which has {self._memory} bytes: {error}") from error  # noqa: TRY004
        if isinstance(error, failed):
            raise BackendError(f"opencl: {self._name} failed: {error}") from error


class Device:
    """A device, with a context, a queue, and the programs that were built for it.

    Parameters
    ----------
    chosen : pyopencl.Device
    queue : pyopencl.CommandQueue, optional
        Of the user's. None, or one that does not keep the order of what is queued: one of its own, in that context.
    """

    def __init__(self, chosen: Any, queue: Any = None) -> None:
        import pyopencl

        self.cl = pyopencl
        self.opencl = chosen
        self.name = chosen.name.strip()
        self.platform = chosen.platform.name.strip()
        self.memory = int(chosen.global_mem_size)
        self._usable = _Usable(f"{self.name!r}", self.memory)
        with self.usable():
            self.context = pyopencl.Context([chosen]) if queue is None else queue.context
            self.queue = queue if _keeps_order(queue) else pyopencl.CommandQueue(self.context, chosen)
            self._uploads = pyopencl.CommandQueue(self.context, chosen)
        self.is_processor = bool(chosen.type & pyopencl.device_type.CPU)
        self.has_float64 = has_float64(chosen)
        self._has_wide_vectors = self.platform == "Intel(R) OpenCL" and chosen.native_vector_width_float >= 16
        self.units = int(chosen.max_compute_units)
        before = ALIGNMENT if self.is_processor else 0  # see aligned_buffer
        self.largest = int(chosen.max_mem_alloc_size) - before  # bytes of a buffer
        self.key = f"{self.platform}, {self.name}, {chosen.driver_version}"
        self.settings = self._stored_settings() or Settings.of(chosen)
        self._programs: dict[tuple[tuple[str, ...], str], Any] = {}
        self._kept = KEPT[chosen.int_ptr]
        self.trials: dict[tuple[str, int], bool] = {}  # of the folds: see _device_sums
        self._lock = threading.Lock()
        self._kernels = threading.local()  # a kernel holds its arguments, so no two threads may share one
        FORKED.enter()

    def _stored_settings(self) -> Settings | None:
        """Those of the profile of this host, if they are possible."""
        profile = stored(default_path())
        found = None if profile is None else profile.devices.get(self.key)
        if found is None or set(found) != set(Settings._fields):
            return None
        settings = Settings(**found)
        least, most = min(settings), int(self.opencl.max_work_group_size)
        powers = all(one & (one - 1) == 0 for one in (settings.group, settings.rows_side_by_side))
        possible = least > 0 and settings.rows_side_by_side <= settings.group <= most and max(settings) <= MOST_RANGES
        return settings if powers and possible else None

    def usable(self) -> _Usable:
        """A context in which what belongs to it is raised where the device fails.

        Raises
        ------
        BackendUnavailable
            In a process that was forked: OpenCL hangs there.
        MemoryError, BackendError
            What the driver says, in words of ours.
        """
        return self._usable

    def products(self, dtype: str, kernel: str, at_once: int) -> Any:
        """A new kernel of products.cl, or of in_order.cl or groups.cl, which loads so many elements at once."""
        name = f"u{dtype}" if dtype.startswith("int") else dtype  # both wrap around alike
        sources = (
            *(("pairs",) if name == PAIRS else ()),
            "products",
            *(("in_order",) if self.is_processor else ("loads", "groups")),
        )
        macros = {
            "STORED": "T",
            **PRODUCTS[name],
            **(WIDE.get(name, {}) if self._has_wide_vectors else {}),
            "AT_ONCE": str(at_once),
        }
        return self.cl.Kernel(self._program(sources, f"{name} {at_once}", macros), kernel)

    def sums(self, dtype: np.dtype, digits: int, bias: int, *, by_folds: bool) -> Any:
        """The kernel of sums.cl, for floats, or, where states have the digits of products, for these."""
        weighted = digits > FLOAT_DIGITS
        macros = {**WORDS[dtype.name], "DIGITS": str(digits), "BIAS": str(bias), "WEIGHTED": str(int(weighted))}
        macros["FOLDS"] = str(2 + (dtype == np.float64) + weighted)
        if not self.is_processor:
            macros |= {"SIDE_BY_SIDE": "1", "CHUNK": str(CHUNK)}
        how = "folds" if by_folds else "windows"
        return self._kernel(("words", how, "sums"), f"{dtype.name} {digits}", macros, "sum_rows")

    def totals(self, dtype: np.dtype, at_once: int) -> Any:
        """The kernel of totals.cl, which loads so many elements at once."""
        value = "((v) != 0)" if dtype == np.bool_ else "((long)(v))"
        macros = {"WORD": INTEGERS[dtype.name], "VALUE(v)": value, "AT_ONCE": str(at_once), "STORED": "WORD"}
        if not self.is_processor:
            macros["SIDE_BY_SIDE"] = "1"
        return self._kernel(("loads", "tree", "totals"), f"{dtype.name} {at_once}", macros, "total_rows")

    def states(self) -> Any:
        """The kernel of states.cl."""
        return self._kernel(("tree", "states"), "", {}, "add_states")

    def parts(self, dtype: np.dtype) -> Any:
        """The kernel of parts.cl."""
        return self._kernel(("parts",), dtype.name, WORDS[dtype.name], "take_part")

    def copy_there(self, a: Any) -> Any:
        """A contiguous copy of an array of pyopencl, of one or two axes, with any strides and at any address."""
        import pyopencl.array

        copy: Any = pyopencl.array.empty(self.queue, a.shape, a.dtype)
        if copy.size == 0:
            return copy
        steps = (0, *a.strides)[-2:]
        sizes = [np.int64(one) for one in (a.offset, a.shape[-1], *steps, a.dtype.itemsize)]
        kernel = self.cl.Kernel(self._program(("copies",), "", {}), "copy_elements")
        copy.add_event(kernel(self.queue, (a.size,), None, a.base_data, *sizes, copy.data, wait_for=a.events))
        return copy

    def buffer(self, a: Array) -> Any:
        """What lies in memory at `a`, contiguous, as a buffer to read; a copy, unless the device is the processor."""
        flags = self.cl.mem_flags
        if a.size == 0:
            return self.empty(1)
        if self.is_processor:
            return self._try(self.cl.Buffer, a.nbytes, flags.READ_ONLY | flags.USE_HOST_PTR, hostbuf=a)
        self.require_memory(a.nbytes)
        buffer = self._try(self.cl.Buffer, a.nbytes, flags.READ_ONLY, size=a.nbytes)
        # Five times as fast as what drivers do with COPY_HOST_PTR; in a queue that has nothing else to wait for.
        self.cl.enqueue_copy(self._uploads, buffer, a)
        return buffer

    def small_copy(self, a: Array) -> Any:
        """A small array in a buffer of its own."""
        flags = self.cl.mem_flags.READ_ONLY | self.cl.mem_flags.COPY_HOST_PTR
        return self._try(self.cl.Buffer, a.nbytes, flags, hostbuf=a)

    def aligned_buffer(self, a: Array) -> tuple[Any, int]:
        """The same for a large array; and the index of its first element in the buffer.

        Drivers for processors copy what does not begin at a multiple of ALIGNMENT, so the buffer begins at one before.
        """
        before = a.__array_interface__["data"][0] % ALIGNMENT
        if not self.is_processor or a.size == 0 or before % a.itemsize:
            return self.buffer(a), 0
        return self.buffer(np.asarray(_Memory(a, before))), before // a.itemsize

    def empty(self, nbytes: int) -> Any:
        """A buffer to write."""
        self.require_memory(nbytes)
        return self._try(self.cl.Buffer, nbytes, self.cl.mem_flags.READ_WRITE, size=max(1, nbytes))

    def room(self) -> int:
        """Bytes that nothing of ours keeps; what others have there is not known."""
        return self.memory - sum(list(self._kept.values()))

    def count(self, owner: object, nbytes: int) -> None:
        """Take so much as kept, on a device with memory of its own, until `owner` is gone."""
        if not self.is_processor:
            self._kept[id(owner)] = nbytes
            weakref.finalize(owner, self._kept.pop, id(owner)).atexit = False

    def require_memory(self, nbytes: int) -> None:
        """Raise `MemoryError` where so much cannot be had: some drivers end the process instead, at the first use."""
        asks = self.is_processor and nbytes >= WORTH_ASKING
        room = min(self.memory, host_room()) if asks else self.room()
        if nbytes > min(room, self.largest):
            raise MemoryError(
                f"opencl: {nbytes} bytes were asked for on {self.name!r}; a buffer can have {self.largest}, and "
                f"{int(room)} are available"
            )

    def copy_bandwidth(self) -> float:
        """Bytes per second that are read and written when a buffer is copied: the median of a few times."""
        nbytes = min(COPIED, self.largest, self.memory // 4)
        seconds = []
        with self.usable():
            source, target = self.empty(nbytes), self.empty(nbytes)
            for _ in range(6):
                self.queue.finish()
                start = time.perf_counter()
                self.cl.enqueue_copy(self.queue, target, source, byte_count=nbytes).wait()
                seconds.append(time.perf_counter() - start)
        return 2 * nbytes / sorted(seconds[1:])[2]  # the first copy also makes the memory

    def _try(self, make: Any, nbytes: int, flags: int, **options: Any) -> Any:
        try:
            return make(self.context, flags, **options)
        except self.cl.MemoryError as error:
            raise MemoryError(f"opencl: {nbytes} bytes on {self.name!r}, which has {self.memory}: {error}") from error

    def _kernel(self, sources: tuple[str, ...], variant: str, macros: Mapping[str, str], name: str) -> Any:
        own = self._kernels.__dict__
        key = f"{sources} {variant} {name}"
        if key not in own:
            own[key] = self.cl.Kernel(self._program(sources, variant, macros), name)
        return own[key]

    def _program(self, sources: tuple[str, ...], variant: str, macros: Mapping[str, str]) -> Any:
        with self._lock:
            if (sources, variant) not in self._programs:
                head = "".join(f"#define {name} {value}\n" for name, value in macros.items())
                texts = [(SOURCES / f"{source}.cl").read_text(encoding="utf-8") for source in sources]
                self._programs[sources, variant] = self._build(head + "\n".join(texts))
            return self._programs[sources, variant]

    def _build(self, text: str) -> Any:
        try:
            return build_without_user_options(self.cl.Program(self.context, text))
        except self.cl.RuntimeError as error:
            raise BackendError(f"opencl: a kernel could not be built for {self.name!r}: {str(error)[-LOG:]}") from error


class _Memory:
    """The bytes of an array, and those `before` it, which lie in the same page."""

    def __init__(self, a: Array, before: int) -> None:
        self.array = a
        address = a.__array_interface__["data"][0] - before
        self.__array_interface__ = {
            "data": (address, True),
            "shape": (before + a.nbytes,),
            "typestr": "|u1",
            "version": 3,
        }


def _keeps_order(queue: Any) -> bool:
    if queue is None:
        return False
    import pyopencl

    return not queue.properties & pyopencl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE


def build_without_user_options(program: Any) -> Any:
    """Build; options that the environment adds could change what the kernels mean."""
    asked = os.environ.pop("PYOPENCL_BUILD_OPTIONS", None)
    try:
        with warnings.catch_warnings():  # that compilers have something to say is no news; errors are raised
            warnings.simplefilter("ignore")
            return program.build(options=[])
    finally:
        if asked is not None:
            os.environ["PYOPENCL_BUILD_OPTIONS"] = asked

"""The seam between NumPy arrays and the C kernels: read the buffers, release the GIL, one C call per block.

Operands have been checked by the callers: numeric ndarrays whose shapes fit.
"""

import os
import warnings

import numpy as np

from .split import ends, split_axis

cimport numpy as cnp

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint64_t

from parallel cimport *

cnp.import_array()

FLOAT_DIGITS, PRODUCT_DIGITS = SUM_STATE, PRODUCT_STATE
OVERFLOW, INVALID = ROUND_OVERFLOW, ROUND_INVALID

cdef Py_ssize_t PART_BYTES = 512 << 10   # of one part: some 20 us, the most that threads wait for the last of them
# Rows of a part: kernels work on four at a time, and where rows cut the columns of a Fortran matrix, on pieces of
# columns that are to be long.
cdef Py_ssize_t LEAST_ROWS = 16, LEAST_SHARED = 32 << 10   # bytes of a product: `ALWAYS_SERIAL` of _small.pyx
cdef Py_ssize_t LEAST_COLUMN_PIECE = 512
cdef Py_ssize_t COLUMNS_OF_THREAD = 64   # from which on a Fortran matrix is split by columns: those lie together
cdef Py_ssize_t LEAST_COLUMNS = 256   # of a part whose sums lie side by side
cdef Py_ssize_t FEWEST_COLUMNS = 32   # of a thread; rather than fewer, each adds a part of all columns
cdef Py_ssize_t LONG_COLUMN = 32 << 10, FEWEST_LONG_COLUMNS = 96   # of which short pieces of rows come late from memory
cdef Py_ssize_t PARTS_BY_COLUMNS = 4   # of a thread, at most: each needs room for a result, and is added up; unless A
cdef Py_ssize_t MUCH_LARGER = 1024     # has so many times the bytes of all of these

# Ctrl-C is looked for between regions, of so many parts of each thread at first, then of what takes a person no time.
cdef Py_ssize_t FIRST_PARTS = 32
cdef double SHORT_REGION = 0.02, LONG_REGION = 0.1   # seconds
cdef Py_ssize_t LARGE_PRODUCT = 128 << 20, LARGE_SUM = 16 << 20   # bytes that one thread does in parts, to look for it
cdef Py_ssize_t MOST_AT_ONCE = 8   # vectors for which parts of their matrix are not smaller than for one
cdef int WAYS = 8   # in which one thread splits them

cpdef enum:
    SHORT_ROWS = 64   # of as many elements: the results of several vectors are longer, and better written together

cdef const Kernels *chosen = kernels_best()


def select(name):
    """Use the kernels of one instruction set: "baseline", "avx2" or "avx512"."""
    global chosen
    cdef const Kernels *found = kernels_named(name.encode())
    if found == NULL:
        raise ValueError(f"PARLINALG_SIMD={name!r} cannot be used here; use one of {', '.join(available())}")
    chosen = found


def available():
    """The instruction sets that this build and this processor have."""
    return [name for name in ("baseline", "avx2", "avx512") if kernels_named(name.encode()) != NULL]


def simd():
    """The instruction set in use."""
    return chosen.name.decode()


def openmp_version():
    """Version of OpenMP that this was built with; empty without."""
    return openmp_version_().decode()


def limit_of_openmp():
    """How many threads OpenMP was told to use since it was loaded, for example by threadpoolctl; 0: nothing."""
    return threads_told()


threads_told()   # so that it knows what was there at first


def threads_are_late():
    """Whether threads came so late lately that one alone is faster: other programs keep the processors busy."""
    return threads_are_late_() != 0


def note(double seconds, Py_ssize_t elements):
    """What each call on threads notes: how long it took, for so many elements."""
    note_call(seconds, elements)


def table_address():
    """Where the table of kernels in use lies, for `_small`."""
    return <size_t>chosen


cdef void broadcast_strides(cnp.ndarray a, int own, const Product *p, Py_ssize_t *strides) noexcept:
    """Strides of the leading axes of `a`, which has `own` axes behind them: 0 where it has length 1 or none."""
    cdef int k, axis, missing = p.ndim - (cnp.PyArray_NDIM(a) - own)
    for k in range(p.ndim):
        axis = k - missing
        if axis < 0 or (cnp.PyArray_DIM(a, axis) == 1 and p.shape[k] != 1):
            strides[k] = 0
        else:
            strides[k] = cnp.PyArray_STRIDE(a, axis)


cdef Product product_of(cnp.ndarray A, cnp.ndarray x, cnp.ndarray out, bint conjugates) noexcept:
    cdef Product p
    cdef int k
    describe_matrix(&p.A, A, False)
    describe_matrix(&p.x, x, True)
    describe_matrix(&p.y, out, True)
    p.x.conjugated = conjugates
    p.ndim, p.batch = cnp.PyArray_NDIM(out) - 1, 1
    for k in range(p.ndim):
        p.shape[k] = cnp.PyArray_DIM(out, k)
        p.batch *= p.shape[k]
    broadcast_strides(A, 2, &p, p.A_stride)
    broadcast_strides(x, 1, &p, p.x_stride)
    broadcast_strides(out, 1, &p, p.y_stride)
    product_simplify(&p)
    return p


def matvec(cnp.ndarray A not None, cnp.ndarray x not None, cnp.ndarray out not None, int workers, bint conjugate=False):
    """Write ``A @ x``, or ``A @ x.conj()``, into `out`, on `workers` threads; see `Backend` for what may be passed."""
    cdef Product p = product_of(A, x, out, conjugate)
    if p.batch == 0 or p.y.m == 0:
        return
    cdef Py_ssize_t nbytes = p.batch * p.A.m * p.A.n * <Py_ssize_t>size_of(p.A.dtype)
    workers = min(workers, MOST_THREADS) if nbytes >= LEAST_SHARED else 1   # the bits of an operator's short cut
    cdef const Kernels *k = chosen
    if workers == 1 and nbytes <= LARGE_PRODUCT:
        with nogil:
            product_at_once(k, &p)
        return
    cdef bint fortran = abs(p.A.rs) < abs(p.A.cs)
    cdef int ways = workers if workers > 1 else WAYS, split
    cdef bint is_one = p.ndim == 1 and p.A_stride[0] == 0   # matrix, for all vectors: by rows it is read once
    if is_one and p.A.m >= max(p.batch, 8 * ways) and (p.A.n <= SHORT_ROWS or product_suits_panels(k, &p)):
        split = SPLIT_ROWS
    else:
        split = split_axis((p.batch, p.A.m, p.A.n), ways)
        if split == SPLIT_ROWS and fortran and p.A.n >= COLUMNS_OF_THREAD * workers:
            split = SPLIT_COLUMNS
    if is_one and split == SPLIT_ROWS:
        nbytes //= min(p.batch, MOST_AT_ONCE)
    cdef Py_ssize_t length = p.batch if split == SPLIT_BATCH else p.A.m if split == SPLIT_ROWS else p.A.n
    cdef Py_ssize_t least = 1 if split != SPLIT_ROWS else LEAST_COLUMN_PIECE if fortran else LEAST_ROWS
    cdef Py_ssize_t partial = p.batch * p.y.m * <Py_ssize_t>size_of(accumulator(p.y.dtype))
    if split == SPLIT_COLUMNS:
        least = p.A.n // max(PARTS_BY_COLUMNS * workers, nbytes // (MUCH_LARGER * partial))
    cdef Py_ssize_t parts = number_of_parts(nbytes, length, least, workers)
    cdef cnp.ndarray edges = ends(length, parts)
    cdef cnp.ndarray sums
    cdef char *first_sums = NULL
    if split == SPLIT_COLUMNS:
        sums = np.zeros(partial * parts + 16, np.uint8)
        first_sums = <char *>((<size_t>cnp.PyArray_BYTES(sums) + 15) & ~<size_t>15)
    else:
        partial = 0
    cdef cnp.ndarray room = np.empty((workers + 1) * sizeof(Share), np.uint8)
    cdef Share *shares = shares_in(cnp.PyArray_BYTES(room))
    cdef Work work
    cdef Py_ssize_t first = 0, count = FIRST_PARTS * workers
    cdef Team *team
    cdef int thread, threads
    cdef double start = seconds_now(), began = start
    while first < parts:
        count = min(count, parts - first)
        threads = threads_allowed(min(workers, count))
        team = keep_threads_off()
        work = work_of(<const int64_t *>cnp.PyArray_DATA(edges), first, count, threads, shares)
        with nogil:
            if threads == 1:   # even a parallel region of one thread takes a microsecond
                product_work(k, &p, split, &work, 0, first_sums, partial)
            else:
                for thread in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                    join_team(team, thread)
                    product_work(k, &p, split, &work, thread, first_sums, partial)
        PyErr_CheckSignals()
        first += count
        count = next_count(count, workers, &began)
    if workers > 1:
        note_call(seconds_now() - start, p.batch * p.A.m * p.A.n)
    if split == SPLIT_COLUMNS:
        product_combine(k, &p, parts, first_sums)


cdef Share *shares_in(char *room) noexcept:
    """The first whole cache line: shares do not fit on the small stacks that some threads have."""
    return <Share *>((<size_t>room + 63) & ~<size_t>63)


cdef Py_ssize_t next_count(Py_ssize_t count, int workers, double *began) noexcept:
    """How many parts the next region has, by the time that the one before took, which has ended now."""
    cdef double now = seconds_now(), seconds = now - began[0]
    began[0] = now
    if seconds < SHORT_REGION:
        return 4 * count
    return max(count // 4, workers) if seconds > LONG_REGION else count


cdef Py_ssize_t number_of_parts(Py_ssize_t nbytes, Py_ssize_t length, Py_ssize_t least, int workers):
    """How many parts an axis of some length is cut into."""
    each = min(nbytes // (workers * PART_BYTES), length // (workers * max(least, 1)))
    return min(max(length, 1), workers * max(each, 1))


include "shared_sums.pxi"


cdef class ieee754:
    """A context manager: the floating-point environment that casts and sums are defined in."""

    cdef Environment saved

    def __enter__(self):
        self.saved = enter_exactness()

    def __exit__(self, *error):
        leave_exactness(self.saved)


def normalise(cnp.ndarray states not None):
    """Bring the digits of contiguous states into [-2**31, 2**31); their values stay."""
    cdef int length = cnp.PyArray_DIM(states, cnp.PyArray_NDIM(states) - 1)
    normalise_states(states.size // length, length, <int64_t *>cnp.PyArray_BYTES(states))


def read(cnp.ndarray a not None, int workers):
    """Read a contiguous array on `workers` threads as fast as memory allows; return the or of its 64-bit words."""
    cdef Py_ssize_t words = a.nbytes // 8
    cdef const int64_t[::1] edges = ends(words, workers)
    cdef const uint64_t *data = <const uint64_t *>cnp.PyArray_BYTES(a)
    cdef const Kernels *k = chosen
    cdef uint64_t checksum = 0
    cdef Team *team = keep_threads_off()
    cdef int thread, threads = threads_allowed(workers)
    with nogil:
        for thread in prange(workers, num_threads=threads, schedule="static", chunksize=1):
            join_team(team, thread)
            checksum |= k.read(edges[thread + 1] - edges[thread], data + edges[thread])
    return checksum


if "PARLINALG_SIMD" in os.environ:
    select(os.environ["PARLINALG_SIMD"])

if not chosen.check():
    warnings.warn(
        "parlinalg: floating-point operations of this build are not those of IEEE 754 (the compiler reorders, fuses or "
        "widens them), so exact sums use integers only: the results are right, but slow. Build it again with other "
        "compiler options",
        RuntimeWarning,
        stacklevel=2,
    )
install_fork_guard()
os.register_at_fork(before=lambda: before_fork(), after_in_parent=lambda: after_fork_in_parent())

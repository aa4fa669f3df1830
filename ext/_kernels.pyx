"""The seam between NumPy arrays and the C kernels: read the buffers, release the GIL, one C call per block.

Operands have been checked by the callers: numeric ndarrays whose shapes fit.
"""

import os

import numpy as np

from .split import ends, split_axis

cimport numpy as cnp

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport prange
from libc.stdint cimport int64_t, uint64_t

from parallel cimport *

cnp.import_array()

FLOAT_DIGITS = FLOAT_STATE

cdef Py_ssize_t PART_BYTES = 512 << 10   # of one part: some 20 us, the most that threads wait for the last of them
# Rows of a part: kernels work on four at a time, and where rows cut the columns of a Fortran matrix, on pieces of
# columns that are to be long.
cdef Py_ssize_t LEAST_ROWS = 16
cdef Py_ssize_t LEAST_COLUMN_PIECE = 512
cdef Py_ssize_t COLUMNS_OF_THREAD = 64   # from which on a Fortran matrix is split by columns: those lie together
cdef Py_ssize_t PARTS_BY_COLUMNS = 4   # of a thread, at most: each needs room for a result, and is added up

# Parts that one thread does between two looks for Ctrl-C: some 30 ms, a small part of what a person notices.
cdef int INTERRUPT_PARTS = 1024

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


cdef Product product_of(cnp.ndarray A, cnp.ndarray x, cnp.ndarray out) noexcept:
    cdef Product p
    cdef int k
    p.A, p.x, p.y = matrix_of(A, False), matrix_of(x, True), matrix_of(out, True)
    p.ndim = cnp.PyArray_NDIM(out) - 1
    p.batch = 1
    for k in range(p.ndim):
        p.shape[k] = cnp.PyArray_DIM(out, k)
        p.batch *= p.shape[k]
    broadcast_strides(A, 2, &p, p.A_stride)
    broadcast_strides(x, 1, &p, p.x_stride)
    broadcast_strides(out, 1, &p, p.y_stride)
    return p


def matvec(cnp.ndarray A not None, cnp.ndarray x not None, cnp.ndarray out not None, int workers):
    """Write ``A @ x`` into `out`, on `workers` threads; see `Backend` for what may be passed."""
    cdef Product p = product_of(A, x, out)
    if p.batch == 0 or p.y.m == 0:
        return
    workers = min(workers, MOST_THREADS)
    cdef Py_ssize_t nbytes = p.batch * p.A.m * p.A.n * <Py_ssize_t>size_of(p.A.dtype)
    cdef bint fortran = abs(p.A.rs) < abs(p.A.cs)
    cdef int split = SPLIT_ROWS
    if workers > 1:
        split = split_axis((p.batch, p.A.m, p.A.n), workers)
        if split == SPLIT_ROWS and fortran and p.A.n >= COLUMNS_OF_THREAD * workers:
            split = SPLIT_COLUMNS
    cdef Py_ssize_t length = p.batch if split == SPLIT_BATCH else p.A.m if split == SPLIT_ROWS else p.A.n
    cdef Py_ssize_t least = 1
    if split == SPLIT_ROWS:
        least = LEAST_COLUMN_PIECE if fortran else LEAST_ROWS
    elif split == SPLIT_COLUMNS:
        least = p.A.n // (PARTS_BY_COLUMNS * workers)
    cdef Py_ssize_t parts = number_of_parts(nbytes, length, least, workers)
    cdef const int64_t[::1] edges = ends(length, parts)
    cdef Py_ssize_t partial = p.batch * p.y.m * <Py_ssize_t>size_of(accumulator(p.y.dtype))
    cdef cnp.ndarray sums
    cdef char *first_sums = NULL
    if split == SPLIT_COLUMNS:
        sums = np.zeros(partial * parts + 16, np.uint8)
        first_sums = <char *>((<size_t>cnp.PyArray_BYTES(sums) + 15) & ~<size_t>15)
    else:
        partial = 0
    cdef const Kernels *k = chosen
    cdef cnp.ndarray room = np.empty((workers + 1) * sizeof(Share), np.uint8)
    cdef Share *shares = shares_in(room)
    cdef Work work
    cdef Py_ssize_t first
    cdef Team *team
    cdef int thread, threads
    for first in range(0, parts, INTERRUPT_PARTS * workers):
        threads = threads_allowed(min(workers, parts - first))
        team = keep_threads_off()
        work = work_of(&edges[0], first, min(INTERRUPT_PARTS * workers, parts - first), threads, shares)
        with nogil:
            if threads == 1:   # even a parallel region of one thread takes a microsecond
                product_work(k, &p, split, &work, 0, first_sums, partial)
            else:
                for thread in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                    join_team(team, thread)
                    product_work(k, &p, split, &work, thread, first_sums, partial)
        PyErr_CheckSignals()
    if split == SPLIT_COLUMNS:
        product_combine(k, &p, parts, first_sums)


cdef Share *shares_in(cnp.ndarray room) noexcept:
    """The first whole cache line: shares do not fit on the small stacks that some threads have."""
    return <Share *>((<size_t>cnp.PyArray_BYTES(room) + 63) & ~<size_t>63)


cdef Py_ssize_t number_of_parts(Py_ssize_t nbytes, Py_ssize_t length, Py_ssize_t least, int workers):
    """How many parts an axis of some length is cut into: one for one worker, unless Ctrl-C must be looked for."""
    if workers == 1 and nbytes <= INTERRUPT_PARTS * PART_BYTES:
        return 1
    each = min(nbytes // (workers * PART_BYTES), length // (workers * max(least, 1)))
    return min(max(length, 1), workers * max(each, 1))


def sum_states(cnp.ndarray a not None, int kept, int workers):
    """Exact sums over all but the first `kept` axes of `a`, on `workers` threads; see `Backend.sum_states`."""
    shape = (<object>a).shape
    cdef int width = 1 if a.dtype.kind in "biu" else FLOAT_STATE
    cdef cnp.ndarray states = np.zeros((*shape[:kept], width), np.int64)
    if a.size == 0:
        return states
    workers = min(workers, MOST_THREADS)
    cdef int64_t *target = <int64_t *>cnp.PyArray_BYTES(states)
    cdef Addends addends = addends_of(a, states, kept)
    cdef int axis = split_axis(shape, workers) if workers > 1 and shape else 0
    cdef Py_ssize_t parts = number_of_parts(8 * a.size, addends.shape[axis], 1, workers)
    cdef const int64_t[::1] edges = ends(addends.shape[axis], parts)
    # Along an axis that is kept each part has states of its own; otherwise each thread but the first needs a set.
    cdef Py_ssize_t count = states.size
    cdef int sets = 1 if addends.state[axis] else min(workers, parts)
    cdef cnp.ndarray scratch = np.zeros((sets - 1) * count, np.int64)
    cdef int64_t *others = <int64_t *>cnp.PyArray_BYTES(scratch)
    cdef const Kernels *k = chosen
    cdef cnp.ndarray room = np.empty((workers + 1) * sizeof(Share), np.uint8)
    cdef Share *shares = shares_in(room)
    cdef Work work
    cdef Py_ssize_t first
    cdef Team *team
    cdef int thread, threads
    for first in range(0, parts, INTERRUPT_PARTS * workers):
        threads = threads_allowed(min(workers, parts - first))
        team = keep_threads_off()
        work = work_of(&edges[0], first, min(INTERRUPT_PARTS * workers, parts - first), threads, shares)
        with nogil:
            if threads == 1:
                sum_work(k, &addends, axis, &work, 0, target)
            else:
                for thread in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                    join_team(team, thread)
                    sum_work(k, &addends, axis, &work, thread,
                             target if sets == 1 or thread == 0 else others + (thread - 1) * count)
        PyErr_CheckSignals()
    for thread in range(sets - 1):
        merge_states(count // width, width, others + thread * count, target)
    return states


cdef Addends addends_of(cnp.ndarray a, cnp.ndarray states, int kept) noexcept:
    cdef Addends addends
    cdef int axis
    addends.data = cnp.PyArray_BYTES(a)
    addends.dtype = dtype_of_number(cnp.PyArray_TYPE(a))
    addends.swapped = cnp.PyArray_ISBYTESWAPPED(a)
    addends.ndim = cnp.PyArray_NDIM(a)
    addends.shape[0] = 1   # of a scalar, which has no axes
    addends.state[0] = 0
    for axis in range(addends.ndim):
        addends.shape[axis] = cnp.PyArray_DIM(a, axis)
        addends.stride[axis] = cnp.PyArray_STRIDE(a, axis)
        addends.state[axis] = cnp.PyArray_STRIDE(states, axis) // 8 if axis < kept else 0
    return addends


def round_states(cnp.ndarray states not None, cnp.ndarray out not None):
    """Write the value of each float state into the contiguous array `out`.

    Returns whether finite addends overflowed, and whether infinities of both signs met.
    """
    states = np.ascontiguousarray(states)
    cdef Py_ssize_t i, n = out.size
    cdef int64_t *state = <int64_t *>cnp.PyArray_BYTES(states)
    cdef char *rounded = cnp.PyArray_BYTES(out)
    cdef int dtype = dtype_of_number(cnp.PyArray_TYPE(out)), flags = 0
    cdef size_t size = size_of(dtype)
    with nogil:
        for i in range(n):
            flags = flags | round_state(state + i * FLOAT_STATE, dtype, rounded + i * size)
    return bool(flags & ROUND_OVERFLOW), bool(flags & ROUND_INVALID)


def normalise(cnp.ndarray states not None):
    """Bring the digits of contiguous float states into [-2**31, 2**31); their values stay."""
    cdef Py_ssize_t i
    cdef int64_t *state = <int64_t *>cnp.PyArray_BYTES(states)
    for i in range(states.size // FLOAT_STATE):
        normalise_state(state + i * FLOAT_STATE)


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

install_fork_guard()
os.register_at_fork(before=lambda: before_fork(), after_in_parent=lambda: after_fork_in_parent())

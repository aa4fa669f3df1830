"""The short cut of plain calls: from the call to the kernel in compiled code.

It serves products and sums of plain arrays, by threads of this process or by BLAS; every other call goes the general
way, with the same result.
"""

import functools
import os

import numpy as np

cimport numpy as cnp

from cpython.contextvars cimport get_value
from cpython.dict cimport PyDict_Contains
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    object PyContext_Copy(object context)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, cnp.dtype descr, object base)
    cnp.dtype PyArray_PromoteTypes(cnp.dtype one, cnp.dtype other)
    object PyArray_Conjugate(cnp.ndarray a, void *out)
    bint PyArray_CanCastTypeTo(cnp.dtype one, cnp.dtype other, cnp.NPY_CASTING casting)

from parallel cimport (
    BOOL, C64, C128, CLONGDOUBLE, DTYPES, F16, F32, F64, I64, LONGDOUBLE, MAX_DIMS, ROOM_BYTES, STATES, U8, U16, U32,
    U64, Addends, Kernels, Matrix, add_parts, begin_with, describe, describe_matrix, dtype_of_number, is_dense,
    loop_of, seconds_now, threads_now,
)

from ._kernels import ieee754, openmp_version, sum_of_all, sum_states, table_address
from ._kernels import matvec as multiply_by_threads
from ._kernels import threads_are_late, write_sums
from .exact import report
from .operands import as_operand, masked, real_view

cnp.import_array()

cdef const Kernels *kernels = <const Kernels *><size_t>table_address()
cdef enum:
    ROWS, COLUMNS, OTHER, SHORT, SUMS, OTHER_SUMS, KINDS   # products of matrices that lie so, and sums
    MOST_OF_SHORT = 32, LEAST_MANY = 64   # as `layout_of` in model.py
    MOST_STEPS = 24
    ALWAYS_SERIAL = 32768   # bytes of a matrix, as SMALLEST in model.py
    MOST_ASKED = 64   # threads, which no host refuses
    FEW_ROWS = 1024
    FEW_COLUMNS = 16
    FEW_PRODUCTS = 1 << 17, MOST_PRODUCTS = 1 << 27   # of numbers by numbers, by BLAS: the latter take some 10 ms
    FEW_COPIED_PRODUCTS = 1 << 13   # the same, of matrices that are copied for BLAS
    MANY_COLUMNS = 32   # of a matrix that is multiplied: its rows are longer than ours
    FEW_DOTS = 8
    MOST_OF_DOTS = 128   # elements of a vector, which `Kernels.dots` has room for
    FEW_FOR_BLAS = 8   # elements of a vector: a call of BLAS for each takes longer
    FEW_FOR_DOTS = 24, FEW_FOR_CDOTC = 14   # the same of `Kernels.dots`
    FEW_ELEMENTS = 1300   # of all vectors, which are multiplied before NumPy has begun
    AUTO = 0
    REPORTING = -2   # by NumPy, as the caller's errstate says
    UNKNOWN = -3
    SMALL_VECTOR = 16384   # bytes, which our kernel adds up before BLAS has begun
    DOUBLES = 2048         # of as many bytes

cpdef enum:
    BY_NUMPY = -1

ctypedef unsigned long long Axes   # of which each bit that is set is one

cdef struct Step:
    Py_ssize_t nbytes   # of the array, below which it holds
    int how             # number of threads, or BY_NUMPY, or UNKNOWN: the general way

cdef Step steps[DTYPES][KINDS][MOST_STEPS]
cdef bint are_known[DTYPES][KINDS]
cdef double steps_until = INFINITY   # seconds of the clock, from which on all of them are asked for again
cdef object steps_of = None   # finds them
cdef object limits_of_host = None   # finds these two
cdef int sharers = UNKNOWN   # processes that share the affinity mask; 0: each call counts them, since more may come
cdef int fixed_limit = 1     # of threads, that does not change while a process runs
cdef dict characters = {dtype_of_number(np.dtype(one).num): one for one in "?bBhHiIlLqQefdFD"}
cdef bint has_openmp = bool(openmp_version())
cdef object silent = None   # a context in which NumPy reports nothing
cdef object dot_by_numpy = np.vdot, matvec_by_numpy = np.matvec
cdef object vecdot_by_numpy = np.vecdot, matmul_by_numpy = np.matmul
cdef Py_ssize_t LARGE_VECTOR = 3 << 20         # bytes, which BLAS, on one thread, has to read from memory
cdef Py_ssize_t MOST_OF_SERIAL_DOTS = 1 << 18  # bytes, from which on threads are worth it
cdef object chosen = None   # the context variable of set_backend, and its value where that was not called
cdef object nothing_chosen = None
cdef bint anyone_chose = False   # in any context: the variable need not be read before
cdef object zero = 0
cdef Py_ssize_t MOST_COPIED = 1 << 16   # elements, to cast or mask them before they are added
cdef Py_ssize_t MOST_WITHIN_64_BITS = 1 << 31   # numbers of 32 bits
cdef object MOST_INITIAL = 1 << 53      # which every float64 and integer can be
cdef Py_ssize_t LONG_RESULT = 48 << 10   # bytes
cdef Py_ssize_t LET_OTHERS_RUN = 30000   # elements that take some microseconds: the GIL is released from then on

cdef Py_ssize_t LET_SIGNALS_COME = 1 << 22     # elements: Ctrl-C is looked for


# The dict below os.environ: to ask that, or the C library, takes a good part of a small product's time.
# None where another Python has none: then every call goes the general way.
cdef dict variables = getattr(os.environ, "_data", None)
cdef object backend_variable = os.fsencode("PARLINALG_BACKEND"), workers_variable = os.fsencode("PARLINALG_WORKERS")


def setting(bytes name):
    """What the environment says now, or None; read faster than by ``os.environ``."""
    value = os.environb.get(name) if variables is None else variables.get(name)
    return None if value is None else os.fsdecode(value)


threads_now(1, 1)   # so that it knows what OpenMP had at first


def serve(variable, default, context, limits, find_steps):
    """Take small products and sums, on one thread, where the context variable has its default, others by steps.

    `limits` returns `sharers` and `fixed_limit`; `find_steps` the steps of a dtype, given as its character, and a
    kind: ends, in bytes, and how to compute below each, which is a number of threads, or -1: by NumPy.
    """
    global chosen, nothing_chosen, silent, limits_of_host, steps_of
    chosen, nothing_chosen, silent, limits_of_host, steps_of = variable, default, context, limits, find_steps


def forget_steps(double pause):
    """Ask for them when they are needed next, and again when so many seconds are over."""
    global steps_until
    memset(are_known, 0, sizeof(are_known))
    steps_until = seconds_now() + pause


def steps_are_old():
    """Whether they are to be found anew."""
    return seconds_now() >= steps_until


cdef int learn_steps(int dtype, int kind) except -1:
    """Ask how products of matrices of this dtype that lie so, or sums of it, are to be computed."""
    cdef int k = 0
    character = characters.get(dtype)
    for end, how in steps_of(character, kind)[:MOST_STEPS - 1] if character else ():
        steps[dtype][kind][k] = Step(end, how)
        k += 1
    steps[dtype][kind][k] = Step(PY_SSIZE_T_MAX, UNKNOWN)   # where there are more, or none
    are_known[dtype][kind] = True
    return 0


def note_choice():
    """From now on, see whether the context variable has another value than its default."""
    global anyone_chose
    anyone_chose = True


def forget_limits():
    """In the child of a fork, which may share the processors with others."""
    global sharers
    sharers = UNKNOWN


os.register_at_fork(after_in_child=forget_limits)


cdef int threads_of_host() except? UNKNOWN:
    """As many threads as a call has that does not say."""
    global sharers, fixed_limit
    if sharers == UNKNOWN:
        sharers, fixed_limit = limits_of_host()
    return threads_now(sharers, fixed_limit) if sharers else UNKNOWN


cdef int asked(object backend, object workers) except? UNKNOWN:
    """How the caller wants it computed, or AUTO."""
    if variables is None or (anyone_chose and get_value(chosen) is not nothing_chosen):
        return UNKNOWN
    if backend is None:
        if PyDict_Contains(variables, backend_variable):
            return UNKNOWN
        if workers is None:
            return UNKNOWN if PyDict_Contains(variables, workers_variable) else AUTO
    elif type(backend) is not str:
        return UNKNOWN
    elif <str>backend == "numpy":
        return UNKNOWN if PyDict_Contains(variables, workers_variable) or workers is not None else REPORTING
    elif <str>backend != "openmp":
        return UNKNOWN
    if not has_openmp:
        return UNKNOWN
    if workers is None:
        return UNKNOWN if PyDict_Contains(variables, workers_variable) else threads_of_host()
    return <int>workers if type(workers) is int and 1 <= workers <= MOST_ASKED else UNKNOWN


cdef int how_to_compute(int dtype, int kind, Py_ssize_t nbytes) except? UNKNOWN:
    """What the steps say; at most as many threads as there may be now, and one where they come late."""
    cdef int k = 0, threads
    if nbytes < ALWAYS_SERIAL:
        return 1
    if not are_known[dtype][kind] or (steps_until != INFINITY and steps_are_old()):
        learn_steps(dtype, kind)
    while nbytes >= steps[dtype][kind][k].nbytes:
        k += 1
    cdef int how = steps[dtype][kind][k].how
    if how > 1:
        if threads_are_late():
            return 1
        threads = threads_of_host()
        return min(how, threads) if threads > 0 else UNKNOWN
    return how


cdef int layout_of(cnp.ndarray a, const Matrix *A, int number) noexcept:
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(a)
    if not cnp.PyArray_ISALIGNED(a) or A.swapped or native(cnp.PyArray_TYPE(a)) != number:
        return OTHER
    if A.cs == size or A.n == 1:
        return SHORT if A.n <= MOST_OF_SHORT and A.m >= LEAST_MANY else ROWS
    if A.rs == size:
        return SHORT if A.m <= MOST_OF_SHORT and A.n >= LEAST_MANY else COLUMNS
    return OTHER


include "small_products.pxi"
include "small_dots.pxi"
include "small_sums.pxi"


cdef class Counts:
    """What an operator has done; and the matrix, where products of it are done here."""

    cdef public Py_ssize_t calls
    cdef public double seconds
    cdef public object at_hand   # ndarray, or None
    cdef public int how          # number of threads, or BY_NUMPY


cdef class SmallProducts:
    """The short cut of operators: ``self @ x`` of a matrix that lies in this process."""

    cdef public Counts counts
    cdef public object view   # of counts.at_hand: the matrix of this very operator, or None

    cpdef object multiply_here(self, x, int ndim=0):
        """The product with an array, of so many dimensions unless that is 0; or None."""
        if type(x) is not cnp.ndarray or self.view is None or self.counts.at_hand is None:
            return None
        if cnp.PyArray_TYPE(x) != cnp.PyArray_TYPE(self.view) or not 1 <= cnp.PyArray_NDIM(x) <= 2:
            return None
        if ndim and cnp.PyArray_NDIM(x) != ndim:
            return None
        cdef bint is_vector = cnp.PyArray_NDIM(x) == 1
        cdef double start = seconds_now()
        y = self.multiply_vector(self.view, x) if is_vector else self.multiply_columns(self.view, x)
        if y is not None:
            self.counts.calls += 1 if is_vector else cnp.PyArray_DIM(x, 1)
            self.counts.seconds += seconds_now() - start
        return y

    cdef object multiply_vector(self, cnp.ndarray a, cnp.ndarray x):
        cdef Matrix A, b
        describe_matrix(&A, a, False)
        describe_matrix(&b, x, True)
        cdef int how = self.counts.how
        if A.dtype == DTYPES or b.m != A.n:
            return None
        if how == BY_NUMPY and A.m * A.n * cnp.PyArray_ITEMSIZE(a) < ALWAYS_SERIAL:
            how = 1
        if how == BY_NUMPY and not are_for_blas(a, x):
            return None
        return product_by(how, a, x, None, native(cnp.PyArray_TYPE(a)), &A, &b)

    cdef object multiply_columns(self, cnp.ndarray a, cnp.ndarray x):
        if cnp.PyArray_DIM(x, 0) != cnp.PyArray_DIM(a, 1):
            return None
        cdef Py_ssize_t columns = cnp.PyArray_DIM(x, 1), products = cnp.PyArray_SIZE(a) * columns
        cdef bint in_one_piece = lies_for_blas(a), by_blas = are_for_blas(a, x) and (in_one_piece or columns > 2)
        cdef int how = self.counts.how
        if products >= (MOST_PRODUCTS if by_blas else LET_SIGNALS_COME):
            return None   # it is done in parts, so that Ctrl-C is seen in between
        if by_blas:   # the first begins sooner, but copies arrays that BLAS does not take as they lie
            most = FEW_PRODUCTS if in_one_piece and lies_for_blas(x) else FEW_COPIED_PRODUCTS
            return call_silently(None if products < most else matmul_by_numpy, a, x, None)
        if dtype_of_number(cnp.PyArray_TYPE(a)) == DTYPES:
            return None
        if how == BY_NUMPY:
            if not are_for_blas(a, x):
                return None
            how = 1
        cdef cnp.npy_intp[2] shape = [cnp.PyArray_DIM(a, 0), columns]
        cdef cnp.ndarray results = cnp.PyArray_SimpleNew(2, shape, native(cnp.PyArray_TYPE(a)))
        if shape[0] <= 2 * columns or columns >= MANY_COLUMNS:   # rows of a are the vectors, otherwise columns of x
            multiply_by_threads(x.T, a, results, how)
        else:
            multiply_by_threads(a, x.T, results.T, how)
        return results

    def __matmul__(self, x):
        y = self.multiply_here(x)
        return self.multiply_any(x) if y is None else y


cdef bint lies_for_blas(cnp.ndarray a) noexcept:
    """Whether BLAS takes a matrix as it lies: rows, or columns, are in one piece."""
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(a), rs = cnp.PyArray_STRIDE(a, 0), cs = cnp.PyArray_STRIDE(a, 1)
    return (cs == size and rs >= size) or (rs == size and cs >= size)


cdef bint are_for_blas(cnp.ndarray a, cnp.ndarray b):
    """Whether NumPy gives these two of the same dtype to BLAS, as they lie."""
    cdef int dtype = dtype_of_number(cnp.PyArray_TYPE(a))
    return dtype in (F32, F64, C64, C128) and cnp.PyArray_ISBEHAVED_RO(a) and cnp.PyArray_ISBEHAVED_RO(b)

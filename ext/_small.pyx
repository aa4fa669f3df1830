"""The short cut of plain calls: from the call to the kernel in compiled code.

It serves products of one matrix and one vector of the same dtype, small sums of an array along one axis, and sums of
all elements, in calls that say nothing else; every other call goes the general way, with the same result.
"""

import functools
import os

cimport numpy as cnp

from cpython.contextvars cimport get_value
from cpython.dict cimport PyDict_Contains
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    object PyContext_Copy(object context)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, cnp.dtype descr, object base)

from parallel cimport (
    BOOL, C64, C128, CLONGDOUBLE, DTYPES, F16, F32, F64, LONGDOUBLE, MAX_DIMS, ROOM_BYTES, STATES, U8, U16, U32, U64,
    Addends, Kernels, Matrix, describe, dtype_of_number, matrix_of, seconds_now, threads_now,
)

from ._kernels import matvec as multiply_by_threads
from ._kernels import sum_states, table_address, threads_are_late, write_sums
from .operands import real_view

cnp.import_array()

cdef const Kernels *kernels = <const Kernels *><size_t>table_address()
cdef enum:
    ROWS, COLUMNS, OTHER, SHORT, SUMS, OTHER_SUMS, KINDS   # products of matrices that lie so, and sums
    MOST_OF_SHORT = 32, LEAST_MANY = 64   # as `layout_of` in model.py
    MOST_STEPS = 24
    ALWAYS_SERIAL = 32768   # bytes of a matrix
    FEW_ROWS = 1024
    FEW_COLUMNS = 64
    UNKNOWN = -2
    SMALL_VECTOR = 16384   # bytes, which our kernel adds up before BLAS has begun
    DOUBLES = 2048         # of as many bytes

cpdef enum:
    BY_NUMPY = -1

cdef struct Step:
    Py_ssize_t nbytes   # of the array, below which it holds
    int how             # number of threads, or BY_NUMPY, or UNKNOWN: the general way

cdef Step steps[DTYPES][KINDS][MOST_STEPS]
cdef int host_limit = 1                        # threads that this host gives to a process
cdef object silent = None   # a context in which NumPy reports nothing
cdef object dot_by_numpy = None, matvec_by_numpy = None
cdef Py_ssize_t LARGE_VECTOR = 3 << 20         # bytes, which BLAS, on one thread, has to read from memory
cdef Py_ssize_t MOST_OF_SERIAL_DOTS = 1 << 18  # bytes, from which on threads are worth it
cdef object chosen = None   # the context variable of set_backend, and its value where that was not called
cdef object nothing_chosen = None
cdef bint anyone_chose = False   # in any context: the variable need not be read before
cdef object zero = 0
cdef int EVERY = MAX_DIMS   # stands for all axes
cdef Py_ssize_t LONG_RESULT = 100000     # elements
cdef Py_ssize_t LET_OTHERS_RUN = 30000   # elements that take some microseconds: the GIL is released from then on

cdef Py_ssize_t LET_SIGNALS_COME = 1 << 22     # elements: Ctrl-C is looked for


# The dict below os.environ: to ask that, or the C library, takes a good part of a small product's time.
# None where another Python has none: then every call goes the general way.
cdef dict variables = getattr(os.environ, "_data", None)
cdef object backend_variable = os.fsencode("PARLINALG_BACKEND"), workers_variable = os.fsencode("PARLINALG_WORKERS")

threads_now()   # so that it knows what OpenMP had at first


def serve(Py_ssize_t nbytes, variable, default, context, dots_by_numpy, matvecs_by_numpy):
    """Take products and sums of fewer bytes, on one thread, where the context variable has its default."""
    global chosen, nothing_chosen, silent, dot_by_numpy, matvec_by_numpy
    chosen, nothing_chosen, silent = variable, default, context
    dot_by_numpy, matvec_by_numpy = dots_by_numpy, matvecs_by_numpy
    cdef int dtype, kind
    for dtype in range(DTYPES):
        for kind in range(KINDS):
            steps[dtype][kind][0] = Step(nbytes, 1)
            steps[dtype][kind][1] = Step(PY_SSIZE_T_MAX, UNKNOWN)


def take(int number, int kind, list ends, list how, int threads):
    """Take products of matrices of the dtype with this number that lie so, or sums of it, as the steps say.

    How is a number of threads, or -1: by NumPy. `threads`: of this process.
    """
    global host_limit
    cdef int dtype = dtype_of_number(number), k
    host_limit = threads
    for k in range(min(len(ends), MOST_STEPS)):
        steps[dtype][kind][k] = Step(ends[k], how[k])
    if len(ends) > MOST_STEPS:
        steps[dtype][kind][MOST_STEPS - 1] = Step(PY_SSIZE_T_MAX, UNKNOWN)


def note_choice():
    """From now on, see whether the context variable has another value than its default."""
    global anyone_chose
    anyone_chose = True


cdef int how_to_compute(int dtype, int kind, Py_ssize_t nbytes) except? -2:
    """What the steps say; at most as many threads as there may be now, and one where they come late."""
    cdef int k = 0
    while nbytes >= steps[dtype][kind][k].nbytes:
        k += 1
    cdef int how = steps[dtype][kind][k].how
    if how > 1:
        how = 1 if threads_are_late() else min(how, min(host_limit, threads_now()))
    return how


cdef int layout_of(cnp.ndarray a, const Matrix *A) noexcept:
    cdef Py_ssize_t size = cnp.PyArray_ITEMSIZE(a)
    if not cnp.PyArray_ISALIGNED(a) or A.swapped:
        return OTHER
    if A.cs == size or A.n == 1:
        return SHORT if A.n <= MOST_OF_SHORT and A.m >= LEAST_MANY else ROWS
    if A.rs == size:
        return SHORT if A.m <= MOST_OF_SHORT and A.n >= LEAST_MANY else COLUMNS
    return OTHER


cdef bint is_auto() except -1:
    """Whether nobody has chosen a backend or a number of workers."""
    if variables is None or (anyone_chose and get_value(chosen) is not nothing_chosen):
        return False
    return not (PyDict_Contains(variables, backend_variable) or PyDict_Contains(variables, workers_variable))


cdef object multiply_by_numpy(cnp.ndarray a, cnp.ndarray b):
    """``numpy.dot``, without reports, which would come or not by the size of a product."""
    context = PyContext_Copy(silent)
    PyContext_Enter(context)
    try:
        if cnp.PyArray_DIM(a, 0) < LONG_RESULT:
            return cnp.PyArray_MatrixProduct(a, b)
        return matvec_by_numpy(a, b)   # which does not fill the result with zeros first
    finally:
        PyContext_Exit(context)


cdef object product(cnp.ndarray a, cnp.ndarray b):
    """``a @ b``, or None where the general way must be taken."""
    cdef int number = cnp.PyArray_TYPE(a)
    if cnp.PyArray_TYPE(b) != number or cnp.PyArray_NDIM(a) != 2 or cnp.PyArray_NDIM(b) != 1:
        return None
    cdef Matrix A = matrix_of(a, False), x = matrix_of(b, True)
    if A.dtype == DTYPES or x.m != A.n or not is_auto():
        return None
    cdef int how = how_to_compute(A.dtype, layout_of(a, &A), A.m * A.n * cnp.PyArray_ITEMSIZE(a))
    return None if how == UNKNOWN else product_by(how, a, b, A, x)


cdef object product_by(int how, cnp.ndarray a, cnp.ndarray b, Matrix A, Matrix x):
    """``a @ b``, where A and x are these arrays."""
    if how == BY_NUMPY:
        return multiply_by_numpy(a, b)
    cdef cnp.npy_intp m = A.m
    cdef cnp.ndarray result = cnp.PyArray_SimpleNew(1, &m, cnp.PyArray_TYPE(a))
    cdef Matrix y = matrix_of(result, True)
    if A.dtype == BOOL and A.m * A.n >= LET_OTHERS_RUN and A.m <= FEW_ROWS and first_columns_suffice(A, x, y):
        return result
    if how > 1 or A.m * A.n >= LET_SIGNALS_COME:
        multiply_by_threads(a, b, result, how)
        return result
    if A.m * A.n < LET_OTHERS_RUN:
        kernels.matvec(&A, &x, &y)
    else:
        with nogil:
            kernels.matvec(&A, &x, &y)
    return result


cdef bint first_columns_suffice(Matrix A, Matrix x, Matrix y) noexcept:
    """Whether each row of bool has its first true in some columns, so that `y` is all true now."""
    cdef Py_ssize_t i
    A.n = x.m = min(A.n, FEW_COLUMNS)
    kernels.matvec(&A, &x, &y)
    for i in range(y.m):
        if not y.data[i * y.rs]:
            return False
    return True


cdef object dot(cnp.ndarray a, cnp.ndarray b):
    """The dot product of two vectors, or None where the general way must be taken."""
    cdef int number = cnp.PyArray_TYPE(a)
    if cnp.PyArray_TYPE(b) != number or cnp.PyArray_NDIM(a) != 1 or cnp.PyArray_NDIM(b) != 1:
        return None
    cdef Matrix x = matrix_of(a, True), A = matrix_of(b, True), y
    if A.dtype == DTYPES or x.m != A.m or not is_auto():
        return None
    cdef Py_ssize_t nbytes = A.m * cnp.PyArray_ITEMSIZE(b)
    cdef double conjugated[DOUBLES]
    if A.dtype == C64 or A.dtype == C128:
        if nbytes >= SMALL_VECTOR or not are_for_blas(a, a) or not cnp.PyArray_IS_C_CONTIGUOUS(a):
            return dot_by_numpy(a, b)
        conjugate(A.dtype, 2 * A.m, x.data, conjugated)
        x.data = <char *>conjugated
    # BLAS has no threads for them, but the faster kernel from cache.
    if A.dtype in (F32, F64) and SMALL_VECTOR <= nbytes < LARGE_VECTOR:
        return dot_by_numpy(a, b)
    # A dot product of bool ends at its first true.
    if A.dtype == CLONGDOUBLE:
        return None
    if A.dtype != BOOL and nbytes >= MOST_OF_SERIAL_DOTS:
        return dot_by_threads(A.dtype, a, b)
    A.n, A.cs, A.m, A.rs = A.m, A.rs, 1, 0
    cdef long double result   # large and aligned enough for any of them
    y = A
    y.data, y.m, y.n, y.rs, y.cs, y.swapped = <char *>&result, 1, 1, 0, 0, 0
    if A.n < LET_OTHERS_RUN:
        kernels.matvec(&A, &x, &y)
    else:
        with nogil:
            kernels.matvec(&A, &x, &y)
    return PyArray_Scalar(&result, cnp.PyArray_DescrFromType(number), None)


cdef void conjugate(int dtype, Py_ssize_t parts, const char *x, double *y) noexcept:
    cdef Py_ssize_t k
    cdef const double *doubles = <const double *>x
    cdef const float *singles = <const float *>x
    for k in range(0, parts, 2):
        if dtype == C128:
            y[k], y[k + 1] = doubles[k], -doubles[k + 1]
        else:
            (<float *>y)[k], (<float *>y)[k + 1] = singles[k], -singles[k + 1]


cdef object dot_by_threads(int dtype, cnp.ndarray a, cnp.ndarray b):
    """The same of long vectors, on as many threads as a sum of as many bytes."""
    cdef int how = how_to_compute(dtype, SUMS, 2 * cnp.PyArray_NBYTES(b))
    if how == UNKNOWN:
        return None
    if how == 1 and (dtype == F32 or dtype == F64):
        return dot_by_numpy(a, b)
    cdef cnp.npy_intp one = 1
    cdef cnp.ndarray result = cnp.PyArray_SimpleNew(1, &one, cnp.PyArray_TYPE(a))
    multiply_by_threads(b[None], a, result, how)
    return result[0]


def short_cut_of_products(general):
    """`general`, a function with the signature of ``matvec``, with the short cut before it."""

    def matvec(A, x, /, out=None, *, dtype=None, exact=False, backend=None, workers=None):
        if (
            type(A) is cnp.ndarray and type(x) is cnp.ndarray
            and out is None and dtype is None and exact is False and backend is None and workers is None
        ):
            y = product(A, x)
            if y is not None:
                return y
        return general(A, x, out, dtype=dtype, exact=exact, backend=backend, workers=workers)

    return functools.update_wrapper(matvec, general)


def short_cut_of_dots(general):
    """`general`, a function with the signature of ``vecdot``, with the short cut before it."""

    def vecdot(x, y, /, out=None, *, dtype=None, exact=False, backend=None, workers=None):
        if (
            type(x) is cnp.ndarray and type(y) is cnp.ndarray
            and out is None and dtype is None and exact is False and backend is None and workers is None
        ):
            s = dot(x, y)
            if s is not None:
                return s
        return general(x, y, out, dtype=dtype, exact=exact, backend=backend, workers=workers)

    return functools.update_wrapper(vecdot, general)


def short_cut_of_vecmats(general):
    """`general`, a function with the signature of ``vecmat``, with the short cut before it."""

    def vecmat(x, A, /, out=None, *, dtype=None, exact=False, backend=None, workers=None):
        if (
            type(A) is cnp.ndarray and type(x) is cnp.ndarray and cnp.PyArray_NDIM(A) == 2
            and out is None and dtype is None and exact is False and backend is None and workers is None
            and not cnp.PyArray_ISCOMPLEX(x)
        ):
            y = product(cnp.PyArray_Transpose(A, NULL), x)
            if y is not None:
                return y
        return general(x, A, out, dtype=dtype, exact=exact, backend=backend, workers=workers)

    return functools.update_wrapper(vecmat, general)


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
        cdef Matrix A = matrix_of(a, False), b = matrix_of(x, True)
        cdef int how = self.counts.how
        if A.dtype == DTYPES or b.m != A.n:
            return None
        if A.m * A.n * cnp.PyArray_ITEMSIZE(a) < ALWAYS_SERIAL:
            how = 1
        elif how == BY_NUMPY and not are_for_blas(a, x):
            return None
        return product_by(how, a, x, A, b)

    cdef object multiply_columns(self, cnp.ndarray a, cnp.ndarray x):
        if not are_for_blas(a, x) or cnp.PyArray_DIM(x, 0) != cnp.PyArray_DIM(a, 1):
            return None
        # A larger one is done in parts, so that Ctrl-C is seen in between.
        return <object>a @ <object>x if cnp.PyArray_SIZE(a) * cnp.PyArray_DIM(x, 1) < LET_SIGNALS_COME else None

    def __matmul__(self, x):
        y = self.multiply_here(x)
        return self.multiply_any(x) if y is None else y


cdef bint are_for_blas(cnp.ndarray a, cnp.ndarray b):
    """Whether NumPy gives these two of the same dtype to BLAS, as they lie."""
    cdef int dtype = dtype_of_number(cnp.PyArray_TYPE(a))
    return dtype in (F32, F64, C64, C128) and cnp.PyArray_ISBEHAVED_RO(a) and cnp.PyArray_ISBEHAVED_RO(b)


include "small_sums.pxi"

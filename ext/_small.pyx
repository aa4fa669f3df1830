"""The short cut of small calls: from the call to the kernel in compiled code.

It serves products of one matrix and one vector of the same dtype, and sums of an array along one axis or all, in calls
that say nothing else; every other call goes the general way, with the same result.
"""

import functools

cimport numpy as cnp

from cpython.contextvars cimport get_value
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdlib cimport getenv

from parallel cimport (
    BOOL, C64, C128, CLONGDOUBLE, DTYPES, F16, F32, F64, LONGDOUBLE, MAX_DIMS, ROOM_BYTES, STATES, U8, U16, U32, U64,
    Addends, Kernels, Matrix, addends_of, dtype_of_number, matrix_of,
)

from ._kernels import table_address

cnp.import_array()

cdef const Kernels *kernels = <const Kernels *><size_t>table_address()
cdef Py_ssize_t most = 0, most_bool = 0, most_sum = 0   # elements of A, or of a
cdef object chosen = None   # the context variable of set_backend, and its value where that was not called
cdef object nothing_chosen = None
cdef object zero = 0
cdef int EVERY = MAX_DIMS   # stands for all axes
cdef Py_ssize_t LET_OTHERS_RUN = 30000   # elements that take some microseconds: the GIL is released from then on


def serve(Py_ssize_t elements, Py_ssize_t elements_bool, Py_ssize_t elements_sum, variable, default):
    """Take products and sums of fewer than so many elements where the context variable has its default."""
    global most, most_bool, most_sum, chosen, nothing_chosen
    most, most_bool, most_sum, chosen, nothing_chosen = elements, elements_bool, elements_sum, variable, default


cdef bint is_auto():
    """Whether nobody has chosen a backend or a number of workers."""
    if get_value(chosen) is not nothing_chosen:
        return False
    return getenv("PARLINALG_BACKEND") == NULL and getenv("PARLINALG_WORKERS") == NULL


cdef object product(cnp.ndarray a, cnp.ndarray b):
    """``a @ b``, or None where the general way must be taken."""
    cdef int number = cnp.PyArray_TYPE(a)
    if cnp.PyArray_TYPE(b) != number or cnp.PyArray_NDIM(a) != 2 or cnp.PyArray_NDIM(b) != 1:
        return None
    cdef Matrix A = matrix_of(a, False), x = matrix_of(b, True), y
    if x.m != A.n or A.m * A.n >= (most_bool if A.dtype == BOOL else most) or A.dtype == DTYPES or not is_auto():
        return None
    cdef cnp.npy_intp m = A.m
    cdef cnp.ndarray result = cnp.PyArray_EMPTY(1, &m, number, 0)
    y = matrix_of(result, True)
    kernels.matvec(&A, &x, &y)
    return result


cdef object total(cnp.ndarray a, int axis):
    """The sum along an axis, or of all elements if that is EVERY; None where the general way must be taken."""
    cdef int number = cnp.PyArray_TYPE(a), dtype = dtype_of_number(number), ndim = cnp.PyArray_NDIM(a), k
    if dtype == DTYPES or dtype == LONGDOUBLE or dtype == CLONGDOUBLE or cnp.PyArray_SIZE(a) >= most_sum:
        return None
    if not is_auto():
        return None
    if axis != EVERY:
        axis += ndim if axis < 0 else 0
        if not 0 <= axis < ndim:
            return None
    if dtype < F16:
        number = cnp.NPY_ULONG if dtype in (U8, U16, U32, U64) else cnp.NPY_LONG
    cdef cnp.ndarray result = zeros_without(a, axis, number)
    cdef Addends addends = addends_of(a, U64 if dtype < F16 else F64 if dtype in (F64, C128) else F32)
    cdef int kept = 0
    for k in range(ndim):
        if axis != EVERY and k != axis:
            addends.result[k] = cnp.PyArray_STRIDE(result, kept)
            kept += 1
    if dtype >= C64:
        if ndim == MAX_DIMS:
            return None
        add_parts(&addends, dtype)
    if sum_all(&addends, cnp.PyArray_SIZE(a), STATES if dtype < F16 else addends.dtype, result):
        return None   # it reports what it met
    return result if kept else cnp.PyArray_ToScalar(cnp.PyArray_DATA(result), result)


cdef cnp.ndarray zeros_without(cnp.ndarray a, int axis, int number):
    """Zeros in the shape of `a` without an axis, or without any if that is EVERY."""
    cdef cnp.npy_intp shape[64]
    cdef int k, kept = 0
    for k in range(cnp.PyArray_NDIM(a)):
        if axis != EVERY and k != axis:
            shape[kept] = cnp.PyArray_DIM(a, k)
            kept += 1
    return cnp.PyArray_ZEROS(kept, shape, number, 0)


cdef void add_parts(Addends *a, int dtype) noexcept:
    """Real and imaginary parts as one more axis, whose sums lie side by side."""
    a.dtype = F32 if dtype == C64 else F64
    a.shape[a.ndim] = 2
    a.stride[a.ndim] = a.result[a.ndim] = 4 if dtype == C64 else 8
    a.weight[a.ndim] = 0
    a.ndim += 1


cdef int sum_all(const Addends *a, Py_ssize_t size, int dtype, cnp.ndarray result) except -1:
    cdef char *sums = cnp.PyArray_BYTES(result)
    cdef void *room = NULL
    cdef int flags
    if cnp.PyArray_NDIM(result):
        room = PyMem_RawMalloc(ROOM_BYTES + 64)
        if room == NULL:
            raise MemoryError(f"psum: {ROOM_BYTES} bytes to sum in are not available")
    cdef void *aligned = <void *>((<size_t>room + 63) & ~<size_t>63)
    if size < LET_OTHERS_RUN:
        flags = kernels.sum(a, dtype, sums, aligned)
    else:
        with nogil:
            flags = kernels.sum(a, dtype, sums, aligned)
    PyMem_RawFree(room)
    return flags


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


def short_cut_of_sums(general):
    """`general`, a function with the signature of ``psum``, with the short cut before it."""

    def psum(a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True, *, backend=None, workers=None):
        if (
            type(a) is cnp.ndarray and dtype is None and out is None and keepdims is False
            and initial is zero and where is True and backend is None and workers is None
            and (axis is None or (type(axis) is int and -MAX_DIMS <= axis < MAX_DIMS))
        ):
            s = total(a, EVERY if axis is None else axis)
            if s is not None:
                return s
        return general(a, axis, dtype, out, keepdims, initial, where, backend=backend, workers=workers)

    return functools.update_wrapper(psum, general)

"""The short cut of small calls: from the call to the kernel in compiled code.

It serves products of one matrix and one vector of the same dtype, and sums of all elements of an array, in calls that
say nothing else; every other call goes the general way, with the same result.
"""

import functools

cimport numpy as cnp

from cpython.contextvars cimport get_value
from libc.stdint cimport int64_t
from libc.stdlib cimport getenv

from parallel cimport (
    BOOL, C64, CLONGDOUBLE, DTYPES, F16, F32, F64, LONGDOUBLE, STATES, U8, U16, U32, U64, Addends, Kernels, Matrix, addends_of,
    dtype_of_number, matrix_of,
)

from ._kernels import table_address

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, cnp.dtype descr, object base)

cdef const Kernels *kernels = <const Kernels *><size_t>table_address()
cdef Py_ssize_t most = 0, most_bool = 0, most_sum = 0   # elements of A, or of a
cdef object chosen = None   # the context variable of set_backend, and its value where that was not called
cdef object nothing_chosen = None
cdef object zero = 0
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


cdef object total(cnp.ndarray a):
    """The sum of all elements, or None where the general way must be taken."""
    cdef int number = cnp.PyArray_TYPE(a), dtype = dtype_of_number(number)
    if dtype == DTYPES or dtype == LONGDOUBLE or dtype == CLONGDOUBLE or cnp.PyArray_SIZE(a) >= most_sum:
        return None
    if not is_auto():
        return None
    if dtype < F16:
        return total_of_integers(a, dtype)
    cdef int real = dtype if dtype < C64 else F32 + dtype - C64
    cdef Addends addends = addends_of(a, F64 if real == F64 else F32)
    cdef double result[2]
    addends.dtype = real
    if dtype >= C64 and not add_parts(&addends, cnp.PyArray_ITEMSIZE(a) // 2):
        return None
    if sum_all(&addends, cnp.PyArray_SIZE(a), real, <char *>result):
        return None   # it reports what it met
    return PyArray_Scalar(result, cnp.PyArray_DescrFromType(number), None)


cdef int sum_all(const Addends *a, Py_ssize_t size, int dtype, char *result) noexcept:
    if size < LET_OTHERS_RUN:
        return kernels.sum(a, dtype, result, NULL)
    with nogil:
        return kernels.sum(a, dtype, result, NULL)


cdef bint add_parts(Addends *a, Py_ssize_t size) noexcept:
    """Real and imaginary parts as one more axis, whose sums lie side by side; False where there is no room for it."""
    if a.ndim == sizeof(a.shape) // sizeof(a.shape[0]):
        return False
    a.shape[a.ndim] = 2
    a.stride[a.ndim] = a.result[a.ndim] = size
    a.weight[a.ndim] = 0
    a.ndim += 1
    return True


cdef object total_of_integers(cnp.ndarray a, int dtype):
    cdef Addends addends = addends_of(a, U64)
    cdef int64_t result = 0
    sum_all(&addends, cnp.PyArray_SIZE(a), STATES, <char *>&result)
    cdef int number = cnp.NPY_ULONG if dtype in (U8, U16, U32, U64) else cnp.NPY_LONG
    return PyArray_Scalar(&result, cnp.PyArray_DescrFromType(number), None)


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
            type(a) is cnp.ndarray and axis is None and dtype is None and out is None and keepdims is False
            and initial is zero and where is True and backend is None and workers is None
        ):
            s = total(a)
            if s is not None:
                return s
        return general(a, axis, dtype, out, keepdims, initial, where, backend=backend, workers=workers)

    return functools.update_wrapper(psum, general)

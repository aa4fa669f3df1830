"""The short cut of small products: from the call to the kernel in compiled code.

It serves products of one matrix and one vector of the same dtype, in calls that say nothing else; every other call
goes the general way, with the same result.
"""

import functools

cimport numpy as cnp

from cpython.contextvars cimport get_value
from libc.stdlib cimport getenv

from parallel cimport BOOL, DTYPES, Kernels, Matrix, matrix_of

from ._kernels import table_address

cnp.import_array()

cdef const Kernels *kernels = <const Kernels *><size_t>table_address()
cdef Py_ssize_t most = 0, most_bool = 0   # elements of A
cdef object chosen = None   # the context variable of set_backend, and its value where that was not called
cdef object nothing_chosen = None


def serve(Py_ssize_t elements, Py_ssize_t elements_bool, variable, default):
    """Take products of fewer than so many elements where the context variable has its default."""
    global most, most_bool, chosen, nothing_chosen
    most, most_bool, chosen, nothing_chosen = elements, elements_bool, variable, default


cdef object product(cnp.ndarray a, cnp.ndarray b):
    """``a @ b``, or None where the general way must be taken."""
    cdef int number = cnp.PyArray_TYPE(a)
    if cnp.PyArray_TYPE(b) != number or cnp.PyArray_NDIM(a) != 2 or cnp.PyArray_NDIM(b) != 1:
        return None
    cdef Matrix A = matrix_of(a, False), x = matrix_of(b, True), y
    if x.m != A.n or A.m * A.n >= (most_bool if A.dtype == BOOL else most) or A.dtype == DTYPES:
        return None
    if get_value(chosen) is not nothing_chosen:
        return None
    if getenv("PARLINALG_BACKEND") != NULL or getenv("PARLINALG_WORKERS") != NULL:
        return None
    cdef cnp.npy_intp m = A.m
    cdef cnp.ndarray result = cnp.PyArray_EMPTY(1, &m, number, 0)
    y = matrix_of(result, True)
    kernels.matvec(&A, &x, &y)
    return result


def short_cut(general):
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

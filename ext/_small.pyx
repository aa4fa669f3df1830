"""The short cut of small products: from the call to the kernel in compiled code.

It serves plain float32 and float64 arrays that lie ready for the kernel, in calls that say nothing else; every other
call goes the general way, with the same result.
"""

import functools

cimport numpy as cnp

from libc.stdlib cimport getenv
from libc.string cimport memset

from parallel cimport F32, F64, Kernels

from ._kernels import table_address

cnp.import_array()

cdef const Kernels *kernels = <const Kernels *><size_t>table_address()
cdef Py_ssize_t most = 0   # elements of A
cdef int chosen_elsewhere = 0   # how many times set_backend holds


def limit(Py_ssize_t elements):
    """Take products of fewer than so many elements."""
    global most
    most = elements


def disable():
    """Go the general way until `enable` is called as many times."""
    global chosen_elsewhere
    chosen_elsewhere += 1


def enable():
    """Take back one `disable`."""
    global chosen_elsewhere
    chosen_elsewhere -= 1


cdef inline bint lies_ready(cnp.ndarray a, int ndim, int number):
    return cnp.PyArray_NDIM(a) == ndim and cnp.PyArray_TYPE(a) == number and cnp.PyArray_ISCARRAY_RO(a)


cdef object product(cnp.ndarray A, cnp.ndarray x):
    """``A @ x``, or None where the general way must be taken."""
    cdef int number = cnp.PyArray_TYPE(A)
    if number != cnp.NPY_DOUBLE and number != cnp.NPY_FLOAT:
        return None
    if not (lies_ready(A, 2, number) and lies_ready(x, 1, number)):
        return None
    cdef cnp.npy_intp m = cnp.PyArray_DIM(A, 0), n = cnp.PyArray_DIM(A, 1)
    if cnp.PyArray_DIM(x, 0) != n or m * n >= most or chosen_elsewhere:
        return None
    if getenv("PARLINALG_BACKEND") != NULL or getenv("PARLINALG_WORKERS") != NULL:
        return None
    cdef cnp.ndarray y = cnp.PyArray_EMPTY(1, &m, number, 0)
    memset(cnp.PyArray_DATA(y), 0, cnp.PyArray_NBYTES(y))
    kernels.by_rows[F64 if number == cnp.NPY_DOUBLE else F32](
        m, n, cnp.PyArray_DATA(A), n, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y))
    return y


def short_cut(general):
    """`general`, a function with the signature of ``matvec``, with the short cut before it."""

    def matvec(A, x, /, out=None, *, dtype=None, backend=None, workers=None):
        if (
            type(A) is cnp.ndarray and type(x) is cnp.ndarray
            and out is None and dtype is None and backend is None and workers is None
        ):
            y = product(A, x)
            if y is not None:
                return y
        return general(A, x, out, dtype=dtype, backend=backend, workers=workers)

    return functools.update_wrapper(matvec, general)

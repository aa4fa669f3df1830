# The short cut of dot products; part of _small.pyx.

cdef object dot(cnp.ndarray a, cnp.ndarray b, backend, workers):
    """The dot product of two vectors, or None where the general way must be taken."""
    cdef int number = native(cnp.PyArray_TYPE(a))
    if native(cnp.PyArray_TYPE(b)) != number or cnp.PyArray_NDIM(a) != 1 or cnp.PyArray_NDIM(b) != 1:
        return None
    if cnp.PyArray_IS_C_CONTIGUOUS(b) and not cnp.PyArray_IS_C_CONTIGUOUS(a) and not cnp.PyArray_ISCOMPLEX(a):
        a, b = b, a   # a row is read where it lies, but a vector is copied
    cdef Matrix x, A, y
    describe_matrix(&x, a, True)
    describe_matrix(&A, b, True)
    if A.dtype == DTYPES or x.m != A.m:
        return None
    cdef int how = asked(backend, workers)
    if how == UNKNOWN or how == REPORTING:
        return None
    cdef Py_ssize_t nbytes = A.m * cnp.PyArray_ITEMSIZE(b)
    cdef double conjugated[DOUBLES]
    x.conjugated = A.dtype >= C64
    if x.conjugated and A.dtype != CLONGDOUBLE and are_for_blas(a, a) and cnp.PyArray_IS_C_CONTIGUOUS(a):
        if nbytes < SMALL_VECTOR:
            conjugate(A.dtype, 2 * A.m, x.data, conjugated)
            x.data, x.conjugated = <char *>conjugated, False
    elif x.conjugated and how == AUTO and blas_is_faster(A.dtype, a, b):
        return dot_by_numpy(a, b)
    # BLAS has no threads for them, but the faster kernel from cache.
    if how == AUTO and SMALL_VECTOR <= nbytes < LARGE_VECTOR and blas_is_faster(A.dtype, a, b):
        return dot_by_numpy(a, b)
    # A dot product of bool ends at its first true.
    if A.dtype == CLONGDOUBLE:
        return None
    if A.dtype != BOOL and nbytes >= (MOST_OF_SERIAL_DOTS if how == AUTO else ALWAYS_SERIAL):
        return dot_by_threads(how, A.dtype, a, b)
    A.n, A.cs, A.m, A.rs = A.m, A.rs, 1, 0
    cdef long double result   # large and aligned enough for any of them
    y = A
    y.data, y.m, y.n, y.rs, y.cs, y.swapped = <char *>&result, 1, 1, cnp.PyArray_ITEMSIZE(b), 0, 0
    if A.n < LET_OTHERS_RUN:
        kernels.matvec(&A, &x, &y)
    else:
        with nogil:
            kernels.matvec(&A, &x, &y)
    return PyArray_Scalar(&result, cnp.PyArray_DescrFromType(number), None)


cdef bint blas_is_faster(int dtype, cnp.ndarray a, cnp.ndarray b) noexcept:
    """Than our kernels on one thread, for dot products of vectors from cache: it is slow from the last to the first."""
    if dtype not in (F32, F64, C64, C128):
        return False
    if cnp.PyArray_IS_C_CONTIGUOUS(a) and cnp.PyArray_IS_C_CONTIGUOUS(b):
        return True
    cdef int backwards = (cnp.PyArray_STRIDE(a, 0) < 0) + (cnp.PyArray_STRIDE(b, 0) < 0)
    return dtype != F32 and backwards < (2 if dtype == C128 else 1)


cdef object dots(cnp.ndarray a, cnp.ndarray b, backend, workers):
    """The dot products of vectors, as products of matrices of one row; or None."""
    if cnp.PyArray_NDIM(a) == 0 or cnp.PyArray_NDIM(b) == 0 or cnp.PyArray_NDIM(b) == MAX_DIMS:
        return None
    if cnp.PyArray_NDIM(b) == 1 and not cnp.PyArray_ISCOMPLEX(a) and not cnp.PyArray_ISCOMPLEX(b):
        a, b = b, a
    if cnp.PyArray_NDIM(a) == 1:   # the others are rows of a matrix
        return product(b, PyArray_Conjugate(a, NULL) if cnp.PyArray_ISCOMPLEX(a) else a, None, None, backend, workers)
    y = short_dots(a, b, backend, workers)
    if y is not None:
        return y
    if cnp.PyArray_DIM(b, cnp.PyArray_NDIM(b) - 1) > FEW_FOR_BLAS and cnp.PyArray_NBYTES(b) < LARGE_VECTOR:
        if cnp.PyArray_TYPE(a) == cnp.PyArray_TYPE(b) and are_for_blas(a, b) and asked(backend, workers) == AUTO:
            try:
                return call_silently(vecdot_by_numpy, a, b, None)   # which calls BLAS for each of them
            except ValueError:
                return None   # shapes that do not fit: the general way says which
    results = product(b[..., None, :], a, None, None, backend, workers, cnp.PyArray_ISCOMPLEX(a))
    return None if results is None else results[..., 0][()]


cdef object short_dots(cnp.ndarray a, cnp.ndarray b, backend, workers):
    """The dot products of few, and short, vectors, or of rows of matrices of these; or None."""
    cdef int number
    cdef Py_ssize_t step
    if cnp.PyArray_NDIM(a) > 2 or cnp.PyArray_NDIM(b) > 2:
        return None
    cdef Matrix x = rows_of(a), A = rows_of(b), y
    if A.dtype == DTYPES or x.dtype == DTYPES or x.n != A.n or (x.m != A.m and x.m != 1 and A.m != 1):
        return None
    cdef cnp.npy_intp m = max(x.m, A.m) if min(x.m, A.m) else 0
    cdef bint may_end_soon = A.dtype == BOOL and x.dtype == BOOL and A.n > MOST_OF_DOTS and m <= FEW_ROWS
    if not may_end_soon and cnp.PyArray_SIZE(a) + cnp.PyArray_SIZE(b) > LET_OTHERS_RUN:
        return None
    cdef bint are_short = A.n <= longest_of_dots(A.dtype, m * A.n <= FEW_ELEMENTS or not are_for_blas(a, b))
    if not may_end_soon and not are_short and (m > FEW_DOTS or A.n * cnp.PyArray_ITEMSIZE(b) >= SMALL_VECTOR):
        return None
    if asked(backend, workers) in (UNKNOWN, REPORTING):
        return None
    number = number_of_product(a, b)
    if m != x.m:
        x.m, x.rs = m, 0
    if m != A.m:
        A.m, A.rs = m, 0
    cdef cnp.ndarray result = cnp.PyArray_SimpleNew(1, &m, number)
    describe_matrix(&y, result, True)
    x.conjugated = cnp.PyArray_ISCOMPLEX(a)
    if may_end_soon:
        A.n = x.n = MOST_OF_DOTS
    if are_short or may_end_soon:
        kernels.dots(&A, &x, &y)
        return result if are_short or are_all_true(&y) else None
    x.m, x.n, x.rs, x.cs, step = x.n, 1, x.cs, 0, x.rs   # each row as a vector
    y.m = A.m = 1
    for _ in range(m):
        kernels.matvec(&A, &x, &y)
        A.data += A.rs
        x.data += step
        y.data += y.rs
    return result


cdef int longest_of_dots(int dtype, bint are_few) noexcept:
    """Elements of vectors that are multiplied faster by `Kernels.dots` than by BLAS, one after the other."""
    if are_few:
        return MOST_OF_DOTS
    return FEW_FOR_CDOTC if dtype == C64 else FEW_FOR_DOTS


cdef Matrix rows_of(cnp.ndarray a) noexcept:
    """A matrix, or a vector as one of one row."""
    cdef Matrix A
    describe_matrix(&A, a, cnp.PyArray_NDIM(a) == 1)
    if cnp.PyArray_NDIM(a) == 1:
        A.n, A.cs, A.m, A.rs = A.m, A.rs, 1, 0
    return A


cdef void conjugate(int dtype, Py_ssize_t parts, const char *x, double *y) noexcept:
    cdef Py_ssize_t k
    cdef const double *doubles = <const double *>x
    cdef const float *singles = <const float *>x
    for k in range(0, parts, 2):
        if dtype == C128:
            y[k], y[k + 1] = doubles[k], -doubles[k + 1]
        else:
            (<float *>y)[k], (<float *>y)[k + 1] = singles[k], -singles[k + 1]


cdef object dot_by_threads(int how, int dtype, cnp.ndarray a, cnp.ndarray b):
    """The same of long vectors; for `AUTO` on as many threads as a sum of as many bytes."""
    if how == AUTO:
        how = how_to_compute(dtype, SUMS, 2 * cnp.PyArray_NBYTES(b))
        if how == UNKNOWN:
            return None
        if how == 1 and blas_is_faster(dtype, a, b):
            return dot_by_numpy(a, b)
    cdef cnp.npy_intp one = 1
    cdef cnp.ndarray result = cnp.PyArray_SimpleNew(1, &one, native(cnp.PyArray_TYPE(a)))
    multiply_by_threads(b.reshape(1, -1), a, result, how, cnp.PyArray_ISCOMPLEX(a))
    return cnp.PyArray_ToScalar(cnp.PyArray_DATA(result), result)


def short_cut_of_dots(general):
    """`general`, a function with the signature of ``vecdot``, with the short cut before it."""

    def vecdot(x, y, /, out=None, *, dtype=None, exact=False, backend=None, workers=None):
        x, y = plain(x), plain(y)
        if type(x) is cnp.ndarray and type(y) is cnp.ndarray and out is None and dtype is None and exact is False:
            s = dot(x, y, backend, workers) if x.ndim == 1 and y.ndim == 1 else dots(x, y, backend, workers)
            if s is not None:
                return s
        return general(x, y, out, dtype=dtype, exact=exact, backend=backend, workers=workers)

    return functools.update_wrapper(vecdot, general)

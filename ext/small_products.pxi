# The short cut of products; part of _small.pyx.

cdef object call_silently(function, cnp.ndarray a, cnp.ndarray b, out):
    """A function of NumPy's, or ``numpy.dot``, without reports, which would come or not by the size of a product."""
    context = PyContext_Copy(silent)
    PyContext_Enter(context)
    try:
        return cnp.PyArray_MatrixProduct(a, b) if function is None else function(a, b, out)
    finally:
        PyContext_Exit(context)


cdef object multiply_by_numpy(cnp.ndarray a, cnp.ndarray b, out):
    """``numpy.dot`` begins sooner than ``numpy.matvec``, but fills the result with zeros first."""
    cdef bint is_one = cnp.PyArray_NDIM(a) + cnp.PyArray_NDIM(b) == 3
    cdef bint by_dot = is_one and out is None and cnp.PyArray_DIM(a, 0) < LONG_RESULT
    return call_silently(None if by_dot else matvec_by_numpy, a, b, out)


cdef object product(cnp.ndarray a, cnp.ndarray b, out, dtype, backend, workers, bint conjugates=False):
    """The products of matrices and vectors, or of their conjugates; or None where the general way must be taken."""
    if cnp.PyArray_NDIM(a) < 2 or cnp.PyArray_NDIM(b) < 1:
        return None
    if dtype_of_number(cnp.PyArray_TYPE(a)) == DTYPES or dtype_of_number(cnp.PyArray_TYPE(b)) == DTYPES:
        return None
    cdef int number = number_of_product(a, b) if dtype is None else number_named(dtype)
    if dtype is not None:
        if not (can_be_cast(a, number) and can_be_cast(b, number)):
            return None
        a, b = as_it_is_multiplied(a, number), as_it_is_multiplied(b, number)
    cdef Matrix A = matrix_of(a, False), x = matrix_of(b, True)
    x.conjugated = conjugates
    if x.m != A.n:
        return None
    cdef Py_ssize_t size = cnp.PyArray_DescrFromType(number).itemsize
    cdef bint is_one = cnp.PyArray_NDIM(a) + cnp.PyArray_NDIM(b) == 3
    if out is not None and is_one and not takes(out, number, A.m, a, b):
        return None
    cdef cnp.npy_intp shape[MAX_DIMS + 2]
    cdef int ndim = 0 if is_one else broadcast(a, b, shape)
    if ndim < 0:
        return None
    cdef int how = asked(backend, workers), k
    if how == AUTO:
        for k in range(ndim):
            size *= shape[k]
        how = how_to_compute(dtype_of_number(number), layout_of(a, &A, number), A.m * A.n * size)
    if how == BY_NUMPY and ndim and (A.m == 1 or A.m * A.n <= FEW_FOR_BLAS * FEW_FOR_BLAS / 2):
        how = 1   # rather than to call BLAS for each of them
    if how < 0 and (native(cnp.PyArray_TYPE(a)) != number or not cnp.PyArray_ISBEHAVED_RO(a)):
        return None   # since NumPy would copy all of it
    if how == UNKNOWN:
        return None
    if is_one:
        return product_by(how, a, b, out, number, A, x)
    shape[ndim] = A.m
    if out is not None and not takes_batch(out, number, ndim + 1, shape, a, b):
        return None
    return products_by(how, a, b, out, ndim + 1, shape, number, conjugates)


cdef int number_of_product(cnp.ndarray a, cnp.ndarray b):
    """Of the dtype that these two are promoted to."""
    cdef int number = native(cnp.PyArray_TYPE(a))
    return number if native(cnp.PyArray_TYPE(b)) == number else native(PyArray_PromoteTypes(a.descr, b.descr).type_num)


cdef bint can_be_cast(cnp.ndarray a, int number):
    """Whether `a` can be cast to the dtype with this number here; otherwise the general way must be taken."""
    if dtype_of_number(number) == DTYPES:
        return False
    if cnp.PyArray_CanCastSafely(cnp.PyArray_TYPE(a), number):
        return True
    cdef cnp.dtype narrower = cnp.PyArray_DescrFromType(number)
    return cnp.PyArray_SIZE(a) <= MOST_COPIED and PyArray_CanCastTypeTo(a.descr, narrower, cnp.NPY_SAME_KIND_CASTING)


cdef cnp.ndarray as_it_is_multiplied(cnp.ndarray a, int number):
    """`a`, cast if the dtype with this number holds less."""
    if cnp.PyArray_CanCastSafely(cnp.PyArray_TYPE(a), number):
        return a
    with ieee754():
        return a.astype(cnp.PyArray_DescrFromType(number))


cdef int broadcast(cnp.ndarray a, cnp.ndarray b, cnp.npy_intp *shape) noexcept:
    """The shape of the leading axes of matrices and vectors; returns how many there are, or -1: they do not fit."""
    cdef int in_a = cnp.PyArray_NDIM(a) - 2, in_b = cnp.PyArray_NDIM(b) - 1, ndim = max(in_a, in_b), k
    cdef cnp.npy_intp of_a, of_b
    for k in range(ndim):
        of_a = cnp.PyArray_DIM(a, k - ndim + in_a) if k >= ndim - in_a else 1
        of_b = cnp.PyArray_DIM(b, k - ndim + in_b) if k >= ndim - in_b else 1
        if of_a != of_b and of_a != 1 and of_b != 1:
            return -1
        shape[k] = of_b if of_a == 1 else of_a
    return -1 if ndim >= MAX_DIMS else ndim   # NumPy has no room for the axis of the results


cdef object products_by(
    int how, cnp.ndarray a, cnp.ndarray b, out, int ndim, cnp.npy_intp *shape, int number, bint conjugates
):
    """The products of matrices and vectors in this shape, of a dtype with this number."""
    if how < 0:
        vectors = PyArray_Conjugate(b, NULL) if conjugates else b
        return matvec_by_numpy(a, vectors, out) if how == REPORTING else multiply_by_numpy(a, vectors, out)
    cdef cnp.ndarray results = cnp.PyArray_SimpleNew(ndim, shape, number) if out is None else out
    multiply_by_threads(a, b, results, how, conjugates)
    return results


cdef int native(int number) noexcept:
    """Of the C types that are the same integer the number of the one that NumPy's names stand for."""
    cdef int dtype = dtype_of_number(number)
    return cnp.NPY_INT64 if dtype == I64 else cnp.NPY_UINT64 if dtype == U64 else number


cdef int number_named(dtype):
    """The number of the dtype that a caller named, in native byte order; -1 for none, which the general way says."""
    try:
        return native(np.dtype(dtype).num)
    except (TypeError, ValueError, SyntaxError):
        return -1


cdef bint takes(out, int number, Py_ssize_t length, cnp.ndarray a, cnp.ndarray b) except -1:
    """Whether the product of these can be written into it at once."""
    if type(out) is not cnp.ndarray:
        return False
    cdef cnp.ndarray y = out
    if cnp.PyArray_NDIM(y) != 1 or cnp.PyArray_DIM(y, 0) != length or cnp.PyArray_TYPE(y) != number:
        return False
    if not cnp.PyArray_ISBEHAVED(y) or (length > 1 and abs(cnp.PyArray_STRIDE(y, 0)) < cnp.PyArray_ITEMSIZE(y)):
        return False
    return lie_apart(y, a) and lie_apart(y, b)


cdef bint takes_batch(out, int number, int ndim, cnp.npy_intp *shape, cnp.ndarray a, cnp.ndarray b) except -1:
    """The same of products in this shape."""
    if type(out) is not cnp.ndarray:
        return False
    cdef cnp.ndarray y = out
    cdef int k
    if cnp.PyArray_NDIM(y) != ndim or cnp.PyArray_TYPE(y) != number:
        return False
    for k in range(ndim):
        if cnp.PyArray_DIM(y, k) != shape[k]:
            return False
    return cnp.PyArray_ISBEHAVED(y) and cnp.PyArray_IS_C_CONTIGUOUS(y) and lie_apart(y, a) and lie_apart(y, b)


cdef bint lie_apart(cnp.ndarray one, cnp.ndarray other) noexcept:
    cdef const char *ends[4]
    find_ends(one, ends)
    find_ends(other, ends + 2)
    return ends[1] <= ends[2] or ends[3] <= ends[0]


cdef void find_ends(cnp.ndarray a, const char **ends) noexcept:
    """Where an array begins and ends in memory."""
    cdef int k
    ends[0] = ends[1] = cnp.PyArray_BYTES(a)
    if cnp.PyArray_SIZE(a) == 0:
        return
    for k in range(cnp.PyArray_NDIM(a)):
        reach = (cnp.PyArray_DIM(a, k) - 1) * cnp.PyArray_STRIDE(a, k)
        ends[reach > 0] += reach
    ends[1] += cnp.PyArray_ITEMSIZE(a)


cdef object product_by(int how, cnp.ndarray a, cnp.ndarray b, out, int number, Matrix A, Matrix x):
    """``a @ b``, of a dtype with this number, where A and x are these arrays."""
    if how == REPORTING:
        return matvec_by_numpy(a, b, out)
    if how == BY_NUMPY:
        return multiply_by_numpy(a, b, out)
    cdef cnp.npy_intp m = A.m
    cdef cnp.ndarray result = cnp.PyArray_SimpleNew(1, &m, number) if out is None else out
    cdef Matrix y = matrix_of(result, True)
    if y.dtype == BOOL and A.m * A.n >= LET_OTHERS_RUN and A.m <= FEW_ROWS and first_columns_suffice(A, x, y):
        return result
    if A.m * A.n * cnp.PyArray_ITEMSIZE(a) < ALWAYS_SERIAL:
        how = 1
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


cdef object dot(cnp.ndarray a, cnp.ndarray b, backend, workers):
    """The dot product of two vectors, or None where the general way must be taken."""
    cdef int number = native(cnp.PyArray_TYPE(a))
    if native(cnp.PyArray_TYPE(b)) != number or cnp.PyArray_NDIM(a) != 1 or cnp.PyArray_NDIM(b) != 1:
        return None
    if cnp.PyArray_IS_C_CONTIGUOUS(b) and not cnp.PyArray_IS_C_CONTIGUOUS(a) and not cnp.PyArray_ISCOMPLEX(a):
        a, b = b, a   # a row is read where it lies, but a vector is copied
    cdef Matrix x = matrix_of(a, True), A = matrix_of(b, True), y
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
    if cnp.PyArray_NDIM(a) == 0 or cnp.PyArray_NDIM(b) == 0:
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
    if cnp.PyArray_NDIM(a) > 2 or cnp.PyArray_NDIM(b) > 2 or cnp.PyArray_SIZE(a) + cnp.PyArray_SIZE(b) > LET_OTHERS_RUN:
        return None
    cdef Matrix x = rows_of(a), A = rows_of(b), y
    if A.dtype == DTYPES or x.dtype == DTYPES or x.n != A.n or (x.m != A.m and x.m != 1 and A.m != 1):
        return None
    cdef cnp.npy_intp m = max(x.m, A.m) if min(x.m, A.m) else 0
    cdef bint are_short = A.n <= (FEW_FOR_BLAS if are_for_blas(a, b) else MOST_OF_DOTS)
    if not are_short and (m > FEW_DOTS or A.n * cnp.PyArray_ITEMSIZE(b) >= SMALL_VECTOR):
        return None
    if asked(backend, workers) in (UNKNOWN, REPORTING):
        return None
    number = number_of_product(a, b)
    if m != x.m:
        x.m, x.rs = m, 0
    if m != A.m:
        A.m, A.rs = m, 0
    cdef cnp.ndarray result = cnp.PyArray_SimpleNew(1, &m, number)
    y = matrix_of(result, True)
    x.conjugated = cnp.PyArray_ISCOMPLEX(a)
    if are_short:
        kernels.dots(&A, &x, &y)
        return result
    x.m, x.n, x.rs, x.cs, step = x.n, 1, x.cs, 0, x.rs   # each row as a vector
    y.m = A.m = 1
    for _ in range(m):
        kernels.matvec(&A, &x, &y)
        A.data += A.rs
        x.data += step
        y.data += y.rs
    return result


cdef Matrix rows_of(cnp.ndarray a) noexcept:
    """A matrix, or a vector as one of one row."""
    cdef Matrix A = matrix_of(a, cnp.PyArray_NDIM(a) == 1)
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


cdef object plain(value):
    """A list as an array; all else as it is, and so what is none: the general way says why."""
    if type(value) is not list:
        return value
    try:
        return as_operand("", "", value)
    except (TypeError, ValueError):
        return value


def short_cut_of_products(general):
    """`general`, a function with the signature of ``matvec``, with the short cut before it."""

    def matvec(A, x, /, out=None, *, dtype=None, exact=False, backend=None, workers=None):
        A, x = plain(A), plain(x)
        if type(A) is cnp.ndarray and type(x) is cnp.ndarray and exact is False:
            y = product(A, x, out, dtype, backend, workers)
            if y is not None:
                return y
        return general(A, x, out, dtype=dtype, exact=exact, backend=backend, workers=workers)

    return functools.update_wrapper(matvec, general)


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


def short_cut_of_vecmats(general):
    """`general`, a function with the signature of ``vecmat``, with the short cut before it."""

    def vecmat(x, A, /, out=None, *, dtype=None, exact=False, backend=None, workers=None):
        x, A = plain(x), plain(A)
        is_array = type(A) is cnp.ndarray and type(x) is cnp.ndarray
        if is_array and cnp.PyArray_NDIM(A) >= 2 and cnp.PyArray_NDIM(x) >= 1 and exact is False:
            vector = PyArray_Conjugate(x, NULL) if cnp.PyArray_ISCOMPLEX(x) else x
            y = product(cnp.PyArray_SwapAxes(A, -1, -2), vector, out, dtype, backend, workers)
            if y is not None:
                return y
        return general(x, A, out, dtype=dtype, exact=exact, backend=backend, workers=workers)

    return functools.update_wrapper(vecmat, general)

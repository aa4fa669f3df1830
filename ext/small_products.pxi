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
    cdef bint by_dot = is_one and out is None and cnp.PyArray_DIM(a, 0) * cnp.PyArray_ITEMSIZE(a) < LONG_RESULT
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
    cdef Matrix A, x
    describe_matrix(&A, a, False)
    describe_matrix(&x, b, True)
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
        return product_by(how, a, b, out, number, &A, &x)
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


cdef object product_by(int how, cnp.ndarray a, cnp.ndarray b, out, int number, const Matrix *A, const Matrix *x):
    """``a @ b``, of a dtype with this number, where A and x are these arrays."""
    if how == REPORTING:
        return matvec_by_numpy(a, b, out)
    if how == BY_NUMPY:
        return multiply_by_numpy(a, b, out)
    cdef cnp.npy_intp m = A.m
    cdef cnp.ndarray result = cnp.PyArray_SimpleNew(1, &m, number) if out is None else out
    cdef Matrix y
    describe_matrix(&y, result, True)
    if y.dtype == BOOL and A.m * A.n >= LET_OTHERS_RUN and A.m <= FEW_ROWS and first_columns_suffice(A[0], x[0], y):
        return result
    if A.m * A.n * cnp.PyArray_ITEMSIZE(a) < ALWAYS_SERIAL:
        how = 1
    if how > 1 or A.m * A.n >= LET_SIGNALS_COME:
        multiply_by_threads(a, b, result, how)
        return result
    if A.m * A.n < LET_OTHERS_RUN:
        kernels.matvec(A, x, &y)
    else:
        with nogil:
            kernels.matvec(A, x, &y)
    return result


cdef bint first_columns_suffice(Matrix A, Matrix x, Matrix y) noexcept:
    """Whether each row of bool has its first true in some columns, so that `y` is all true now."""
    A.n = x.m = min(A.n, FEW_COLUMNS)
    kernels.matvec(&A, &x, &y)
    return are_all_true(&y)


cdef bint are_all_true(const Matrix *y) noexcept:
    cdef Py_ssize_t i
    for i in range(y.m):
        if not y.data[i * y.rs]:
            return False
    return True


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

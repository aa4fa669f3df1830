# The short cut of sums; part of _small.pyx.

cdef object total(cnp.ndarray a, int axis, backend, workers):
    """The sum along an axis, or of all elements if that is EVERY; None where the general way must be taken."""
    cdef int number = cnp.PyArray_TYPE(a), dtype = dtype_of_number(number), ndim = cnp.PyArray_NDIM(a)
    if dtype == DTYPES or dtype == LONGDOUBLE or dtype == CLONGDOUBLE:
        return None
    cdef int how = asked(backend, workers)
    if how == REPORTING or (how > 0 and cnp.PyArray_NBYTES(a) < ALWAYS_SERIAL):
        how = 1   # the bits are the same
    elif how == AUTO:
        how = how_to_compute(dtype, SUMS if cnp.PyArray_ISONESEGMENT(a) else OTHER_SUMS, cnp.PyArray_NBYTES(a))
    if how == UNKNOWN:
        return None
    if how > 1 or cnp.PyArray_SIZE(a) >= LET_SIGNALS_COME:
        return total_by_threads(a, dtype, how) if axis == EVERY else None
    if axis != EVERY:
        axis += ndim if axis < 0 else 0
        if not 0 <= axis < ndim:
            return None
    cdef Addends addends
    describe(&addends, a, U64 if dtype < F16 else F64 if dtype in (F64, C128) else F32)
    number = number_of_sum(number)
    if dtype >= C64:
        if ndim == MAX_DIMS:
            return None
        add_parts(&addends, dtype)
    if axis == EVERY or ndim == 1:
        return total_of_all(&addends, cnp.PyArray_SIZE(a), number)
    return totals_along(&addends, a, axis, number)


cdef object total_of_all(const Addends *addends, Py_ssize_t size, int number):
    """A number of NumPy's; None if there is something to report."""
    cdef double sums[2]   # real and imaginary part
    sums[0] = sums[1] = 0
    if sum_all(addends, size, <char *>sums, NULL):
        return None
    return PyArray_Scalar(sums, cnp.PyArray_DescrFromType(number), None)


cdef object totals_along(Addends *addends, cnp.ndarray a, int axis, int number):
    """An array of sums along one of several axes; None if there is something to report."""
    cdef cnp.ndarray result = zeros_without(a, axis, number)
    if cnp.PyArray_SIZE(result) == 0:   # its strides are 0, as if all axes were summed
        return result
    cdef int k, kept = 0
    for k in range(cnp.PyArray_NDIM(a)):
        if k != axis:
            addends.result[k] = cnp.PyArray_STRIDE(result, kept)
            kept += 1
    cdef void *room = PyMem_RawMalloc(ROOM_BYTES + 64)
    if room == NULL:
        raise MemoryError(f"psum: {ROOM_BYTES} bytes to sum in are not available")
    cdef int flags = sum_all(addends, cnp.PyArray_SIZE(a), cnp.PyArray_BYTES(result),
                             <void *>((<size_t>room + 63) & ~<size_t>63))
    PyMem_RawFree(room)
    return None if flags else result


cdef object total_by_threads(cnp.ndarray a, int dtype, int threads):
    """The sum of all elements; None where the general way must be taken."""
    cdef cnp.ndarray result
    if dtype < F16:
        state = sum_states(a, 0, threads)
        return state.view(cnp.PyArray_DescrFromType(cnp.NPY_ULONG))[0] if is_unsigned(dtype) else state[0]
    result = cnp.PyArray_EMPTY(0, NULL, cnp.PyArray_TYPE(a), 0)
    if dtype < C64:
        flags = write_sums(a, 0, threads, result)
    else:
        flags = write_sums(real_view(a, 0), 1, threads, real_view(result, 0))
    return None if flags else cnp.PyArray_ToScalar(cnp.PyArray_DATA(result), result)


cdef int number_of_sum(int number) noexcept:
    """The dtype in which NumPy adds one with this number."""
    cdef int dtype = dtype_of_number(number)
    if dtype >= F16:
        return number
    return cnp.NPY_ULONG if is_unsigned(dtype) else cnp.NPY_LONG


cdef bint is_unsigned(int dtype) noexcept:
    return dtype == U8 or dtype == U16 or dtype == U32 or dtype == U64


cdef cnp.ndarray zeros_without(cnp.ndarray a, int axis, int number):
    """Zeros in the shape of `a` without an axis."""
    cdef cnp.npy_intp shape[64]
    cdef int k, kept = 0
    for k in range(cnp.PyArray_NDIM(a)):
        if k != axis:
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


cdef int sum_all(const Addends *a, Py_ssize_t size, char *sums, void *room) noexcept:
    """Sums of integers are states of one integer each."""
    cdef int dtype = STATES if a.loop == U64 else a.dtype, flags
    if size < LET_OTHERS_RUN:
        return kernels.sum(a, dtype, sums, room)
    with nogil:
        flags = kernels.sum(a, dtype, sums, room)
    return flags


cdef tuple shape_of_sums(cnp.ndarray a, axis, bint keepdims):
    cdef list shape = list((<object>a).shape)
    if axis is None:
        return (1,) * len(shape) if keepdims else ()
    if keepdims:
        shape[axis] = 1
    else:
        del shape[axis]
    return tuple(shape)


cdef bint takes_sums(out, cnp.ndarray a, tuple shape) except -1:
    """Whether sums in this shape can be written into it as they are."""
    if type(out) is not cnp.ndarray:
        return False
    cdef cnp.ndarray target = out
    if not cnp.PyArray_ISBEHAVED(target) or not cnp.PyArray_IS_C_CONTIGUOUS(target):
        return False
    return cnp.PyArray_TYPE(target) == number_of_sum(cnp.PyArray_TYPE(a)) and out.shape == shape


cdef object shaped_total(cnp.ndarray a, axis, out, bint keepdims, backend, workers):
    """`total`, written into `out` or with all dimensions."""
    if axis is not None and not -cnp.PyArray_NDIM(a) <= axis < cnp.PyArray_NDIM(a):
        return None
    cdef tuple shape = shape_of_sums(a, axis, keepdims)
    if out is not None and not takes_sums(out, a, shape):
        return None
    s = total(a, EVERY if axis is None else axis, backend, workers)
    if s is None:
        return None
    if out is None:
        return cnp.PyArray_FROM_O(s).reshape(shape) if shape else s
    cnp.PyArray_CopyAnyInto(out, cnp.PyArray_FROM_O(s))   # of the same size
    return out


def short_cut_of_sums(general):
    """`general`, a function with the signature of ``psum``, with the short cut before it."""

    def psum(a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True, *, backend=None, workers=None):
        if (
            type(a) is cnp.ndarray and dtype is None and initial is zero and where is True
            and (axis is None or (type(axis) is int and -MAX_DIMS <= axis < MAX_DIMS))
        ):
            if out is None and keepdims is False:
                s = total(a, EVERY if axis is None else axis, backend, workers)
            else:
                s = shaped_total(a, axis, out, bool(keepdims), backend, workers)
            if s is not None:
                return s
        return general(a, axis, dtype, out, keepdims, initial, where, backend=backend, workers=workers)

    return functools.update_wrapper(psum, general)

# The short cut of sums; part of _small.pyx.

cdef object total(cnp.ndarray a, Axes summed, int number, bint keepdims, object initial, backend, workers,
                  bint reports=True):
    """The sums over some axes, of a dtype with this number; None where the general way must be taken.

    That is also where there is something to report, of sums by one thread, or if those by several do not report here.
    """
    cdef int dtype = dtype_of_number(cnp.PyArray_TYPE(a)), ndim = cnp.PyArray_NDIM(a)
    cdef int how = asked(backend, workers)
    if how == REPORTING or (how > 0 and cnp.PyArray_NBYTES(a) < ALWAYS_SERIAL):
        how = 1   # the bits are the same
    elif how == AUTO:
        how = how_to_compute(dtype, SUMS if is_dense(a) else OTHER_SUMS, cnp.PyArray_NBYTES(a))
    if how == UNKNOWN or (dtype >= C64 and ndim == MAX_DIMS):
        return None
    if initial is not None and dtype >= C64 and not parts_are_innermost(a):
        return None
    if how > 1 or cnp.PyArray_SIZE(a) >= LET_SIGNALS_COME:
        if summed == every_axis(ndim) and is_dense(a) and (initial is None or dtype < F16):
            return total_by_threads(a, number, keepdims, initial, how, reports)
        return totals_by_threads(a, summed, number, keepdims, initial, how, reports)
    cdef Addends addends
    describe(&addends, a, loop_of(dtype, dtype_of_number(number)))
    if dtype >= C64:
        add_parts(&addends, dtype, 4 if part_of(number) == F32 else 8)
    cdef bint is_one = summed == every_axis(ndim) and (ndim == 0 or not keepdims)
    if initial is not None and dtype >= F16:
        part = as_part(initial, number)
        begin_with(&addends, part, 0 if dtype >= C64 else part)
        initial = None
    if is_one:
        return total_of_all(&addends, cnp.PyArray_SIZE(a), number, 0 if initial is None else initial)
    return totals_along(&addends, a, summed, number, keepdims, initial)


cdef Axes every_axis(int ndim) noexcept:
    return ~(<Axes>0) >> (MAX_DIMS - ndim) if ndim else 0


cdef bint find_axes(axis, int ndim, Axes *summed) except -1:
    """Which axes are meant; False where the general way must say."""
    if axis is None:
        summed[0] = every_axis(ndim)
        return True
    summed[0] = 0
    for one in axis if type(axis) is tuple else (axis,):
        if type(one) is not int or not -ndim <= one < ndim:
            return False
        bit = (<Axes>1) << (<int>one if one >= 0 else <int>one + ndim)
        if summed[0] & bit:
            return False
        summed[0] |= bit
    return summed[0] != 0


cdef object total_of_all(const Addends *addends, Py_ssize_t size, int number, int64_t initial):
    """A number of NumPy's; None if there is something to report. Sums of integers begin with the initial one."""
    cdef double sums[2]   # real and imaginary part
    sums[0] = sums[1] = 0
    memcpy(sums, &initial, sizeof(initial))
    if sum_all(addends, size, number, <char *>sums, NULL):
        return None
    return PyArray_Scalar(sums, cnp.PyArray_DescrFromType(number), None)


cdef object totals_along(Addends *addends, cnp.ndarray a, Axes summed, int number, bint keepdims, initial):
    """An array of sums along some axes; None if there is something to report."""
    cdef cnp.ndarray result = results_without(a, summed, keepdims, number)
    if cnp.PyArray_SIZE(result) == 0:   # its strides are 0, as if all axes were summed
        return result
    if initial is not None:
        result.fill(initial)
    cdef int k, at = 0
    for k in range(cnp.PyArray_NDIM(a)):
        if not summed >> k & 1:
            addends.result[k] = cnp.PyArray_STRIDE(result, k if keepdims else at)
            at += 1
    cdef void *room = PyMem_RawMalloc(ROOM_BYTES + 64)
    if room == NULL:
        raise MemoryError(f"psum: {ROOM_BYTES} bytes to sum in are not available")
    cdef int flags = sum_all(addends, cnp.PyArray_SIZE(a), number, cnp.PyArray_BYTES(result),
                             <void *>((<size_t>room + 63) & ~<size_t>63))
    PyMem_RawFree(room)
    return None if flags else result


cdef bint is_reported(int flags, bint reports) except -1:
    """Whether these conditions are reported here, and not by the general way."""
    if reports:
        report(flags)
    return reports


cdef object total_by_threads(cnp.ndarray a, int number, bint keepdims, initial, int threads, bint reports):
    """The same of all elements."""
    cdef cnp.npy_intp shape[MAX_DIMS]
    cdef int k, flags, ndim = cnp.PyArray_NDIM(a) if keepdims else 0
    for k in range(ndim):
        shape[k] = 1
    cdef cnp.ndarray result = cnp.PyArray_SimpleNew(ndim, shape, number)
    flags = sum_of_all(a, threads, result)
    if flags and not is_reported(flags, reports):
        return None
    if initial is not None:
        np.add(result, initial, result)
    return result if keepdims else cnp.PyArray_ToScalar(cnp.PyArray_DATA(result), result)


cdef object totals_by_threads(cnp.ndarray a, Axes summed, int number, bint keepdims, initial, int threads,
                              bint reports):
    """The sums over some axes."""
    cdef cnp.ndarray moved = kept_first(a, summed)
    cdef int flags, kept = cnp.PyArray_NDIM(a)
    for k in range(cnp.PyArray_NDIM(a)):
        kept -= summed >> k & 1
    cdef cnp.ndarray sums = results_without(a, summed, keepdims, number)
    cdef cnp.ndarray result = sums.reshape((<object>moved).shape[:kept])
    start = None if initial is None or cnp.PyArray_ISINTEGER(result) else as_part(initial, number)
    if cnp.PyArray_ISINTEGER(result):
        result[...] = sum_states(moved, kept, threads)[..., 0]
        if initial is not None:
            np.add(result, initial, result)
        flags = 0
    elif cnp.PyArray_ISCOMPLEX(result):
        flags = write_sums(real_view(moved, kept), kept + 1, threads, real_view(result, kept), None, False, start, True)
    else:
        flags = write_sums(moved, kept, threads, result, None, False, start)
    if flags and not is_reported(flags, reports):
        return None
    return sums[()]


cdef cnp.ndarray kept_first(cnp.ndarray a, Axes summed):
    """With the axes behind the others that are summed over."""
    cdef int k, ndim = cnp.PyArray_NDIM(a)
    if summed == every_axis(ndim):
        return a
    return a.transpose([k for k in range(ndim) if not summed >> k & 1] + [k for k in range(ndim) if summed >> k & 1])


cdef double as_part(initial, int number) except? -1:
    """A real number as one of the dtype with this number, or as the real part of one."""
    cdef double value = initial
    cdef int part = part_of(number)
    if part == F64 or (part == F32 and <float>value == value):
        return value + 0.0   # since no sum is -0.0
    return np.asarray(initial).astype(cnp.PyArray_DescrFromType(number)).real + 0.0   # which warns of an overflow


cdef bint parts_are_innermost(cnp.ndarray a) noexcept:
    """Whether real and imaginary parts, as one more axis, have the smallest stride."""
    cdef int k
    for k in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_DIM(a, k) != 1 and abs(cnp.PyArray_STRIDE(a, k)) < cnp.PyArray_ITEMSIZE(a):
            return False
    return True


cdef int number_of_sum(int number) noexcept:
    """The dtype in which NumPy adds one with this number."""
    cdef int dtype = dtype_of_number(number)
    if dtype >= F16:
        return number
    return cnp.NPY_ULONG if dtype in (U8, U16, U32, U64) else cnp.NPY_LONG


cdef cnp.ndarray results_without(cnp.ndarray a, Axes summed, bint keepdims, int number):
    """In the shape of `a` without some axes, or with length 1 there; in the order of its axes, as in NumPy.

    Zeros, where nothing may be written, and for integers, which are added to them.
    """
    cdef cnp.npy_intp shape[MAX_DIMS]
    cdef int k, ndim = 0
    for k in range(cnp.PyArray_NDIM(a)):
        if summed >> k & 1 and not keepdims:
            continue
        shape[ndim] = 1 if summed >> k & 1 else cnp.PyArray_DIM(a, k)
        ndim += 1
    if dtype_of_number(number) >= F16 and cnp.PyArray_SIZE(a):
        return cnp.PyArray_EMPTY(ndim, shape, number, cnp.PyArray_ISFORTRAN(a))
    return cnp.PyArray_ZEROS(ndim, shape, number, cnp.PyArray_ISFORTRAN(a))


cdef int part_of(int number) noexcept:
    """The dtype of real and imaginary parts, or of a real number itself."""
    cdef int dtype = dtype_of_number(number)
    return F32 if dtype == C64 else F64 if dtype == C128 else dtype


cdef int sum_all(const Addends *a, Py_ssize_t size, int number, char *sums, void *room) noexcept:
    """Sums of integers are states of one integer each."""
    cdef int dtype = STATES if a.loop == U64 else part_of(number), flags
    if size < LET_OTHERS_RUN:
        return kernels.sum(a, dtype, sums, room)
    with nogil:
        flags = kernels.sum(a, dtype, sums, room)
    return flags


cdef bint takes_sums(out, int number, cnp.ndarray a, Axes summed, bint keepdims) except -1:
    """Whether these sums can be written into it as they are."""
    if type(out) is not cnp.ndarray:
        return False
    cdef cnp.ndarray target = out
    if not cnp.PyArray_ISBEHAVED(target) or not cnp.PyArray_IS_C_CONTIGUOUS(target):
        return False
    if cnp.PyArray_TYPE(target) != number:
        return False
    cdef int k, at = 0
    for k in range(cnp.PyArray_NDIM(a)):
        if summed >> k & 1 and not keepdims:
            continue
        if at == cnp.PyArray_NDIM(target):
            return False
        if cnp.PyArray_DIM(target, at) != (1 if summed >> k & 1 else cnp.PyArray_DIM(a, k)):
            return False
        at += 1
    return at == cnp.PyArray_NDIM(target)


cdef object as_it_is_added(cnp.ndarray a, dtype, where, bint casts, int *number):
    """`a` cast to other floats, and with zeros where it is masked; None where the general way must be taken.

    `number` becomes that of the dtype of the sum. `casts`: whether integers are cast as they are added.
    """
    cdef int given = dtype_of_number(cnp.PyArray_TYPE(a)), wanted
    cdef cnp.dtype addend = a.descr
    if dtype is not None:
        number[0] = number_named(dtype)
        wanted = dtype_of_number(number[0])
        if is_cast_first(wanted, given):
            if casts and given < F16 and where is True:
                return a
            addend = cnp.PyArray_DescrFromType(number[0])
        elif not (given < F16 and wanted in (I64, U64)) and not is_as_wide(wanted, given):
            return None   # other casts change more than the last bits
    if where is True and addend is a.descr:
        return a
    if cnp.PyArray_SIZE(a) > MOST_COPIED:
        return None
    if where is not True:
        if type(where) is not cnp.ndarray or where.dtype.num != cnp.NPY_BOOL or where.shape != (<object>a).shape:
            return None
    if addend is not a.descr:
        with ieee754():
            a = a.astype(addend)
    return a if where is True else masked(a, where)


cdef bint add_up_as_integers(cnp.ndarray a, dtype) except -1:
    """Whether the sum of these integers, cast to this dtype, is that of integers that are all cast to it."""
    cdef int given = dtype_of_number(cnp.PyArray_TYPE(a)), wanted = dtype_of_number(number_named(dtype))
    if given >= F16 or wanted not in (F32, F64) or cnp.PyArray_SIZE(a) > MOST_WITHIN_64_BITS:
        return False
    return given <= (U32 if wanted == F64 else U16)


cdef bint is_cast_first(int wanted, int given) noexcept:
    """Whether elements are cast to these floats here, although these cannot hold all of them."""
    if given < F16:
        return wanted in (F32, F64)
    return (given == F64 and wanted == F32) or (given == C128 and wanted == C64)


cdef bint is_as_wide(int wanted, int given) noexcept:
    """Whether this dtype holds all floats, or all complex numbers, of the other."""
    return F16 <= given <= wanted <= F64 or C64 <= given <= wanted <= C128


cdef bint can_begin(initial, int number) except -1:
    """Whether a sum of the dtype with this number can begin so, here."""
    if type(initial) is int:
        return (0 if number == cnp.NPY_ULONG else -MOST_INITIAL) <= initial <= MOST_INITIAL
    return type(initial) is float and (initial == 0 or dtype_of_number(number) >= F16)


cdef object plain_sum(cnp.ndarray a, axis, dtype, out, bint keepdims, initial, where, backend, workers):
    """The sum of an array, or None where the general way must be taken."""
    cdef int number = cnp.PyArray_TYPE(a)
    cdef Axes summed
    if dtype_of_number(number) in (DTYPES, LONGDOUBLE, CLONGDOUBLE):
        return None
    if not find_axes(axis, cnp.PyArray_NDIM(a), &summed):
        return None
    cdef bint is_cast = dtype is not None and initial is zero, is_all = summed == every_axis(cnp.PyArray_NDIM(a))
    if is_cast and out is None and add_up_as_integers(a, dtype):
        s = plain_sum(a, axis, None, None, keepdims, initial, where, backend, workers)
        return None if s is None else s.astype(cnp.PyArray_DescrFromType(number_named(dtype)))
    number = number_of_sum(number)
    if dtype is None and type(out) is cnp.ndarray:
        if is_as_wide(dtype_of_number(cnp.PyArray_TYPE(out)), dtype_of_number(number)):
            number = cnp.PyArray_TYPE(out)   # it is rounded once, to that
    if dtype is not None or where is not True:
        a = as_it_is_added(a, dtype, where, is_cast and (is_all or cnp.PyArray_SIZE(a) > MOST_COPIED), &number)
        if a is None:
            return None
    if initial is not zero and not can_begin(initial, number):
        return None
    if out is not None and not takes_sums(out, number, a, summed, keepdims):
        return None
    # An error that is raised here would leave `out` as it was.
    s = total(a, summed, number, keepdims, initial if initial else None, backend, workers, out is None)
    if s is None or out is None:
        return s
    cnp.PyArray_CopyAnyInto(out, cnp.PyArray_FROM_O(s))   # of the same size
    return out


def short_cut_of_sums(general):
    """`general`, a function with the signature of ``psum``, with the short cut before it."""

    def psum(a, axis=None, dtype=None, out=None, keepdims=False, initial=0, where=True, *, backend=None, workers=None):
        a = plain(a)
        if type(a) is cnp.ndarray:
            s = plain_sum(a, axis, dtype, out, keepdims, initial, where, backend, workers)
            if s is not None:
                return s
        return general(a, axis, dtype, out, keepdims, initial, where, backend=backend, workers=workers)

    return functools.update_wrapper(psum, general)

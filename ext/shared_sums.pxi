# Sums on threads; part of _kernels.pyx.

cdef class Sum:
    """Sums over all but the first `kept` axes of `a`, each element times its weight if there are weights."""

    cdef Addends addends
    cdef cnp.ndarray a, weights
    cdef int kept, workers, axis
    cdef Py_ssize_t parts
    cdef int digits

    def __init__(self, cnp.ndarray a not None, int kept, int workers, cnp.ndarray weights=None, bint single=False,
                 int result=U64):
        self.a, self.kept, self.workers = a, kept, min(workers, MOST_THREADS)
        describe(&self.addends, a, loop_of(dtype_of_number(cnp.PyArray_TYPE(a)), result))
        self.digits = 1 if self.addends.loop == U64 else SUM_STATE
        cdef int axis, missing
        if weights is not None:
            self.weights, self.digits = weights, PRODUCT_STATE
            missing = self.addends.ndim - cnp.PyArray_NDIM(weights)
            self.addends.loop = F32 if single else F64
            self.addends.weights = cnp.PyArray_BYTES(weights)
            for axis in range(cnp.PyArray_NDIM(weights)):   # the last ones; of the others its strides are 0
                if cnp.PyArray_DIM(weights, axis) > 1:
                    self.addends.weight[axis + missing] = cnp.PyArray_STRIDE(weights, axis)
        self._split()

    cdef _split(self):
        cdef Py_ssize_t least = 1, nbytes = 8 * cnp.PyArray_SIZE(self.a)
        cdef bint in_parts = self.workers > 1 or nbytes > LARGE_SUM
        self.axis = 0
        if in_parts and self.addends.ndim:
            shape, strides = np.shape(self.a), (<object>self.a).strides
            self.axis = split_axis(shape, self.workers if self.workers > 1 else WAYS, strides, self.kept)
            if self.axis < self.kept:
                inside = self._elements_inside(self.axis)
                least = max(1, LEAST_COLUMNS // inside)
                if inside < LEAST_COLUMNS and self._is_summed_by_parts(shape[self.axis] * inside, shape[self.kept:]):
                    self.axis = self.kept + split_axis(shape[self.kept:], self.workers, strides[self.kept:])
                    least = 1
        length = self.addends.shape[self.axis]
        self.parts = number_of_parts(nbytes, length, least, self.workers) if in_parts else 1

    cdef Py_ssize_t _elements_inside(self, int axis):
        """How many elements lie together where one is taken along this axis."""
        cdef int k
        cdef Py_ssize_t count = 1
        for k in range(self.addends.ndim):
            if k != axis and self.addends.shape[k] > 1 and abs(self.addends.stride[k]) < abs(self.addends.stride[axis]):
                count *= self.addends.shape[k]
        return count

    cdef bint _is_summed_by_parts(self, Py_ssize_t columns, summed):
        """Whether sums of columns are better made of parts, by states, than the columns are shared out."""
        longest = max(summed, default=0)
        fewest = FEWEST_COLUMNS if longest < LONG_COLUMN else FEWEST_LONG_COLUMNS
        return longest >= 8 * self.workers and columns < fewest * self.workers

    cdef cnp.ndarray states(self):
        """The sums as exact states, normalised."""
        cdef bint own = self.axis < self.kept   # each part has states of its own; otherwise each thread has a set
        cdef int sets = 1 if own or cnp.PyArray_SIZE(self.a) == 0 else min(self.workers, self.parts), i
        shape = np.shape(self.a)[:self.kept]
        cdef cnp.ndarray states = np.zeros((sets, *shape, self.digits), np.int64)
        cdef Py_ssize_t length = cnp.PyArray_SIZE(states) // sets
        cdef int64_t *first = <int64_t *>cnp.PyArray_BYTES(states)
        for i in range(self.kept):
            self.addends.result[i] = cnp.PyArray_STRIDE(states, i + 1)
        self._compute(STATES, <char *>first, 0 if own else 8 * length)
        if sets == 1:
            normalise_states(length // self.digits, self.digits, first)
        for i in range(1, sets):
            merge_states(length // self.digits, self.digits, first + i * length, first)
        return states[0]

    cdef int write(self, cnp.ndarray out, initial=None, bint has_parts=False) except -1:
        """Write the sums, rounded once, into `out`; return what `round_states` does."""
        cdef int flags, i
        if self.digits == 1:
            raise TypeError("sums of integers can be written as float32 or float64")
        # A thread that has one part alone would not know which number that begins with.
        if self.parts > 1 and (self.axis >= self.kept or (has_parts and self.axis == self.kept - 1)):
            states, rounded = self.states(), np.empty(np.shape(out), out.dtype)
            if initial is not None:
                which = states[..., 0, :] if has_parts else states
                which += sum_states(np.array(initial, float), 0, 1)
            flags = round_states(states, rounded)
            out[...] = rounded
            return flags
        for i in range(self.kept):
            self.addends.result[i] = cnp.PyArray_STRIDE(out, i)
        if initial is not None:
            begin_with(&self.addends, initial, 0 if has_parts else initial)
        return self._compute(dtype_of_number(cnp.PyArray_TYPE(out)), cnp.PyArray_BYTES(out), 0)

    cdef int _compute(self, int dtype, char *results, Py_ssize_t set_bytes) except -1:
        cdef int kept
        for kept in range(self.kept):
            if self.addends.shape[kept] == 0:   # NumPy gives arrays without elements strides of 0, as of summed axes
                return 0
        cdef cnp.ndarray edges = ends(self.addends.shape[self.axis], self.parts)
        cdef cnp.ndarray room = np.empty((self.workers + 1) * sizeof(Share), np.uint8)
        # Only strips need room, and those there are not without axes that are kept.
        cdef Py_ssize_t strip_bytes = ROOM_BYTES if self.kept and self.addends.loop != U64 else 0
        cdef cnp.ndarray strip_room = np.empty(self.workers * strip_bytes + 64, np.uint8)
        cdef char *strips = <char *>((<size_t>cnp.PyArray_BYTES(strip_room) + 63) & ~<size_t>63)
        return sum_parts(&self.addends, self.axis, <const int64_t *>cnp.PyArray_DATA(edges), self.parts, self.workers,
                         shares_in(cnp.PyArray_BYTES(room)), dtype, results, set_bytes, strips, strip_bytes)


cdef int sum_parts(const Addends *addends, int axis, const int64_t *edges, Py_ssize_t parts, int workers, Share *shares,
                   int dtype, char *results, Py_ssize_t set_bytes, char *strips, Py_ssize_t strip_bytes) except -1:
    """On threads, each of which has results, and room for strips, so many bytes after those of the one before."""
    cdef const Kernels *k = chosen
    cdef Work work
    cdef Py_ssize_t first = 0, count = FIRST_PARTS * workers, size = 1
    cdef Team *team
    cdef int thread, threads, flags = 0
    cdef double start = seconds_now(), began = start
    while first < parts:
        count = min(count, parts - first)
        threads = threads_allowed(min(workers, count))
        team = keep_threads_off()
        work = work_of(edges, first, count, threads, shares)
        with nogil:
            if threads == 1:
                flags = flags | sum_work(k, addends, axis, &work, 0, dtype, results, strips)
            else:
                for thread in prange(threads, num_threads=threads, schedule="static", chunksize=1):
                    join_team(team, thread)
                    flags |= sum_work(k, addends, axis, &work, thread, dtype, results + thread * set_bytes,
                                      strips + thread * strip_bytes)
        PyErr_CheckSignals()
        first += count
        count = next_count(count, workers, &began)
    if workers > 1:
        for axis in range(addends.ndim):
            size *= addends.shape[axis]
        note_call(seconds_now() - start, size)
    return flags


def sum_of_all(cnp.ndarray a not None, int workers, cnp.ndarray out not None):
    """Write the sum of all elements of `a`, which is dense, into `out`; return what `round_states` does.

    It does without what sums along axes need, which takes as long as to add up some 50,000 elements.
    """
    cdef Py_ssize_t size = cnp.PyArray_SIZE(a), parts
    cdef int given = dtype_of_number(cnp.PyArray_TYPE(a)), dtype = dtype_of_number(cnp.PyArray_TYPE(out))
    cdef int sums = 2 if dtype >= C64 else 1, i, flags = 0
    workers = min(workers, MOST_THREADS)
    cdef Addends addends
    describe_segment(&addends, a, loop_of(given, dtype))
    cdef int digits = 1 if addends.loop == U64 else SUM_STATE
    cdef Py_ssize_t length = sums * digits
    if sums == 2:
        add_parts(&addends, given, 8 * digits)
        dtype = F32 if dtype == C64 else F64
    parts = number_of_parts(8 * sums * size, size, 1, workers)
    cdef cnp.ndarray edges = ends(size, parts), room = np.empty((workers + 1) * sizeof(Share), np.uint8)
    cdef cnp.ndarray sets = np.zeros(workers * length, np.int64)
    cdef int64_t *states = <int64_t *>cnp.PyArray_DATA(sets)
    sum_parts(&addends, 0, <const int64_t *>cnp.PyArray_DATA(edges), parts, workers, shares_in(cnp.PyArray_BYTES(room)),
              STATES, <char *>states, 8 * length, NULL, 0)
    for i in range(1, workers):
        merge_states(sums, digits, states + i * length, states)
    normalise_states(sums, digits, states)
    if digits == 1:
        (<int64_t *>cnp.PyArray_DATA(out))[0] = states[0]
        return 0
    for i in range(sums):
        flags |= round_state(states + i * digits, digits, dtype,
                             cnp.PyArray_BYTES(out) + i * <Py_ssize_t>size_of(dtype))
    return flags


def sum_states(cnp.ndarray a not None, int kept, int workers, cnp.ndarray weights=None, bint single=False):
    """Exact sums over all but the first `kept` axes of `a`, on `workers` threads, as normalised states.

    Each element is multiplied by its weight, a native float64; `single`: one that is a float32, as the element is.
    """
    cdef Sum total = Sum(a, kept, workers, weights, single)
    return total.states()


def write_sums(cnp.ndarray a not None, int kept, int workers, cnp.ndarray out not None, cnp.ndarray weights=None,
               bint single=False, initial=None, bint has_parts=False):
    """Write the sums of `sum_states`, each rounded once, into `out`, of floats; return what `round_states` does.

    Integers are cast to the dtype of `out` first, which is float32 or float64 then. Each sum begins with the real
    number `initial`, if that is given; `has_parts`: the last axis that is kept is that of real and imaginary parts, of
    which only the former do.
    """
    cdef Sum total = Sum(a, kept, workers, weights, single, dtype_of_number(cnp.PyArray_TYPE(out)))
    return total.write(out, initial, has_parts)


def round_states(cnp.ndarray states not None, cnp.ndarray out not None):
    """Write the value of each float state into the contiguous array `out`.

    Returns OVERFLOW if finite addends did, or INVALID if infinities of both signs met, or both, or 0.
    """
    states = np.ascontiguousarray(states)
    cdef Py_ssize_t i, n = out.size
    cdef int64_t *state = <int64_t *>cnp.PyArray_BYTES(states)
    cdef char *rounded = cnp.PyArray_BYTES(out)
    cdef int length = cnp.PyArray_DIM(states, cnp.PyArray_NDIM(states) - 1), flags = 0
    cdef int dtype = dtype_of_number(cnp.PyArray_TYPE(out))
    cdef size_t size = size_of(dtype)
    with nogil:
        for i in range(n):
            flags = flags | round_state(state + i * length, length, dtype, rounded + i * size)
    return flags

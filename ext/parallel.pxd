# The only file that names what parallel regions need besides Cython's own prange.
cimport numpy as cnp
from libc.stdint cimport int64_t, uint64_t


cdef extern from "kernels.h" nogil:
    enum:
        DTYPES, MAX_DIMS, SUM_STATE, PRODUCT_STATE, STATES, ROOM_BYTES, ROUND_OVERFLOW, ROUND_INVALID
        BOOL, I8, U8, I16, U16, I32, U32, I64, U64, F16, F32, F64, LONGDOUBLE, C64, C128, CLONGDOUBLE

    ctypedef struct Matrix:
        const char *data
        Py_ssize_t m, n, rs, cs
        int dtype, swapped, conjugated

    ctypedef struct Addends:
        const char *data
        const char *weights
        int ndim
        Py_ssize_t shape[64]
        Py_ssize_t stride[64]
        Py_ssize_t weight[64]
        Py_ssize_t result[64]
        int dtype, swapped, loop, begins
        double initial[2]

    ctypedef struct Kernels:
        const char *name
        void (*matvec)(const Matrix *A, const Matrix *x, const Matrix *y) noexcept nogil
        void (*accumulate)(const Matrix *A, const Matrix *x, int loop, void *sums) noexcept nogil
        void (*store)(const void *sums, const Matrix *y) noexcept nogil
        void (*dots)(const Matrix *A, const Matrix *x, const Matrix *y) noexcept nogil
        int (*sum)(const Addends *a, int dtype, char *results, void *room) noexcept nogil
        int (*check)() noexcept nogil
        uint64_t (*read)(Py_ssize_t n, const uint64_t *words) noexcept nogil

    int accumulator(int loop)
    size_t size_of(int dtype)
    const Kernels *kernels_named(const char *name)
    const Kernels *kernels_best()
    int round_state(const int64_t *state, int length, int dtype, void *out)


cdef extern from "parallel.h" nogil:
    enum:
        SPLIT_BATCH, SPLIT_ROWS, SPLIT_COLUMNS, MOST_THREADS

    ctypedef struct Product:
        Matrix A, x, y
        int ndim
        Py_ssize_t shape[64]
        Py_ssize_t A_stride[64]
        Py_ssize_t x_stride[64]
        Py_ssize_t y_stride[64]
        Py_ssize_t batch

    ctypedef struct Share:
        Py_ssize_t next

    ctypedef struct Work:
        pass

    void product_simplify(Product *p)
    Work work_of(const int64_t *edges, Py_ssize_t first, Py_ssize_t parts, int threads, Share *shares)
    void product_work(const Kernels *k, const Product *p, int split, Work *work, int thread, char *sums,
                      Py_ssize_t bytes)
    bint product_suits_panels(const Kernels *k, const Product *p)
    void product_at_once(const Kernels *k, const Product *p)
    int sum_work(const Kernels *k, const Addends *a, int axis, Work *work, int thread, int dtype, char *results,
                 void *room)
    void product_combine(const Kernels *k, const Product *p, Py_ssize_t parts, void *sums)
    void normalise_states(Py_ssize_t n, int length, int64_t *states)
    void merge_states(Py_ssize_t n, int length, const int64_t *part, int64_t *states)
    const char *openmp_version_ "openmp_version"()
    void install_fork_guard()
    void before_fork()
    void after_fork_in_parent()
    int threads_allowed(int wanted)
    void note_call(double seconds, Py_ssize_t elements)
    int threads_are_late_ "threads_are_late"()


cdef extern from "placement.h" nogil:
    ctypedef struct Team:
        pass

    Team *keep_threads_off()
    void join_team(Team *team, int thread)


cdef extern from "environment.h" nogil:
    ctypedef unsigned long long Environment

    Environment enter_exactness()
    void leave_exactness(Environment saved)


cdef extern from "arrays.h" nogil:
    int dtype_of_number(int number)


cdef extern from "threads.h" nogil:
    int threads_now(int sharers, int most)
    int threads_told "threads_told"()
    double seconds_now()


cdef inline void describe(Addends *addends, cnp.ndarray a, int loop) noexcept:
    """An array, of which nothing is kept; in place, since the whole struct takes as long to copy as some sums."""
    cdef int axis
    addends.data = cnp.PyArray_BYTES(a)
    addends.weights = NULL
    addends.dtype = dtype_of_number(cnp.PyArray_TYPE(a))
    addends.swapped = cnp.PyArray_ISBYTESWAPPED(a)
    addends.loop = loop
    addends.begins = False
    addends.ndim = cnp.PyArray_NDIM(a)
    addends.shape[0] = 1   # of a scalar, which has no axes
    addends.result[0] = 0
    for axis in range(addends.ndim):
        addends.shape[axis] = cnp.PyArray_DIM(a, axis)
        addends.stride[axis] = cnp.PyArray_STRIDE(a, axis)
        addends.weight[axis] = addends.result[axis] = 0


cdef inline int loop_of(int dtype, int result=U64) noexcept:
    """What elements of a sum are cast to before they are added: integers to these floats, if the result is one."""
    if dtype < F16:
        return result if result in (F32, F64) else U64
    return F64 if dtype in (F64, C128) else F32


cdef inline bint is_dense(cnp.ndarray a) noexcept:
    """Whether the elements lie one after the other, each once, in whatever order of axes and in either direction."""
    cdef int axis, found, ndim = cnp.PyArray_NDIM(a)
    cdef Py_ssize_t apart = cnp.PyArray_ITEMSIZE(a), size = 1, stride
    if cnp.PyArray_ISONESEGMENT(a):
        return True
    while size < cnp.PyArray_SIZE(a):
        found = -1
        for axis in range(ndim):
            stride = cnp.PyArray_STRIDE(a, axis)
            if cnp.PyArray_DIM(a, axis) > 1 and (stride == apart or stride == -apart):
                found = axis
        if found < 0:
            return False
        size *= cnp.PyArray_DIM(a, found)
        apart *= cnp.PyArray_DIM(a, found)
    return True


cdef inline void describe_segment(Addends *addends, cnp.ndarray a, int loop) noexcept:
    """A dense array as one axis."""
    cdef int axis
    describe(addends, a, loop)
    for axis in range(addends.ndim):
        if addends.stride[axis] < 0:
            addends.data += (addends.shape[axis] - 1) * addends.stride[axis]
    addends.ndim = 1
    addends.shape[0], addends.stride[0] = cnp.PyArray_SIZE(a), cnp.PyArray_ITEMSIZE(a)
    addends.weight[0] = addends.result[0] = 0


cdef inline void add_parts(Addends *addends, int dtype, Py_ssize_t apart) noexcept:
    """Real and imaginary parts as one more axis, whose sums lie so many bytes apart."""
    cdef int axis = addends.ndim
    addends.dtype = F32 if dtype == C64 else F64
    addends.shape[axis] = 2
    addends.stride[axis] = 4 if dtype == C64 else 8
    addends.weight[axis], addends.result[axis] = 0, apart
    addends.ndim += 1


cdef inline void begin_with(Addends *addends, double real, double imaginary) noexcept:
    """Each sum begins with a number; a real one is given twice."""
    addends.begins = True
    addends.initial[0], addends.initial[1] = real, imaginary


cdef inline void describe_matrix(Matrix *matrix, cnp.ndarray a, bint vector) noexcept:
    """The last two axes of an array, or its last one as a column; in place, as above."""
    cdef int last = cnp.PyArray_NDIM(a) - 1
    matrix.data = cnp.PyArray_BYTES(a)
    matrix.dtype = dtype_of_number(cnp.PyArray_TYPE(a))
    matrix.swapped, matrix.conjugated = cnp.PyArray_ISBYTESWAPPED(a), False
    if vector:
        matrix.m, matrix.rs = cnp.PyArray_DIM(a, last), cnp.PyArray_STRIDE(a, last)
        matrix.n, matrix.cs = 1, 0
    else:
        matrix.m, matrix.rs = cnp.PyArray_DIM(a, last - 1), cnp.PyArray_STRIDE(a, last - 1)
        matrix.n, matrix.cs = cnp.PyArray_DIM(a, last), cnp.PyArray_STRIDE(a, last)

// Exact sums at the speed of additions of float64, for devices that have shown that they round as IEEE 754 says.
// Blocks of elements, or of products with weights, are split at fixed powers of two, and the parts, which are integers,
// are added up. The host defines SIDE_BY_SIDE where neighbouring work items take neighbouring elements; otherwise one
// work item takes them all, in vectors of 4.

#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#pragma OPENCL FP_CONTRACT OFF

#ifdef SIDE_BY_SIDE
#define LANES 1
typedef double REALS;
typedef ulong BITS;
typedef long COUNTS;
#define AS_BITS(v) as_ulong(v)
#define AS_COUNTS(v) as_long(v)
#define LOAD_WEIGHTS(p) as_double(*(p))
#if MANTISSA == 52
#define LOAD_REALS(p) as_double(*(p))
#elif MANTISSA == 23
#define LOAD_REALS(p) convert_double(as_float(*(p)))
#else
#define LOAD_REALS(p) convert_double(vload_half(0, (__global const half *)(p)))
#endif
#else
#define LANES 4
typedef double4 REALS;
typedef ulong4 BITS;
typedef long4 COUNTS;
#define AS_BITS(v) as_ulong4(v)
#define AS_COUNTS(v) as_long4(v)
#ifdef __clang__
typedef ulong WEIGHTS __attribute__((ext_vector_type(4), aligned(sizeof(ulong))));
typedef WORD WORDS __attribute__((ext_vector_type(4), aligned(sizeof(WORD))));
#define LOAD_WEIGHTS(p) as_double4(*(__global const WEIGHTS *)(p))
#define LOAD_WORDS(p) (*(__global const WORDS *)(p))
#else
#define LOAD_WEIGHTS(p) as_double4(vload4(0, p))
#define LOAD_WORDS(p) vload4(0, p)
#endif
#if MANTISSA == 52
#define LOAD_REALS(p) as_double4(LOAD_WORDS(p))
#elif MANTISSA == 23 && defined(__clang__)
#define LOAD_REALS(p) __builtin_convertvector(as_float4(LOAD_WORDS(p)), double4)
#elif MANTISSA == 23
#define LOAD_REALS(p) convert_double4(as_float4(LOAD_WORDS(p)))
#else
#define LOAD_REALS(p) convert_double4(vload_half4(0, (__global const half *)(p)))
#endif
#endif

#define SPACING 47      // binades from one fold to the next
#define CHAIN 16        // rows that are added to M, which has room for 16 numbers below 2**(E + 1)
#define ROWS (LANES == 1 ? 128 : 512) // of LANES elements, of a block
#define FEW_ROWS 32
#define NO_WINDOW (-10000)

// Windows that folds are exact with: nothing is lost above 2**-1074, nor of the error of a product above 2**-969; and
// neither M nor what it is added to may overflow.
#if WEIGHTED && MANTISSA == 52
#define LOWEST (-969 + 46 + SPACING * (FOLDS - 1))
#define HIGHEST 1000
#else
#define LOWEST (-1074 + 46 + SPACING * (FOLDS - 1))
#define HIGHEST 1016
#endif

// Whether subnormal numbers count, and results are rounded to nearest, in this very thread. The host passes the
// numbers as words, so that no compiler knows them.
int arithmetic_is_sound(const ulong tiny, const uint small, const ulong half_unit)
{
    const double half_ = as_double(half_unit);
    return as_double(tiny) * 0x1p600 != 0.0 && convert_double(as_float(small)) != 0.0 && 1.0 + half_ == 1.0 &&
           -1.0 - half_ == -1.0 && 1.0 + 1.5 * half_ != 1.0;
}

// M of fold k: the last bit of a number near it weighs 2**(E - 46 - SPACING * k).
double magic(const int E, const int k)
{
    return 1.5 * as_double((ulong)(E - 46 - SPACING * k + 52 + 1023) << 52);
}

long total_of_lanes(const COUNTS v)
{
#if LANES == 1
    return v;
#else
    return (v.x + v.y) + (v.z + v.w);
#endif
}

int any_bit(const BITS v)
{
#if LANES == 1
    return v != 0;
#else
    return (v.x | v.y | v.z | v.w) != 0;
#endif
}

// Products that are zero although neither factor is.
#if LANES == 1
#define UNDERFLOWS(p, v, w) ((ulong)((p) == 0.0 && (v) != 0.0 && (w) != 0.0))
#else
#define UNDERFLOWS(p, v, w) as_ulong4(((p) == 0.0) & ((v) != 0.0) & ((w) != 0.0))
#endif

// PoCL calls a function for fma, once a vector, and for min, fmax or convert_*, which these kernels keep out of loops.
#if LANES == 4 && defined(__clang__) && defined(__FMA__)
#define FMA(v, w, r)                                                                \
    (REALS)(__builtin_fma((v).x, (w).x, (r).x), __builtin_fma((v).y, (w).y, (r).y), \
            __builtin_fma((v).z, (w).z, (r).z), __builtin_fma((v).w, (w).w, (r).w))
#else
#define FMA(v, w, r) fma(v, w, r)
#endif

// Of each fold, from the first one on; arrays would lie in memory.
#if FOLDS == 2
#define EACH_FOLD(DO) DO(0) DO(1)
#elif FOLDS == 3
#define EACH_FOLD(DO) DO(0) DO(1) DO(2)
#else
#define EACH_FOLD(DO) DO(0) DO(1) DO(2) DO(3)
#endif
#define DECLARE(k)                         \
    const REALS M##k = (REALS)(magic(E, k)); \
    COUNTS sum##k = (COUNTS)(0);
#define BEGIN(k) REALS S##k = M##k;
#define END(k) sum##k += AS_COUNTS(AS_BITS(S##k) - AS_BITS(M##k));
#define DEPOSIT(k) \
    if (k < folds) \
        deposit(digits, total_of_lanes(sum##k), E - 46 - SPACING * k + BIAS);

// What fold k takes of r goes to its S, and what is left stays in r.
#define FOLD(k)                               \
    if (k < folds) {                          \
        const REALS t = r + S##k, u = t - S##k; \
        S##k = t;                             \
        if (k == 0)                           \
            over |= AS_BITS(t) ^ AS_BITS(M0); \
        r -= u;                               \
    }
// Of the error of a product, which is below the first fold.
#define FOLD_ERROR(k)                               \
    if (k > 0 && k < folds) {                       \
        const REALS t = e + S##k, u = t - S##k;     \
        S##k = t;                                   \
        e -= u;                                     \
    }

#ifdef __clang__
#define INLINED inline __attribute__((always_inline))
#else
#define INLINED
#endif

// Add rows of LANES elements, `step` elements apart, if the first `folds` of window E take them exactly; otherwise
// return 0. The number of folds is a constant where it is called.
INLINED int fold_rows(long *digits, __global const WORD *a, __global const ulong *weights, const int rows,
                      const long step, const int E, const int folds)
{
    BITS over = (BITS)(0), zero = (BITS)(0), rest = (BITS)(0);
    EACH_FOLD(DECLARE)
    for (int first = 0; first < rows; first += CHAIN) {
        EACH_FOLD(BEGIN)
        const int end = first + CHAIN < rows ? first + CHAIN : rows;
        for (int j = first; j < end; j++) {
            REALS r = LOAD_REALS(a + j * step);
#if WEIGHTED
            const REALS v = r, w = LOAD_WEIGHTS(weights + j * step);
            r = v * w;
#if MANTISSA == 52
            REALS e = FMA(v, w, -r);
            zero |= UNDERFLOWS(r, v, w);
            EACH_FOLD(FOLD_ERROR)
            rest |= AS_BITS(e);
#endif
#endif
            EACH_FOLD(FOLD)
            rest |= AS_BITS(r);
        }
        EACH_FOLD(END)
    }
    // The sign of what is left does not count where that is zero.
    if (any_bit((over >> (BITS)(52)) | rest << (BITS)(1) | zero))
        return 0;
    EACH_FOLD(DEPOSIT)
    return 1;
}

// The exponent of the largest of them; 1024 where one is infinite or NaN.
int largest_of(__global const WORD *a, __global const ulong *weights, const int rows, const long step)
{
    COUNTS most = (COUNTS)(0);
    for (int j = 0; j < rows; j++) {
        REALS r = LOAD_REALS(a + j * step);
#if WEIGHTED
        r *= LOAD_WEIGHTS(weights + j * step);
#endif
        const COUNTS size = AS_COUNTS(AS_BITS(r) << (BITS)(1) >> (BITS)(1));
        most = size > most ? size : most;
    }
#if LANES == 4
    const long first = most.x > most.y ? most.x : most.y, second = most.z > most.w ? most.z : most.w;
    const long largest = first > second ? first : second;
#else
    const long largest = most;
#endif
    return (int)(largest >> 52) - 1023;
}

int fold(long *digits, __global const WORD *a, __global const ulong *weights, const int rows, const long step,
         const int E, const int many)
{
    return many ? fold_rows(digits, a, weights, rows, step, E, FOLDS)
                : fold_rows(digits, a, weights, rows, step, E, FOLDS - 1);
}

// What was enough for the block before is tried first: its window, and all folds or all but the last, which few need.
int fold_block(long *digits, __global const WORD *a, __global const ulong *weights, const int rows, const long step,
               int *window, int *many)
{
    const int before = *window;
    if (before != NO_WINDOW && fold(digits, a, weights, rows, step, before, *many))
        return 1;
    const int largest = largest_of(a, weights, rows, step), E = largest > LOWEST ? largest : LOWEST;
    *window = largest <= HIGHEST ? E : NO_WINDOW;
    if (*window == NO_WINDOW)
        return 0;
    if (!*many && E != before && fold(digits, a, weights, rows, step, E, 0))
        return 1;
    *many = 1;
    return fold(digits, a, weights, rows, step, E, 1);
}

// What a work item adds: elements that are `step` apart. The window is found with a few.
void add_all(long *digits, __global const WORD *a, __global const ulong *weights, const long count, const long step,
             const int sound, int *window, int *many)
{
    long i = 0;
    while (sound && i + LANES <= count) {
        const int most = *window == NO_WINDOW ? FEW_ROWS : ROWS;
        const int rows = (count - i) / LANES < most ? (int)((count - i) / LANES) : most;
        __global const WORD *block = a + i * step;
        __global const ulong *factors = weights + i * step;
        if (!fold_block(digits, block, factors, rows, LANES * step, window, many))
            add_each(digits, block, factors, (long)rows * LANES, step);
        i += (long)rows * LANES;
    }
    add_each(digits, a + i * step, weights + i * step, count - i, step);
}

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
#elif MANTISSA == 23
#define LOAD_REALS(p) convert_double4(as_float4(LOAD_WORDS(p)))
#else
#define LOAD_REALS(p) convert_double4(vload_half4(0, (__global const half *)(p)))
#endif
#endif

#define SPACING 47      // binades from one fold to the next
#define CHAIN 16        // rows that are added to M, which has room for 16 numbers below 2**(E + 1)
#define ROWS 128        // of LANES elements, of a block
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
#define DEPOSIT(k) deposit(digits, total_of_lanes(sum##k), E - 46 - SPACING * k + BIAS);

// What fold k takes of r goes to its S, and what is left stays in r.
#define FOLD(k)                               \
    {                                         \
        const REALS t = r + S##k, u = t - S##k; \
        S##k = t;                             \
        if (k == 0)                           \
            over |= AS_BITS(t) ^ AS_BITS(M0); \
        r -= u;                               \
    }
// Of the error of a product, which is below the first fold.
#define FOLD_ERROR(k)                               \
    if (k > 0) {                                    \
        const REALS t = e + S##k, u = t - S##k;     \
        S##k = t;                                   \
        e -= u;                                     \
    }

// Add rows of LANES elements, `step` elements apart, if the folds of window E take them exactly; otherwise return 0.
int fold_rows(long *digits, __global const WORD *a, __global const ulong *weights, const int rows, const long step,
              const int E)
{
    BITS over = (BITS)(0), zero = (BITS)(0), rest = (BITS)(0);
    EACH_FOLD(DECLARE)
    for (int first = 0; first < rows; first += CHAIN) {
        EACH_FOLD(BEGIN)
        const int end = min(first + CHAIN, rows);
        for (int j = first; j < end; j++) {
            REALS r = LOAD_REALS(a + j * step);
#if WEIGHTED
            const REALS v = r, w = LOAD_WEIGHTS(weights + j * step);
            r = v * w;
#if MANTISSA == 52
            REALS e = fma(v, w, -r);
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
    REALS most = (REALS)(0.0), wrong = (REALS)(0.0);
    for (int j = 0; j < rows; j++) {
        REALS r = LOAD_REALS(a + j * step);
#if WEIGHTED
        r *= LOAD_WEIGHTS(weights + j * step);
#endif
        most = fmax(most, fabs(r));
        wrong += r - r;
    }
#if LANES == 4
    const double largest = fmax(fmax(most.x, most.y), fmax(most.z, most.w));
    const double nan = wrong.x + wrong.y + wrong.z + wrong.w;
#else
    const double largest = most, nan = wrong;
#endif
    return nan == 0.0 ? (int)(as_ulong(largest) >> 52) - 1023 : 1024;
}

// The window to try for the next block; NO_WINDOW where nothing was added.
int fold_block(long *digits, __global const WORD *a, __global const ulong *weights, const int rows, const long step,
               const int window)
{
    if (window != NO_WINDOW && fold_rows(digits, a, weights, rows, step, window))
        return window;
    const int largest = largest_of(a, weights, rows, step), E = max(largest, LOWEST);
    return largest <= HIGHEST && fold_rows(digits, a, weights, rows, step, E) ? E : NO_WINDOW;
}

// What a work item adds: elements that are `step` apart.
void add_all(long *digits, __global const WORD *a, __global const ulong *weights, const long count, const long step,
             const int sound)
{
    int window = NO_WINDOW;
    long i = 0;
    while (sound && i + LANES <= count) {
        const int rows = (int)min((long)ROWS, (count - i) / LANES);
        __global const WORD *block = a + i * step;
        __global const ulong *factors = weights + i * step;
        window = fold_block(digits, block, factors, rows, LANES * step, window);
        if (window == NO_WINDOW)
            add_each(digits, block, factors, (long)rows * LANES, step);
        i += (long)rows * LANES;
    }
    add_each(digits, a + i * step, weights + i * step, count - i, step);
}

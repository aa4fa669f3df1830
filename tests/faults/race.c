/* Products and sums in one parallel region, for the thread sanitizer. It does not know gcc's OpenMP, so there is only
   one region, nothing is captured, and both ends of the region are annotated. With -DSEEDED two threads write to the
   same sums. With -DOVERFLOW one element is read beyond the end, for the address sanitizer;
   with -DUNDEFINED an integer overflows, for that of undefined behaviour. */
#include "parallel.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#else
#define __tsan_acquire(address)
#define __tsan_release(address)
#endif

enum { M = 400, N = 300, PARTS = 16, THREADS = 2, CASES = 3 };

static const Kernels *kernels;
static double *A, x[N], y[CASES][M];
#ifdef SEEDED
static double total;
#endif
static int64_t results[THREADS][SUM_STATE];
static char sums[PARTS * M * sizeof(double)] __attribute__((aligned(64)));
static char room[THREADS][ROOM_BYTES] __attribute__((aligned(64)));
static int64_t rows[PARTS + 1], columns[PARTS + 1];
static Share shares[CASES + 1][THREADS];
static Product product[CASES];
static Addends addends;
static Work work[CASES + 1];
static int begin, end;

static Matrix matrix(void *data, ptrdiff_t m, ptrdiff_t n, ptrdiff_t rs, ptrdiff_t cs) {
    return (Matrix){.data = data, .m = m, .n = n, .rs = rs, .cs = cs, .dtype = F64};
}

static void prepare(void) {
    A = malloc(M * N * sizeof *A);
    for (int i = 0; i < M * N; i++) A[i] = i % 7;
    for (int j = 0; j < N; j++) x[j] = 1;
    for (int i = 0; i <= PARTS; i++) {
        rows[i] = M * i / PARTS;
        columns[i] = N * i / PARTS;
    }
    for (int i = 0; i < CASES; i++) {
        product[i].A = matrix(A, M, N, i == 1 ? 8 : 8 * N, i == 1 ? 8 * M : 8);
        product[i].x = matrix(x, N, 1, 8, 0);
        product[i].y = matrix(y[i], M, 1, 8, 0);
        product[i].batch = 1;
        work[i] = work_of(i == 1 ? columns : rows, 0, PARTS, THREADS, shares[i]);
    }
#ifdef OVERFLOW
    product[0].A.m = M + 1;
    rows[PARTS] = M + 1;
#endif
    addends = (Addends){.data = (const char *)A, .ndim = 1, .shape = {M * N}, .stride = {8}, .dtype = F64, .loop = F64};
    kernels = kernels_best();
}

static void compute(int thread) {
    for (int i = 0; i < CASES; i++)
        product_work(kernels, &product[i], i == 1 ? SPLIT_COLUMNS : SPLIT_ROWS, &work[i], thread, sums,
                     i == 1 ? M * sizeof(double) : 0);
    Addends own = addends;
    own.shape[0] = M * N / THREADS;
    own.data += thread * own.shape[0] * 8;
    kernels->sum(&own, STATES, (char *)results[thread], room[thread]);
#ifdef SEEDED
    for (int i = 0; i < M; i++) total += y[0][i];
#endif
}

int main(void) {
    prepare();
#ifdef UNDEFINED
    for (int i = 0; i < 2; i++) begin += 2147483647;
#endif
    __tsan_release(&begin);
#pragma omp parallel num_threads(THREADS)
    {
        __tsan_acquire(&begin);
        compute(omp_get_thread_num());
        __tsan_release(&end);
    }
    __tsan_acquire(&end);
    product_combine(kernels, &product[1], PARTS, sums);
    double sum = 0;
    for (int i = 0; i < M; i++) sum += y[2][i] - y[0][i];
    puts(sum == 0 ? "ok" : "wrong");
    free(A);
    return sum != 0;
}

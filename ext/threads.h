/* How many threads a call may use now, and what time it is. */
#ifndef PARLINALG_THREADS_H
#define PARLINALG_THREADS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE   /* for sched_getaffinity */
#endif
#include <time.h>

static inline double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#ifdef _OPENMP
#include <omp.h>
#include <sched.h>

/* What OpenMP was told since it was loaded, by threadpoolctl or another user of the same runtime; 0: nothing. */
static inline int threads_told(void) {
    static int at_first;
    const int now = omp_get_max_threads();
    if (!at_first) at_first = now;
    return now == at_first ? 0 : now;
}

/* How many processors this thread may run on, as of a millisecond ago at most: to ask the system takes as long as a
   small product. */
static inline int processors_now(void) {
#ifdef __linux__
    const double FRESH = 0.001;
    static _Thread_local double asked;
    static _Thread_local int count;
    const double now = seconds_now();
    cpu_set_t allowed;
    if (count && now - asked < FRESH) return count;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        asked = now;
        return count = CPU_COUNT(&allowed);
    }
#endif
    return omp_get_num_procs();
}

/* How many threads may run in this process now, as far as the system and OpenMP say, if so many processes share its
   affinity mask, and `most` at most. */
static inline int threads_now(int sharers, int most) {
    const int told = threads_told();
    int count = processors_now();
    count = count > sharers ? count / sharers : 1;
    if (most < count) count = most;
    return told && told < count ? told : count;
}
#else
static inline int threads_told(void) { return 0; }
static inline int threads_now(int sharers, int most) { (void)sharers; (void)most; return 1; }
#endif

#endif

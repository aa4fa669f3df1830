#ifndef _GNU_SOURCE
#define _GNU_SOURCE   /* for sched_setaffinity */
#endif

#include "placement.h"

#if defined(__linux__) && defined(_OPENMP)

#include <omp.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 64 };   /* threads looked after; with more, one processor is no longer what matters */

struct Team {
    int processor;       /* of the thread that begins regions */
    pid_t thread[MOST];  /* those that have computed in one; 0: none yet */
};

static _Thread_local Team own = {.processor = -1};

static void keep_off(pid_t thread, int processor) {
    cpu_set_t others;
    if (processor < 0 || processor >= CPU_SETSIZE) return;
    if (sched_getaffinity(0, sizeof others, &others) != 0) return;   /* the caller's: what the user allows now */
    CPU_CLR(processor, &others);
    if (CPU_COUNT(&others)) sched_setaffinity(thread, sizeof others, &others);
}

static int is_ours(pid_t thread) { return syscall(SYS_tgkill, getpid(), thread, 0) == 0; }

Team *keep_threads_off(void) {
    const int processor = sched_getcpu();
    if (processor == own.processor) return &own;
    own.processor = processor;
    for (int i = 1; i < MOST && own.thread[i]; i++)
        if (is_ours(own.thread[i])) keep_off(own.thread[i], processor);   /* it may have ended, its number be another's */
    return &own;
}

void join_team(Team *team, int thread) {
    static _Thread_local pid_t self;
    if (thread == 0 || thread >= MOST || omp_get_thread_num() == 0) return;
    if (!self) self = (pid_t)syscall(SYS_gettid);
    if (team->thread[thread] == self) return;
    team->thread[thread] = self;
    keep_off(self, team->processor);
}

void forget_threads(void) { own = (Team){.processor = -1}; }

#else

Team *keep_threads_off(void) { return (Team *)0; }
void join_team(Team *team, int thread) { (void)team; (void)thread; }
void forget_threads(void) {}

#endif

/* Which processors the threads of a region run on.

   Linux likes to wake a thread where its waker runs. The waker then computes, or spins, in the way of the thread that it
   will wait for: regions of 20 us took 5 ms (docs: measurements, "threads in each other's way"). So the threads of a
   team are kept off the processor of the one that begins the region; where they run otherwise is up to the system. */
#ifndef PARLINALG_PLACEMENT_H
#define PARLINALG_PLACEMENT_H

typedef struct Team Team;

/* Before a region, in the thread that begins it: moves the threads of its earlier regions out of its way. */
Team *keep_threads_off(void);

/* First in a region, in each of its threads. */
void join_team(Team *team, int thread);

/* In the child of a fork: the threads were left behind. */
void forget_threads(void);

#endif

/* team.h - a small team of threads that survives fork, never holds a core for long, and is never needed.
 *
 * cr_parallel_for runs task(argument, index, worker) for index = 0 .. n_tasks-1, each once, and returns when
 * all are done. The caller takes tasks itself from the first moment; helpers that wake late find less left.
 * worker is 0 for the caller and 1 .. n_threads-1 for helpers: an index into per-worker scratch. Tasks must
 * write disjoint outputs; since every task is a function of its index, results do not depend on who ran it.
 * If the team is busy with another caller's work, or a thread cannot be had, the caller does everything.
 */
#ifndef CR_TEAM_H
#define CR_TEAM_H

#include <stddef.h>

#define CR_MAX_THREADS 64

typedef void (*cr_task)(void *argument, size_t index, size_t worker);

void cr_parallel_for(size_t n_tasks, size_t n_threads, cr_task task, void *argument);

/* Seconds on a clock that never goes back; only differences mean anything. */
double cr_seconds(void);

#endif

import os
def cpu_count(): return len(os.sched_getaffinity(0))
def default_workers(): return cpu_count()
def resolve_workers(workers, capacity): return workers

"""Which cases the scoreboard has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import ranks_of
import sanitizers
from run import HERE, Outcome, run, run_program

from parlinalg.registry import names, usable

__all__ = ["detectors", "rows", "soak"]

Case = tuple[str, Callable[[], Outcome]]

OURS = ("numpy", "openmp", "process", "mpi", "ipyparallel", "opencl")
QUICK = ("numpy", "openmp", "process", "opencl")  # engines and ranks take seconds to start
SLOW = {"ipyparallel": 30.0, "opencl": 20.0, "mpi": 15.0}
PYTHON = sys.executable
CALLS = {"mpi": 200, "ipyparallel": 200}  # others: 2000
SANITIZED = ("test_exact.py", "test_small.py", "test_exact_inputs.py", "test_api.py")


def limit(backend: str) -> float:
    """Seconds that a case on it may take."""
    return SLOW.get(backend, 15.0)


def expecting(status: str, case: Callable[[], Outcome]) -> Outcome:
    """Good where the case has ended as it must: its fault was put there."""
    outcome = case()
    good = outcome.status == status
    return Outcome("ok" if good else "wrong", outcome.seconds, f"{outcome.status}, not {status}: {outcome.detail}")


def detectors(quick: bool) -> Iterator[Case]:
    """Each finds a fault that was put there."""
    for program, status, seconds in (
        ("seeded_hang", "hang", 2.0),
        ("seeded_death", "death", 20.0),
        ("seeded_exit", "death", 20.0),
        ("seeded_wrong_answer", "wrong", 20.0),
        ("seeded_file", "leak", 20.0),
        ("seeded_process", "leak", 20.0),
    ):
        yield program, partial(expecting, status, partial(run_program, program, limit=seconds))
    for what in ("memory", "descriptors"):
        leak = [PYTHON, str(HERE / "leaks.py"), "numpy", "1000", what]
        yield f"leak of {what}", partial(expecting, "wrong", partial(run, leak, 60.0))
    yield "pickle", partial(expecting, "wrong", partial(run, [PYTHON, str(HERE / "canaries.py"), "seeded"], 20.0))


def rows(quick: bool, folder: Path) -> Iterator[tuple[str, str, Iterator[Case]]]:
    """Name, what it counts, and its cases."""
    yield "R1", "faults survived", faults(quick)
    yield "R4", "bad inputs: backends that raise what is documented for all of 93", inputs(quick)
    yield "R5", "right answers: backends, 200 random cases each", answers(quick)
    yield "R6", "disagreements of ranks that raise on every rank", disagreements(quick, folder)
    yield "R7", "backends that leak nothing", leaks(quick)
    yield "R8", "forks, and threads that call at the same time", stress(quick)
    yield "R9", "Ctrl-C answered within 0.5 s", signals(quick)
    yield "R10", "sanitizers that find nothing but what was put there", sanitized(quick, folder)
    yield "R11", "canaries that stay silent", canaries(quick)


def faults(quick: bool) -> Iterator[Case]:
    """Section by section of the catalogue."""
    backends = QUICK if quick else OURS

    def on(program: str, *arguments: str, backend: str = "") -> Case:
        label = " ".join([program, *arguments])
        return label, partial(run_program, program, *arguments, limit=limit(backend or (arguments or ("",))[0]))

    for backend in backends:
        yield on("fork_after_use", backend)
    yield on("fork_while_another_thread_computes", "openmp")
    yield on("fork_while_another_thread_computes", "process")
    yield on("fork_by_c")
    for how in ("SIGKILL",) if quick else ("SIGKILL", "SIGSEGV", "SIGTERM"):
        yield on("worker_ends", how)
        yield on("worker_ends_in_a_call", how)
    yield on("worker_ends_by_a_task")
    yield on("parent_killed", "process")
    if not quick:
        yield on("parent_killed", "ipyparallel")
        for program in ("engine_killed", "idle_engine_killed", "engine_stopped", "controller_killed"):
            yield program, partial(run_program, program, limit=45.0)
    for kind in ("processes", "threads", "tasks"):
        yield on("nested_pool", kind)
    for kind in ("file", "stdin"):
        yield on("script", kind)
    for backend in ("process", "opencl"):
        yield on("out_of_memory", backend)
    yield on("device_memory", backend="opencl")
    yield on("shared_memory_full")
    yield on("shared_memory_refused")
    for backend in ("opencl", "mpi", "ipyparallel"):
        yield on("library_missing", backend)
    values = ("abc",) if quick else ("abc", "0", "-1", "", "2.5", "99999999999", "9999G")
    for name in ("OMP_NUM_THREADS", "PARLINALG_WORKERS", "OMP_STACKSIZE", "PARLINALG_BACKEND"):
        for value in values:
            if (name, value) not in RUNTIME_ENDS:
                yield on("environment", name, value)
    for name, value in (("POCL_DEVICES", "bogus"), ("POCL_CACHE_DIR", "/proc/x"), ("OCL_ICD_VENDORS", "/nowhere")):
        yield on("broken_device", name, value, backend="opencl")
    for backend in backends:
        yield on("bad_workers", backend)
    for program in ("unknown_backend", "few_processors", "share_of_tests", "flush_to_zero", "damaged_profile"):
        yield on(program)
    if not quick:
        for end in ("raises", "exits", "is killed", "does not come"):
            yield f"a rank {end}", partial(ranks_of.one_ends, end)


# libgomp itself ends the process for these, while it loads: no library can prevent it.
RUNTIME_ENDS = {("OMP_NUM_THREADS", "99999999999"), ("OMP_STACKSIZE", "9999G"), ("OMP_STACKSIZE", "99999999999")}


def inputs(quick: bool) -> Iterator[Case]:
    for backend in QUICK if quick else OURS:
        yield backend, partial(run, [PYTHON, str(HERE / "inputs.py"), backend], 60.0)


def answers(quick: bool) -> Iterator[Case]:
    number = "50" if quick else "200"
    for backend in QUICK if quick else OURS:
        yield backend, partial(run, [PYTHON, str(HERE / "answers.py"), backend, number], 120.0)


def disagreements(quick: bool, folder: Path) -> Iterator[Case]:
    for case in ranks_of.DISAGREEMENTS[:3] if quick else ranks_of.DISAGREEMENTS:
        for size in (2,) if quick else (2, 3):
            yield f"MPICH, {size} ranks: {case}", partial(ranks_of.disagree, PYTHON, "mpiexec", case, size)
    yield (
        "MPICH: silence is seen",
        partial(expecting, "wrong", partial(ranks_of.disagree, PYTHON, "mpiexec", "nothing", 2)),
    )
    if not quick:
        try:
            python, launcher = ranks_of.open_mpi(folder)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = str(getattr(error, "stderr", error))[-200:]
            yield "Open MPI", lambda: Outcome("skipped", 0.0, f"its environment could not be made: {reason}")
            return
        for case in ranks_of.DISAGREEMENTS:
            for size in (2, 3):
                yield f"Open MPI, {size} ranks: {case}", partial(ranks_of.disagree, python, launcher, case, size)


def leaks(quick: bool) -> Iterator[Case]:
    for backend in QUICK if quick else OURS:
        calls = 200 if quick else CALLS.get(backend, 2000)
        yield f"{backend}, {calls} calls", partial(run, [PYTHON, str(HERE / "leaks.py"), backend, str(calls)], 200.0)


def stress(quick: bool) -> Iterator[Case]:
    yield "200 forks", partial(run_program, "fork_stress", limit=60.0)
    for backend in ("auto", *(QUICK if quick else OURS)):
        yield f"8 threads, {backend}", partial(run_program, "threads", backend, limit=90.0)


def signals(quick: bool) -> Iterator[Case]:
    for backend in QUICK if quick else OURS:
        yield backend, partial(run_program, "interrupted", backend, limit=40.0)
    for backend in ("numpy", "openmp"):
        yield f"{backend}, in one call", partial(run_program, "interrupted_once", backend, limit=20.0)


def sanitized(quick: bool, folder: Path) -> Iterator[Case]:
    yield "threads", partial(driver, folder, "thread")
    yield "threads: the seeded race is found", partial(expecting, "wrong", partial(driver, folder, "thread", "SEEDED"))
    if quick:
        return
    yield "addresses", partial(driver, folder, sanitizers.ADDRESS)
    seeded = partial(driver, folder, sanitizers.ADDRESS, "OVERFLOW")
    yield "addresses: the seeded overflow is found", partial(expecting, "wrong", seeded)
    yield "the property suite", partial(sanitized_suite, folder)


def driver(folder: Path, sanitizer: str, *macros: str) -> Outcome:
    """race.c, with a sanitizer whose reports end it with a status of its own."""
    program = sanitizers.compile_driver(folder, sanitizer, *macros)
    outcome = run([str(program)], 60.0)
    return Outcome("wrong", outcome.seconds, outcome.detail) if outcome.status == "death" else outcome


def sanitized_suite(folder: Path) -> Outcome:
    """Property tests of the kernels with extensions that look at every address."""
    target = sanitizers.build_extensions(folder / "asan")
    environment = sanitizers.environment_of(target) | {"PARLINALG_HYPOTHESIS": "few"}
    tests = [str(HERE.parent / name) for name in SANITIZED]
    command = [PYTHON, str(HERE / "sanitizers.py"), "-q", "-p", "no:cacheprovider", "--timeout=0"]
    command += ["-x", "-s", "-k", "not opencl and not mpi and not ipyparallel and not process"]  # of other libraries
    return run([*command, *tests], 300.0, environment)


def canaries(quick: bool) -> Iterator[Case]:
    from canaries import CANARIES

    for one in CANARIES:
        if not (quick and "engines" in one.__name__):
            yield one.__name__, partial(run, [PYTHON, str(HERE / "canaries.py"), one.__name__], 60.0)


def soak(minutes: float) -> Iterator[Case]:
    """Calls under random faults, on every backend that can run."""
    for backend in (name for name in OURS if name in names() and usable(name)):
        command = [PYTHON, str(HERE / "soak.py"), backend, str(60 * minutes / len(OURS))]
        yield backend, partial(run, command, 60 * minutes / len(OURS) + 120)

"""Which cases the scoreboard has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import ranks_of
import sanitizers
from run import HERE, Outcome, run, run_program

from parlinalg.registry import names, usable

__all__ = ["detectors", "notes", "rows", "soak"]

Case = tuple[str, Callable[[], Outcome]]

OURS = ("numpy", "openmp", "process", "mpi", "ipyparallel", "opencl")
QUICK = ("numpy", "openmp", "process", "opencl")  # engines and ranks take seconds to start
SLOW = {"ipyparallel": 30.0, "opencl": 20.0, "mpi": 15.0}
PYTHON = sys.executable
CALLS = {"mpi": 200, "ipyparallel": 200}  # others: 2000
SANITIZED = (
    "api",
    "exact",
    "exact_inputs",
    "small*",
    "integer_sums",
    "sums_along_axes",
    "rows",
    "singles",
    "halves",
    "additions",
)


def limit(backend: str) -> float:
    """Seconds that a case on it may take."""
    return SLOW.get(backend, 15.0)


def expecting(status: str, words: str, case: Callable[[], Outcome]) -> Outcome:
    """Good where the case has ended as it must, and says what was put there."""
    outcome = case()
    good = outcome.status == status and words in outcome.detail + outcome.output
    detail = f"{outcome.status}, not {status} with {words!r}: {outcome.detail}"
    return Outcome("ok" if good else "wrong", outcome.seconds, detail)


def script(name: str, *arguments: str, limit: float) -> Callable[[], Outcome]:
    """A program of this folder."""
    return partial(run, [PYTHON, str(HERE / name), *arguments], limit)


def detectors(quick: bool) -> Iterator[Case]:
    """Each finds a fault that was put there."""
    for program, status, words, seconds in (
        ("seeded_hang", "hang", "not done after 2 s", 2.0),
        ("seeded_hang_and_process", "hang", "sleep 100", 2.0),
        ("seeded_death", "death", "signal 11", 20.0),
        ("seeded_exit", "death", "status 3", 20.0),
        ("seeded_wrong_answer", "wrong", "a sum is wrong", 20.0),
        ("seeded_file", "leak", "parlinalg-seeded-", 20.0),
        ("seeded_folder", "leak", "parlinalg-seeded-", 20.0),
        ("seeded_process", "leak", "sleep 100", 20.0),
    ):
        yield program, partial(expecting, status, words, partial(run_program, program, limit=seconds))
    for name, words, case in seeded():
        yield name, partial(expecting, "wrong", words, case)


def seeded() -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    """What it is, words that it must say, and how it is run."""
    yield "an input that raises nothing", "seeded: nothing was raised", script("inputs.py", "numpy", "seeded", limit=60)
    yield "a wrong last bit", "sum of 200,000", script("answers.py", "numpy", "14", "seeded", limit=60)
    yield (
        "a wrong last bit in a thread",
        "a product is wrong",
        partial(run_program, "threads", "numpy", "answer", limit=30),
    )
    yield "one thread more", "after the first calls", partial(run_program, "threads", "numpy", "threads", limit=30)
    late = partial(run_program, "interrupted_once", "numpy", "late", limit=30)
    yield "a late answer to Ctrl-C", "answered after", late
    yield "leak of memory", "bytes of memory more", script("leaks.py", "numpy", "1000", "memory", limit=60)
    for what in ("descriptors", "threads", "children", "files"):
        yield f"leak of {what}", f"grown: {{'{what}'", script("leaks.py", "numpy", "20", what, limit=60)
    for what, words in (
        ("pickle", "foreign data was run"),
        ("mode", "others can read it"),
        ("kernel", "more kernels than there should be: {'evil'}"),
    ):
        yield f"canary: {what}", words, script("canaries.py", f"seeded_{what}", limit=30)


def rows(quick: bool, folder: Path) -> Iterator[tuple[str, str, Iterator[Case]]]:
    """Name, what it counts, and its cases."""
    yield "R1", "faults survived", faults(quick)
    yield "R4", "bad inputs: backends that raise what is documented for all of 93", inputs(quick)
    yield "R5", f"right answers: backends, {number_of_answers(quick)} random cases each, and large ones", answers(quick)
    yield "R6", "disagreements of ranks that raise the same on every rank", disagreements(quick, folder)
    yield "R7", "backends that leak nothing", leaks(quick)
    yield "R8", "forks, and threads that call at the same time", stress(quick)
    yield "R9", "Ctrl-C answered within 0.5 s", signals(quick)
    yield "R10", "sanitizers that find nothing but what was put there", sanitized(quick, folder)
    yield "R11", "canaries that stay silent", canaries(quick)


def notes(quick: bool) -> list[str]:
    """What the scoreboard does not count, and why."""
    ends = ", ".join(f"{name}={value}" for name, value in sorted(RUNTIME_ENDS))
    told = [f"Not counted: {ends}: OpenMP's runtime itself ends the process while it loads, before parlinalg runs."]
    if quick:
        told.append("--quick leaves out engines, most of what ranks do, and repetitions; the full campaign has them.")
    return told


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
    for backend in ("openmp", "process"):
        yield on("fork_by_c", backend)
    for how in ("SIGKILL",) if quick else ("SIGKILL", "SIGSEGV", "SIGTERM"):
        yield on("worker_ends", how)
        yield on("worker_ends_in_a_call", how)
    yield on("worker_ends_by_a_task")
    yield on("parent_killed", "process")
    if not quick:
        yield on("parent_killed", "ipyparallel")
        for program in ("engine_killed", "idle_engine_killed", "engine_stopped", "controller_killed"):
            yield program, partial(run_program, program, limit=45.0)
    for kind in ("processes", "threads", "tasks", "joblib"):
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


def number_of_answers(quick: bool) -> int:
    return 50 if quick else 200


def answers(quick: bool) -> Iterator[Case]:
    number = str(number_of_answers(quick))
    for backend in QUICK if quick else OURS:
        yield backend, partial(run, [PYTHON, str(HERE / "answers.py"), backend, number], 120.0)


def disagreements(quick: bool, folder: Path) -> Iterator[Case]:
    for case in ranks_of.DISAGREEMENTS[:3] if quick else ranks_of.DISAGREEMENTS:
        for size in (2,) if quick else (2, 3):
            yield f"MPICH, {size} ranks: {case}", partial(ranks_of.disagree, PYTHON, "mpiexec", case, size)
    yield (
        "MPICH: silence is seen",
        partial(expecting, "wrong", "0 of 2 ranks raised", partial(ranks_of.disagree, PYTHON, "mpiexec", "nothing", 2)),
    )
    if not quick:
        python = launcher = ""
        absent = None
        try:
            python, launcher = ranks_of.open_mpi(folder)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = str(getattr(error, "stderr", error))[-200:]
            absent = Outcome("skipped", 0.0, f"its environment could not be made: {reason}")
        for case in ranks_of.DISAGREEMENTS:
            for size in (2, 3):
                label = f"Open MPI, {size} ranks: {case}"
                yield label, partial(_on_open_mpi, absent, python, launcher, case, size)


def _on_open_mpi(absent: Outcome | None, python: str, launcher: str, case: str, size: int) -> Outcome:
    return absent or ranks_of.disagree(python, launcher, case, size)


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
    race = partial(driver, folder, "thread", "SEEDED")
    yield "threads: the seeded race is found", partial(expecting, "wrong", "data race", race)
    if quick:
        return
    yield "addresses", partial(driver, folder, sanitizers.ADDRESS)
    for fault, macro, words in (
        ("overflow", "OVERFLOW", "heap-buffer-overflow"),
        ("undefined operation", "UNDEFINED", "signed integer overflow"),
    ):
        case = partial(driver, folder, sanitizers.ADDRESS, macro)
        yield f"addresses: the seeded {fault} is found", partial(expecting, "wrong", words, case)
    yield "the property suite", partial(sanitized_suite, folder)


def driver(folder: Path, sanitizer: str, *macros: str) -> Outcome:
    """race.c, with a sanitizer whose reports end it with a status of its own."""
    program = sanitizers.compile_driver(folder, sanitizer, *macros)
    outcome = run([str(program)], 60.0)
    return replace(outcome, status="wrong") if outcome.status == "death" else outcome


def sanitized_suite(folder: Path) -> Outcome:
    """Property tests of the kernels with extensions that look at every address."""
    target = sanitizers.build_extensions(folder / "asan")
    environment = sanitizers.environment_of(target) | {"PARLINALG_HYPOTHESIS": "few"}
    tests = [str(path) for name in SANITIZED for path in HERE.parent.glob(f"test_{name}.py")]
    command = [PYTHON, str(HERE / "sanitizers.py"), "-q", "-p", "no:cacheprovider", "--timeout=0"]
    command += ["-x", "-s", "-k", "not opencl and not mpi and not ipyparallel and not process"]  # of other libraries
    return run([*command, *tests], 600.0, environment)


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

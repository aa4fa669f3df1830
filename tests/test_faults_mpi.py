"""What goes wrong between ranks: every rank raises, none hangs, and the next call is right."""

from __future__ import annotations

import textwrap
import time

import pytest

from parlinalg.registry import backend_class
from ranked import on_ranks

if backend_class("mpi").why_not() is not None:
    pytest.skip(f"backend 'mpi' cannot run here: {backend_class('mpi').why_not()}", allow_module_level=True)

SECONDS = 60.0  # after which it is a hang

BEGINNING = """
import os, sys, threading, time
import numpy as np
import parlinalg as pla
from parlinalg import DistributedArray
from parlinalg.backends import MPI
from mpi4py import MPI as mpi4py_MPI
COMM = mpi4py_MPI.COMM_WORLD
RANK, SIZE = COMM.Get_rank(), COMM.Get_size()
LAST = RANK == SIZE - 1
A, x = np.arange(35.0).reshape(7, 5), np.ones(5)

def say(text):
    os.write(1, f"{RANK} {text}\\n".encode())
"""

CALL = """
try:
    {call}
except Exception as error:
    say(f"{{type(error).__name__}}: {{error}}")
else:
    say("nothing")
say(f"then {{pla.psum(A, backend='mpi') == 595 and (pla.matvec(A, x, backend='mpi') == A @ x).all()}}")
"""

DIFFERENT = {
    "shape of x": ("ValueError", "pla.matvec(A, x[LAST:], backend='mpi')"),
    "shapes of both": ("ValueError", "pla.matvec(A[LAST:], x, backend='mpi')"),
    "dtype": ("ValueError", "pla.matvec(A.astype('f4') if LAST else A, x, backend='mpi')"),
    "dtype of a sum": ("ValueError", "pla.psum(A.astype(int) if LAST else A, backend='mpi')"),
    "axis": ("ValueError", "pla.psum(A, axis=int(LAST), backend='mpi')"),
    "(5, 7) and (7, 5)": ("ValueError", "pla.psum(A.T.copy() if LAST else A, axis=0, backend='mpi')"),
    "scalar and array": ("ValueError", "pla.psum(3.0 if LAST else A, backend='mpi')"),
    "empty and not": ("ValueError", "pla.psum(A[:0] if LAST else A, axis=1, backend='mpi')"),
    "masked and not": ("ValueError", "pla.psum(A, where=A > 3 if LAST else True, backend='mpi')"),
    "initial": ("ValueError", "pla.psum(A, initial=int(LAST), backend='mpi')"),
    "dtype of out": ("ValueError", "pla.psum(A, 0, out=np.empty(5, 'f4') if LAST else None, backend='mpi')"),
    "operation": ("ValueError", "pla.psum(A, backend='mpi') if LAST else pla.matvec(A, x, backend='mpi')"),
    "exact": ("ValueError", "pla.matvec(A, x, exact=LAST, backend='mpi')"),
    "workers": ("ValueError", "pla.matvec(A, x, workers=2 - LAST, backend='mpi')"),
    "too many workers": ("ValueError", "pla.matvec(A, x, workers=1 + 99 * LAST, backend='mpi')"),
    "no array": ("TypeError", "pla.matvec(A, None if LAST else x, backend='mpi')"),
    "objects": ("TypeError", "pla.psum(A.astype(object) if LAST else A, backend='mpi')"),
    "axis beyond": ("AxisError", "pla.psum(A, axis=2 * LAST, backend='mpi')"),
    "read-only out": ("ValueError", "pla.matvec(A, x, np.broadcast_to(0.0, 7) if LAST else None, backend='mpi')"),
    "operator and call": ("ValueError", "pla.operator(A, backend='mpi') if LAST else pla.matvec(A, x, backend='mpi')"),
    "no file": ("FileNotFoundError", "pla.operator('/no/file' if LAST else A, backend='mpi')"),
    "vectors of an operator": ("ValueError", "pla.operator(A, backend='mpi') @ x[LAST:]"),
    "forms of an operator": (
        "ValueError",
        "(lambda op: op.T @ x if LAST else op @ x)(pla.operator(A[:5], backend='mpi'))",
    ),
    "columns of local rows": ("ValueError", "pla.operator.from_local(A[:, LAST:])"),
    "dtype of local rows": ("ValueError", "DistributedArray.from_local(x.astype('f4') if LAST else x)"),
    "no local rows": ("TypeError", "DistributedArray.from_local(None if LAST else x)"),
    "no distributed vector": ("TypeError", "DistributedArray.of(None if LAST else x)"),
    "a vector of local rows": ("ValueError", "pla.operator.from_local(x if LAST else A)"),
    "no vector of an operator": ("TypeError", "pla.operator(A, backend='mpi') @ (None if LAST else x)"),
    "no vector before an operator": ("TypeError", "(None if LAST else x) @ pla.operator(A[:5], backend='mpi')"),
    "counts": ("ValueError", "DistributedArray.of(x, counts=(5, 0) if LAST else (0, 5))"),
    "options": ("ValueError", "MPI(grid=(1, 2) if LAST else (2, 1))"),
    "option of the wrong kind": ("ValueError", "MPI(threads=0 if LAST else 1)"),
    "deadline": ("ValueError", "MPI(deadline=5 if LAST else None)"),
}


def told(program: str, size: int = 2) -> tuple[int, list[str]]:
    """The exit status, and what the ranks said, by rank."""
    run = on_ranks(size, "-c", BEGINNING + textwrap.dedent(program), seconds=SECONDS)
    return run.returncode, sorted(run.stdout.splitlines(), key=lambda line: line[:1])


def test_ranks_that_differ_all_raise_the_same_class() -> None:
    """All in one job, so that each also follows the others."""
    status, lines = told("".join(CALL.format(call=call) for _, call in DIFFERENT.values()))
    assert status == 0, lines
    for rank in "01":
        said = [line[2:] for line in lines if line.startswith(f"{rank} ")]
        assert len(said) == 2 * len(DIFFERENT), said
        for (name, (kind, _)), what, then in zip(DIFFERENT.items(), said[::2], said[1::2], strict=True):
            assert what.startswith(f"{kind}: "), f"{name}, rank {rank}: {what}"
            assert then == "then True", f"{name}: the next call is wrong on rank {rank}: {then}"


def test_an_error_says_which_rank_passed_what() -> None:
    _, lines = told(CALL.format(call="pla.matvec(A, x[LAST:], backend='mpi')"))
    assert "rank 1" in lines[0]
    assert "x has shape (4,)" in lines[0]
    _, lines = told(CALL.format(call="pla.matvec(A[LAST:], x, backend='mpi')"), 3)
    assert "ranks 0, 1: matvec" in lines[0]
    assert "rank 2: matvec" in lines[0]


@pytest.mark.parametrize("kind", ["MemoryError", "RuntimeError"])
def test_what_a_rank_raises_while_it_computes_reaches_all(kind: str) -> None:
    program = f"""
    from parlinalg import _kernels
    def fail(*args): raise {kind}("on purpose")
    if LAST:
        kernels = _kernels.matvec, _kernels.sum_states
        _kernels.matvec = _kernels.sum_states = fail
    for call in (lambda: pla.matvec(A, x, backend="mpi"), lambda: pla.psum(A, axis=1, backend="mpi"),
                 lambda: pla.operator(A, backend="mpi") @ DistributedArray.of(x)):
        try:
            call()
        except Exception as error:
            say(f"{{type(error).__name__}} {{error}}")
    if LAST:
        _kernels.matvec, _kernels.sum_states = kernels
    say(f"then {{pla.psum(A, backend='mpi')}}")
    """
    status, lines = told(program)
    expected = "MemoryError" if kind == "MemoryError" else "BackendError"
    errors = [line for line in lines if "on purpose" in line]
    assert status == 0, lines
    assert len(errors) == 6, lines
    assert all(line[2:].startswith(f"{expected} rank 1 (pid ") for line in errors), errors
    assert [line for line in lines if "then" in line] == ["0 then 595.0", "1 then 595.0"]


def test_a_rank_without_memory_for_the_result() -> None:
    program = """
    if LAST:
        from parlinalg.backends import _grid
        room_for = _grid.room_for
        def scarce(out): raise MemoryError("on purpose")
        _grid.room_for = scarce
    try:
        pla.matvec(A, x, backend="mpi")
    except MemoryError as error:
        say(f"{type(error).__name__} {error}")
    if LAST:
        _grid.room_for = room_for
    say(f"then {pla.psum(A, backend='mpi')}")
    """
    status, lines = told(program)
    assert status == 0, lines
    assert lines[0].startswith("0 MemoryError rank 1 (pid ")
    assert lines[1:] == ["0 then 595.0", "1 MemoryError on purpose", "1 then 595.0"]


@pytest.mark.parametrize("end", ["raise ValueError('mine')", "os.kill(os.getpid(), 9)"])
def test_a_rank_that_ends_ends_the_job(end: str) -> None:
    program = f"""
    pla.psum(A, backend="mpi")
    if LAST:
        {end}
    pla.psum(A, backend="mpi")
    say("not reached")
    """
    status, lines = told(program)
    assert status != 0
    assert not [line for line in lines if "not reached" in line], lines


def test_a_rank_that_does_not_come_is_a_timeout() -> None:
    program = """
    backend = MPI(deadline=1)
    pla.psum(A, backend=backend)
    if LAST:
        time.sleep(5)
        say("was late")
    else:
        for _ in range(2):
            try:
                pla.psum(A, backend=backend)
            except Exception as error:
                say(f"{type(error).__name__} {error}")
        os._exit(0)
    """
    start = time.monotonic()
    _, lines = told(program)
    assert time.monotonic() - start < SECONDS / 2
    assert lines[0].startswith("0 TimeoutError mpi: psum")
    assert "within 1.0 seconds" in lines[0]
    assert lines[1].startswith("0 BackendError mpi: the ranks are out of step, since psum")


def test_a_rank_that_caught_a_timeout_ends_the_job() -> None:
    """MPI may still write into the arrays of the round that was left; MPI_Finalize would wait for ever."""
    program = """
    backend = MPI(deadline=1)
    pla.psum(A, backend=backend)
    if LAST:
        time.sleep(3)
    try:
        pla.psum(A, backend=backend)
    except TimeoutError:
        arrays = [np.full(5, 7) for _ in range(20000)]
        time.sleep(4)
        say(f"unchanged {all((a == 7).all() for a in arrays)}")
    else:
        time.sleep(1000)
    """
    start = time.monotonic()
    status, lines = told(program)
    assert time.monotonic() - start < SECONDS / 2
    assert status != 0
    assert lines[0] == "0 unchanged True"


def test_threads_that_call_at_the_same_time() -> None:
    """While one is in a collective call, the call of another raises, on every rank."""
    program = """
    backend = MPI()
    turn = backend.rounds.turn()
    if LAST:
        turn.__enter__()
        threading.Timer(1, lambda: turn.__exit__(None, None, None)).start()
    try:
        pla.psum(A, backend=backend)
    except Exception as error:
        say(f"{type(error).__name__} {error}")
    say(f"then {pla.psum(A, backend=backend)}")
    """
    status, lines = told(program)
    assert status == 0, lines
    assert all("BackendError" in line and "submit" in line for line in (lines[0], lines[2])), lines
    assert (lines[1], lines[3]) == ("0 then 595.0", "1 then 595.0")


def test_a_forked_child_cannot_use_the_ranks() -> None:
    program = """
    assert pla.psum(A, backend="mpi") == 595
    backend = MPI()
    child = os.fork()
    if child == 0:
        try:
            pla.psum(A, backend=backend)
        except pla.BackendUnavailable as error:
            say(error)
        os._exit(0)
    os.waitpid(child, 0)
    say(f"then {pla.psum(A, backend='mpi')}")
    """
    status, lines = told(program)
    assert status == 0, lines
    assert lines == [
        line for rank in "01" for line in (f"{rank} backend 'mpi' cannot run in a process that was forked from a rank",
                                          f"{rank} then 595.0")
    ]  # fmt: skip


def test_without_checks_calls_that_agree_still_work() -> None:
    program = """
    backend = MPI(check=False)
    with np.errstate(all="raise"):
        try:
            pla.psum([np.inf, -np.inf, 1.0], backend=backend)
        except FloatingPointError:
            say(pla.psum(A, backend=backend))
    """
    assert told(program) == (0, ["0 595.0", "1 595.0"])


def test_mpi_is_initialised_by_the_first_call() -> None:
    program = """
    import sys
    import parlinalg
    parlinalg.backends()
    assert "mpi4py.MPI" not in sys.modules
    assert parlinalg.psum([1.0, 2.0], backend="mpi") == 3.0
    assert "mpi4py.MPI" in sys.modules
    """
    run = on_ranks(1, "-c", textwrap.dedent(program))
    assert run.returncode == 0, run.stdout

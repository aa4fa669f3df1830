"""``explain``: who would compute a product, and why not the others."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from .backends._base import Backend
from .dispatch import PREDICTED, Choice, choose, current_model, kind_of_plan
from .model import Candidate, layout_of
from .operands import as_operand
from .plan import MatvecPlan, plan_matvec
from .registry import BackendInfo, backends

__all__ = ["Considered", "Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Considered:
    """One backend that might compute a call."""

    backend: str
    workers: int  # 0 where it cannot
    seconds: float | None  # that are predicted, placing included; None: it was not measured, or cannot
    reason: str  # why it is chosen, or why not

    def __str__(self) -> str:
        seconds = "-" if self.seconds is None else _duration(self.seconds)
        return f"{self.backend:<12} {self.workers or '-':>7} {seconds:>10}  {self.reason}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `explain` returns; its text is a table."""

    backend: Backend  # that is chosen
    workers: int
    reason: str
    considered: tuple[Considered, ...]  # every backend, some for several numbers of workers

    def __str__(self) -> str:
        plural = "" if self.workers == 1 else "s"
        head = f"{self.backend.name}, {self.workers} worker{plural}: {self.reason}"
        return "\n".join([head, "", f"{'backend':<12} workers  predicted", *map(str, self.considered)])


def explain(
    A: ArrayLike, x: ArrayLike, *, backend: str | Backend | None = None, workers: int | None = None
) -> Explanation:
    """Who would compute ``matvec(A, x)``, with how many workers, and why; and why not the others. Computes nothing.

    Parameters are those of `matvec`, and so is what is raised.

    Returns
    -------
    Explanation
        With ``backend``, ``workers``, ``reason``, and a table of all that were ``considered``, which it prints.

    Examples
    --------
    >>> import parlinalg
    >>> print(parlinalg.explain([[1.0, 2.0]], [1.0, 1.0], backend="numpy"))
    numpy, 1 worker: asked for
    ...
    """
    A = as_operand("matvec", "A", A)
    x = as_operand("matvec", "x", x)
    plan = plan_matvec(A.shape, A.dtype, x.shape, x.dtype)
    layout = layout_of(A, plan.dtype)
    choice = choose(plan, backend, workers, layout)
    kind, nbytes = kind_of_plan(plan, layout), plan.elements * plan.itemsize
    predicted = current_model().predict(kind, nbytes)
    considered = [row for info in backends().values() for row in _consider(info, plan, choice, predicted)]
    reason = choice.reason
    if reason == PREDICTED:
        reason += f" for {nbytes} bytes of {kind!r}, by measurements {current_model().source}"
    return Explanation(choice.backend, choice.workers, reason, tuple(considered))


def _consider(
    info: BackendInfo, plan: MatvecPlan, choice: Choice, predicted: dict[Candidate, float]
) -> list[Considered]:
    name = info.name
    if info.why_not is not None:
        return [Considered(name, 0, None, info.why_not)]
    measured = {one: seconds for one, seconds in predicted.items() if one.backend == name}
    if not measured:
        return [Considered(name, info.workers, None, _reason(name, 0, choice, None))]
    uploads = current_model().uploads
    rows = []
    taken = predicted.get(Candidate(choice.backend.name, choice.workers), 0.0)
    for one, seconds in measured.items():
        placing = plan.elements * plan.itemsize / uploads[name] if name in uploads else 0.0
        reason = _reason(name, one.workers, choice, placing, slower=seconds >= taken)
        rows.append(Considered(name, one.workers, seconds + placing, reason))
    return rows


def _reason(name: str, workers: int, choice: Choice, placing: float | None, *, slower: bool = True) -> str:
    if choice.backend.name == name and (choice.workers == workers or placing is None):
        return "chosen"
    if placing is None:
        return "only where it is asked for; not measured"
    if placing:
        return f"only where it is asked for; {_duration(placing)} of it to place the matrix"
    return "slower" if slower else "not surely faster"


def _duration(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} us" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"

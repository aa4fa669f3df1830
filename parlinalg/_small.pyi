from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., object])

BY_NUMPY: int

def short_cut_of_products(general: F) -> F: ...
def short_cut_of_dots(general: F) -> F: ...
def short_cut_of_vecmats(general: F) -> F: ...
def short_cut_of_sums(general: F) -> F: ...
def serve(
    nbytes: int,
    variable: ContextVar[Any],
    default: object,
    context: Context,
    limits: Callable[[], tuple[int, int]],
) -> None: ...
def note_choice() -> None: ...
def take(number: int, kind: int, ends: list[int], how: list[int]) -> None: ...
def setting(name: bytes) -> str | None: ...

class Counts:
    how: int
    calls: int
    seconds: float
    at_hand: Any

class SmallProducts:
    counts: Any
    view: Any
    def multiply_here(self, x: Any, ndim: int = 0) -> Any: ...
    def __matmul__(self, x: Any) -> Any: ...

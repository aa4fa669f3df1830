from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., object])

def short_cut(general: F) -> F: ...
def serve(elements: int, elements_bool: int, variable: ContextVar[Any], default: object) -> None: ...

"""Coverage-guided fuzzing of what callers may pass, and of the exact state.

    python tests/fuzz/guided.py tests/fuzz/corpus -max_total_time=1800

Needs the package atheris. The options are those of libFuzzer; inputs that reach new code are kept in the corpus. Each
call must return what NumPy, or exact arithmetic, returns, or raise an error that is documented. A finding is written to
a file ``crash-...``, which the same program runs again.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from contextlib import suppress
from typing import Any

import atheris
import numpy as np

with atheris.instrument_imports(include=["parlinalg"]):
    import parlinalg as pla
    from parlinalg import model, operands, plan, profiles, workers  # noqa: F401
from parlinalg.testing.oracle import exact_sum

DOCUMENTED = (TypeError, ValueError, MemoryError, OverflowError, pla.ParlinalgError, np.exceptions.AxisError)
DTYPES = "?bBhHiIlLqQefdgFDGOSUMmV"
BACKENDS = (None, "auto", "numpy", "openmp", "nobody", "", 3)


def shape(data: Any) -> tuple[int, ...]:
    """Of few elements."""
    return tuple(data.ConsumeIntInRange(0, 5) for _ in range(data.ConsumeIntInRange(0, 4)))


def array(data: Any) -> Any:
    """Any bits, dtype and strides; or what is no array."""
    if data.ConsumeIntInRange(0, 9) == 0:
        return scalar(data)
    dtype = np.dtype(data.PickValueInList(list(DTYPES)))
    if dtype.itemsize == 0:
        dtype = np.dtype(f"{dtype.char}3")
    dims = shape(data)
    count = int(np.prod(dims))
    if dtype.char == "O":
        return np.full(dims, None, object)
    a = np.frombuffer(data.ConsumeBytes(count * dtype.itemsize).ljust(count * dtype.itemsize, b"\1"), dtype, count)
    a = a.reshape(dims)
    form = data.ConsumeIntInRange(0, 5)
    if form == 1:
        return a.T
    if form == 2 and a.ndim:
        return a[::-1]
    if form == 3:
        return a.byteswap().view(a.dtype.newbyteorder()) if dtype.kind in "iufc" else a
    if form == 4:
        return np.broadcast_to(a, (2, *dims))
    return a


def scalar(data: Any) -> Any:
    """Something else."""
    choice = data.ConsumeIntInRange(0, 8)
    return (
        None,
        data.ConsumeInt(8),
        data.ConsumeFloat(),
        data.ConsumeUnicode(4),
        data.ConsumeBytes(4),
        [1, [2]],
        {},
        True,
        (0, data.ConsumeIntInRange(-3, 3)),
    )[choice]


def options(data: Any, *names: str) -> dict[str, Any]:
    """Some of them."""
    return {name: scalar(data) for name in names if data.ConsumeIntInRange(0, 5) == 0}


def test_sum(data: Any) -> None:
    """psum, against exact arithmetic."""
    a = array(data)
    given = options(data, "axis", "dtype", "out", "keepdims", "initial", "where", "workers")
    found = pla.psum(a, **given, backend=data.PickValueInList(list(BACKENDS)))
    if not given and isinstance(a, np.ndarray):
        assert np.asarray(found).tobytes() == np.asarray(exact_sum(a).value).tobytes(), (a, found)


def test_product(data: Any) -> None:
    """The products, against NumPy's shape and dtype."""
    function = data.PickValueInList(["matvec", "vecmat", "vecdot"])
    one, other = array(data), array(data)
    given = options(data, "out", "dtype", "exact", "workers")
    found = getattr(pla, function)(one, other, **given, backend=data.PickValueInList(list(BACKENDS)))
    if not given and isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        expected = getattr(np, function)(one, other)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), (one, other, found, expected)


def test_state(data: Any) -> None:
    """Sums of parts are the sum of the whole, and come through pickle."""
    a, b = array(data), array(data)
    first, second = pla.PartialSum.of(a), pla.PartialSum.of(b)
    total = pickle.loads(pickle.dumps(first + second))
    if first.dtype.kind == second.dtype.kind == "f" and isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        both = np.concatenate([a.ravel().astype("f8"), b.ravel().astype("f8")])
        assert np.asarray(total.round("f8")).tobytes() == np.asarray(exact_sum(both).value).tobytes(), (a, b)


def test_foreign_state(data: Any) -> None:
    """A state of any integers is taken, or refused."""
    length = data.PickValueInList([1, 2, 72, 73, 74])
    state = np.array([data.ConsumeInt(8) for _ in range(length)])
    pla.PartialSum(state, data.PickValueInList(["f8", "f4", "i8", "?", "c16", "O"])).round()


def test_profile(data: Any) -> None:
    """A profile of any JSON."""
    curve = {"backend": data.ConsumeUnicode(4), "workers": scalar(data), "bytes": scalar(data), "seconds": scalar(data)}
    with suppress(KeyError, AttributeError):
        profiles.from_json({"curves": {data.ConsumeUnicode(9): [curve]}, "uploads": {}, "devices": {}, "probe": []}, "")


TESTS = (test_sum, test_product, test_state, test_foreign_state, test_profile)


def one_input(given: bytes) -> None:
    """What libFuzzer calls."""
    data = atheris.FuzzedDataProvider(given)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            TESTS[data.ConsumeIntInRange(0, len(TESTS) - 1)](data)
        except DOCUMENTED as error:
            if not str(error):
                raise AssertionError("an error without a message") from error


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()

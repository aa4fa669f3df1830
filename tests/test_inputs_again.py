"""What hostile callers have found: masks inside of lists, casts without a value, types from an earlier call."""

from __future__ import annotations

import copy
import os
import pickle
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parlinalg import PartialSum, matvec, operator, pmap, psum, vecdot
from parlinalg.cli import main
from parlinalg.testing.checks import require_same_bits

MASKED = np.ma.array([1.0, 100.0, 1.0], mask=[False, True, False])


class Wrapped:
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return MASKED


@pytest.mark.parametrize("given", [[MASKED, MASKED], ([MASKED],), Wrapped()], ids=["list", "nested", "__array__"])
def test_masks_inside_of_what_is_given_are_seen(given: Any) -> None:
    for call in (psum, PartialSum.of, lambda a: matvec(a, [1.0] * 3), operator):
        with pytest.raises(TypeError, match="masked elements"):
            call(given)
    assert psum([np.ma.array([1.0, 2.0])]) == 3.0


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("to", list("bBhHiIlL"))
def test_casts_of_what_no_integer_holds_do_not_depend_on_the_layout(dtype: str, to: str) -> None:
    values = [300.7, -5.5, np.nan, 1e20, -1e20, np.inf, -np.inf, 2.0**31, 2.0**63, 1.5 * 2.0**63, -129] * 7
    with np.errstate(all="ignore"):
        v = np.array(values).astype(dtype)
        table = np.zeros((len(v), 3), dtype)
        table[:, 1] = v
        layouts = (v, table[:, 1], v[::-1], v.byteswap().view(v.dtype.newbyteorder()))
        sums = [psum(one, dtype=to) for one in layouts]
        sums += [np.add.reduce([psum(v[i : i + 1], dtype=to) for i in range(len(v))], dtype=to)]
    assert len(set(map(int, sums))) == 1
    usual = np.array([0.0, 1.9, 100.7, 99]).astype(dtype)
    assert psum(usual, dtype=to) == usual.astype(to).sum(dtype=to)


def test_casts_to_uint64_keep_what_it_holds() -> None:
    a = np.array([2.0**63 + 2048, 2.0**63, 5.7, -1.0])
    assert psum(a, dtype=np.uint64) == (2**63 + 2048 + 2**63 + 5 - 1) % 2**64


@pytest.mark.parametrize("first", ["q", "l"])
def test_types_do_not_come_from_an_earlier_call(first: str, backend: str) -> None:
    n = 11 + ord(first)  # a plan of its own
    for char in (first, "q", "l"):
        ones = np.ones(n, char)
        assert type(vecdot(ones, ones, backend=backend)) is np.int64
        assert type(psum(ones, backend=backend)) is np.int64
        assert type(psum(ones.view(char.upper()), backend=backend)) is np.uint64


@pytest.mark.parametrize("value", [[1.0, -1.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_exact_conjugates_have_the_bits_of_exact_products(value: list[float]) -> None:
    A, x = np.ones((2, 1), complex) * 1j, np.array(value, complex)
    with np.errstate(all="ignore"), operator(A, exact=True) as op:
        expected = matvec(A.conj().T, x, exact=True)
        require_same_bits(op.H @ x, expected)
        require_same_bits(op.rmatvec(x), expected)
        require_same_bits(op.rmatmat(x[:, np.newaxis])[:, 0], expected)
        require_same_bits(op.T.H @ x[:1], matvec(A.conj(), x[:1], exact=True))


@pytest.mark.parametrize(
    ("a", "initial", "expected"),
    [
        (np.ones(3, np.uint8), np.int64(1), np.uint64(4)),
        (np.ones(3, np.uint8), np.array(1), np.uint64(4)),
        (np.ones(3, np.uint8), 2.0, np.uint64(5)),
        (np.ones(3), 2**70, np.float64(2.0**70)),
        (np.ones(3, np.float32), np.float64(0.5), np.float32(3.5)),
        (np.ones(3, complex), True, np.complex128(4)),
    ],
)
def test_initial_is_a_number_of_any_type(a: Any, initial: Any, expected: Any) -> None:
    require_same_bits(psum(a, initial=initial), expected)


@pytest.mark.parametrize(
    ("a", "initial", "error"),
    [
        (np.ones(3, np.int64), np.uint64(2**63), ValueError),
        (np.ones(3, np.int64), 1.9, TypeError),
        (np.ones(3, np.int64), np.float32(0.5), TypeError),
        (np.ones(3), 10**400, ValueError),
        (np.ones(3, np.int8), "1", TypeError),
    ],
)
def test_initial_that_the_sum_cannot_hold(a: Any, initial: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"psum: initial is"):
        psum(a, initial=initial)
    with pytest.raises(ValueError, match="can hold -128 to 127"):
        psum(np.ones(2, np.int32), dtype=np.int8, initial=np.int64(300))


def test_out_whose_strides_interleave_without_overlap() -> None:
    A, x = np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)
    memory = np.zeros(20)
    out = np.lib.stride_tricks.as_strided(memory, (2, 3), (24, 16))
    matvec(A, x, out)
    assert out.tolist() == np.matvec(A, x).tolist()
    with pytest.raises(ValueError, match="out has strides"):
        matvec(A, x, np.lib.stride_tricks.as_strided(memory, (2, 3), (16, 16)))


def test_operators_are_neither_pickled_nor_copied(backend: str) -> None:
    with operator(np.eye(3), backend=backend) as op:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="an operator cannot be pickled or copied"):
                attempt(op)


def test_complex_arrays_of_64_dimensions_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="63 dimensions at most; this one has 64"):
        psum(np.ones((1,) * 63 + (2,)) * 1j)


def test_tasks_find_standard_input_at_its_end() -> None:
    def read(_: int) -> str:
        return sys.stdin.read(1)

    for schedule in ("static", "dynamic"):
        assert list(pmap(read, [1, 2], workers=1, schedule=schedule)) == ["", ""]


def test_items_that_cannot_be_iterated_are_named() -> None:
    with pytest.raises(TypeError, match="pmap: items is 3, which is not iterable"):
        pmap(abs, 3)  # type: ignore[arg-type]


HEADER = b"\x93NUMPY\x01\x00v\x00"


@pytest.mark.parametrize(
    "content",
    [b"", b"1 2 3", b"PK\x03\x04....", HEADER + b"{{{{((((".ljust(117) + b"\n", HEADER],
    ids=["empty", "text", "zip", "header", "cut"],
)
def test_files_that_are_no_arrays_are_named(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "odd.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.npy"):
        operator(path)
    assert main(["psum", str(path)]) == 1
    assert "odd.npy" in capsys.readouterr().err


def test_an_output_keeps_the_mode_of_the_file_before_it(tmp_path: Path) -> None:
    given, out = tmp_path / "a.npy", tmp_path / "out.npy"
    np.save(given, np.ones(3))
    out.touch(mode=0o600)
    os.chmod(out, 0o600)
    assert main(["psum", str(given), "-o", str(out)]) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_verify_holds_backends_to_the_kit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "numpy", "--examples", "2"]) == 0
    assert capsys.readouterr().out.endswith("ok\n")
    assert main(["verify", "--examples", "0"]) == 1


def test_a_picture_is_refused_before_tasks_wait(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["tasks", "--plot", "x.xyz"])
    assert main(["tasks", "--plot", str(tmp_path / "no" / "x.png"), "--longest", "3000"]) == 1

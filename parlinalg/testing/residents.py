"""Matrices that stay on their workers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.random import Generator

from ..placing import operator
from ..plan import plan_matvec
from . import strategies as draw
from .base import Base, poisoned, statement
from .checks import require, require_close, require_same_bits, unchanged
from .oracle import exact_matvec

__all__ = ["ResidentTests"]


class ResidentTests(Base):
    """A placed matrix gives what the one-shot call gives."""

    @statement(p=draw.products(batches=False), seed=draw.seeds(), which=st.integers(0, 3))
    def test_operator_products_are_within_the_bound(self, p: draw.Product, seed: Generator, which: int) -> None:
        plan = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype)
        z = draw.fill(seed, (p.A.shape[0],), p.x.dtype.newbyteorder("="), draw.normal)
        X, Z = (np.stack([one, one[::-1]], axis=1) for one in (p.x, z))
        with np.errstate(all="ignore"):
            forward = [exact_matvec(p.A, one) for one in X.T]
            transposed = [exact_matvec(p.A.T, one) for one in Z.T]
            adjoint = [exact_matvec(p.A.conj().T, one) for one in Z.T]
        workers = self.counts()[which % len(self.counts())]
        with self.computed(plan), operator(p.A, backend=self.backend, workers=workers) as op:
            require_close(op.matvec(p.x), forward[0], "matvec")
            require_close(op.rmatvec(z), adjoint[0], "rmatvec")
            require_close(op.T @ z, transposed[0], "T @")
            require_close(op.T.T.matvec(p.x), forward[0], "T.T")
            require_close(z @ op, transposed[0], "vector @ operator")
            for Y, exact in ((op @ X, forward), (op.rmatmat(Z), adjoint), (op.T @ Z, transposed)):
                require_close(Y[:, 0], exact[0], "matrix, first column")
                require_close(Y[:, 1], exact[1], "matrix, second column")

    @statement(p=draw.products(batches=False))
    def test_operator_gives_the_bits_of_the_one_shot_call(self, p: draw.Product) -> None:
        for workers, y in self.products(p.A, p.x).items():
            with operator(p.A, backend=self.backend, workers=workers) as op, np.errstate(all="ignore"), unchanged(p.A):
                require_same_bits(op.matvec(p.x), y, f"{workers} workers, first product")
                require_same_bits(op.matvec(p.x), y, f"{workers} workers, second product")
                require(op.stats().calls == 2, f"{op.stats().calls} calls counted instead of 2")

    @statement(p=draw.products())
    def test_place_multiply_close_is_what_a_call_means(self, p: draw.Product) -> None:
        plan = plan_matvec(p.A.shape, p.A.dtype, p.x.shape, p.x.dtype)
        for workers, y in self.products(p.A, p.x).items():
            out = poisoned(plan.shape, plan.dtype)
            with self.instance().place(p.A, workers) as resident, np.errstate(all="ignore"):
                resident.matvec(p.x, out)
            require_same_bits(out, y, f"{workers} workers")
            resident.close()

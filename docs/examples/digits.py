"""Eigenvectors of the kernel matrix of 1797 handwritten digits, on every backend that can run.

    python docs/examples/digits.py [FOLDER]     pictures go to FOLDER, default: demo

The matrix is placed once on each backend, SciPy's `eigsh` multiplies by it some dozens of times, and all backends
must find what NumPy finds. Exit status 1 if one does not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray
from rich.console import Console
from scipy.sparse.linalg import aslinearoperator, eigsh
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import Bunch

import parlinalg
from parlinalg.plot import durations, figure
from parlinalg.profile import last_level_cache

Array = NDArray[np.float64]

EIGENPAIRS = 4
TOLERANCE = 1e-8  # of eigenvalues, relative to the largest, and of the angle between the spaces of eigenvectors
SIZES = (16, 64, 256, 1000, 2000, 4000)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#000000", "#999999", "#B2182B")


def kernel_matrix(images: Array) -> Array:
    """The RBF kernel of all pairs of images, centred, so that its eigenvectors are those of kernel PCA."""
    K: Array = rbf_kernel(images, gamma=1 / (images.shape[1] * images.var()))
    means = K.mean(axis=0)
    K -= means + means[:, np.newaxis] - means.mean()
    return K


def leading_eigenpairs(K: Array, backend: str) -> tuple[Array, Array, int]:
    """Eigenvalues in descending order, eigenvectors, and how many products with K, placed once, it took."""
    start = np.random.default_rng(1797).random(len(K))
    with parlinalg.operator(K, backend=backend) as op:
        values, vectors = eigsh(aslinearoperator(op), k=EIGENPAIRS, v0=start)
        products = op.stats().calls
    # An eigenvector is right with either sign; the first image is to have positive coordinates.
    return values[::-1], (vectors * np.copysign(1, vectors[0]))[:, ::-1], products


def disagreement(values: Array, vectors: Array, K: Array) -> float:
    """How far eigenpairs are from NumPy's: difference of eigenvalues, or sine of the angle between the subspaces."""
    all_values, all_vectors = np.linalg.eigh(K)
    expected = all_vectors[:, ::-1][:, : len(values)]
    difference = np.abs(values - all_values[::-1][: len(values)]).max() / all_values[-1]
    sine = np.linalg.norm(vectors - expected @ (expected.T @ vectors), 2)
    return float(max(difference, sine))


def draw_digits(vectors: Array, digits: Any, path: Path) -> None:
    """A point for each image, at its components of the two leading eigenvectors; in frames the mean of each digit."""
    picture = figure(9, 7)
    axes = picture.add_subplot()
    first, second = vectors[:, 0], vectors[:, 1]
    for digit, colour in enumerate(COLOURS):
        of_digit = digits.target == digit
        axes.scatter(first[of_digit], second[of_digit], s=12, color=colour, alpha=0.55, linewidths=0, label=str(digit))
    for digit, colour in enumerate(COLOURS):
        centre = float(np.median(first[digits.target == digit])), float(np.median(second[digits.target == digit]))
        mean = digits.images[digits.target == digit].mean(axis=0)
        image = OffsetImage(mean, zoom=3.6, cmap="gray_r", interpolation="bicubic")
        axes.add_artist(AnnotationBbox(image, centre, pad=0.15, bboxprops={"edgecolor": colour, "linewidth": 2}))
    title = (
        f"{len(vectors)} handwritten digits: each point is an image; images that look alike lie close together.\n"
        "In frames, the mean image of each digit."
    )
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("component of the first eigenvector of the kernel matrix")
    axes.set_ylabel("component of the second eigenvector")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="digit", frameon=False, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    picture.savefig(path)


def solve_on_every_backend(K: Array, console: Console) -> tuple[Array, list[str]]:
    """The eigenvectors, and the names of the backends on which they are not NumPy's."""
    wrong = []
    for name, backend in parlinalg.backends().items():
        if not backend.available:
            continue
        start = time.perf_counter()
        values, vectors, products = leading_eigenpairs(K, name)
        seconds = time.perf_counter() - start
        far = disagreement(values, vectors, K)
        console.print(f"eigsh on {name}: {products} products, {seconds:.2f} s, differs from NumPy's eigh by {far:.0e}")
        wrong += [name] if not far <= TOLERANCE else []
    return vectors, wrong


def main(folder: Path, images: int | None = None, sizes: Sequence[int] = SIZES) -> int:
    """Run the demonstration on so many images (None: all); return the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    digits = load_digits()
    digits = Bunch(data=digits.data[:images], images=digits.images[:images], target=digits.target[:images])
    K = kernel_matrix(digits.data)
    vectors, wrong = solve_on_every_backend(K, console)

    product = parlinalg.compare(K, vectors[:, 0])
    console.print(product.table(f"\nOne product with the {len(K)} x {len(K)} kernel matrix ({K.nbytes / 1e6:.0f} MB)"))
    over_sizes = parlinalg.compare(sizes=sizes, quick=True)
    draw_digits(vectors, digits, folder / "digits.png")
    durations(over_sizes.rows, over_sizes.bandwidth, folder / "durations.png", cache=last_level_cache())
    console.print(f"\nPictures: {folder / 'digits.png'}, {folder / 'durations.png'}")

    wrong += [row.backend for row in (*product.disagreements, *over_sizes.disagreements)]
    for name in wrong:
        print(f"error: {name} does not agree with NumPy", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))

"""Eigenvectors of the kernel matrix of 1797 handwritten digits, on every backend that can run.

    python docs/examples/digits.py [FOLDER]     pictures go to FOLDER, default: demo

The matrix is placed once on each backend, SciPy's `eigsh` multiplies by it some dozens of times, and all backends
must find what NumPy finds. Exit status 1 if one does not.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.sparse.linalg import aslinearoperator, eigsh
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import rbf_kernel

import parlinalg
from parlinalg.plot import durations, figure
from parlinalg.profile import last_level_cache

Array = NDArray[np.float64]

EIGENPAIRS = 4
TOLERANCE = 1e-8  # of eigenvalues, relative to the largest, and of the angle between eigenvectors
SIZES = (16, 64, 256, 1000, 2000, 4000)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#000000", "#999999", "#B2182B")


def kernel_matrix(images: Array) -> Array:
    """The RBF kernel of all pairs of images, centred, so that its eigenvectors are those of kernel PCA."""
    K: Array = rbf_kernel(images, gamma=1 / (images.shape[1] * images.var()))
    means = K.mean(axis=0)
    return K - means - means[:, np.newaxis] + K.mean()


def leading_eigenpairs(K: Array, backend: str) -> tuple[Array, Array]:
    """Eigenvalues in descending order, and eigenvectors; K is placed once and multiplied by many times."""
    with parlinalg.operator(K, backend=backend) as op:
        values, vectors = eigsh(aslinearoperator(op), k=EIGENPAIRS, v0=np.ones(len(K)) + np.arange(len(K)) / len(K))
    return values[::-1], vectors[:, ::-1]


def disagreement(found: tuple[Array, Array], expected: tuple[Array, Array]) -> float:
    """The larger of the relative difference of eigenvalues, and one minus the cosine between eigenvectors."""
    values = np.abs(found[0] - expected[0]).max() / expected[0][0]
    cosines = np.abs(np.sum(found[1] * expected[1], axis=0))
    return float(max(values, np.abs(1 - cosines).max()))


def draw_digits(vectors: Array, digits: Any, path: Path) -> None:
    """Each image at its place in the plane of the two leading eigenvectors; a typical image of each digit as a picture."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    picture = figure(9, 7)
    axes = picture.add_subplot()
    first, second = vectors[:, 0], vectors[:, 1]
    for digit, colour in enumerate(COLOURS):
        of_digit = digits.target == digit
        axes.scatter(first[of_digit], second[of_digit], s=12, color=colour, alpha=0.55, linewidths=0, label=str(digit))
    for digit, colour in enumerate(COLOURS):
        centre = np.array([np.median(axis[digits.target == digit]) for axis in (first, second)])
        images = digits.images[digits.target == digit]
        typical = np.argmin(((images - images.mean(axis=0)) ** 2).sum(axis=(1, 2)))
        image = OffsetImage(images[typical], zoom=3.2, cmap="gray_r")
        axes.add_artist(AnnotationBbox(image, centre, pad=0.15, bboxprops={"edgecolor": colour, "linewidth": 2}))
    axes.set_title("1797 handwritten digits in the plane of two eigenvectors of their kernel matrix", loc="left")
    axes.set_xlabel("first eigenvector")
    axes.set_ylabel("second eigenvector")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="digit", frameon=False, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    picture.savefig(path)


def main(folder: Path) -> int:
    """Run the demonstration; return the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 120)
    digits = load_digits()
    K = kernel_matrix(digits.data)
    values, vectors = np.linalg.eigh(K)
    expected = values[::-1][:EIGENPAIRS], vectors[:, ::-1][:, :EIGENPAIRS]
    wrong = []
    for name, backend in parlinalg.backends().items():
        if not backend.available:
            continue
        far = disagreement(leading_eigenpairs(K, name), expected)
        console.print(f"eigsh on {name}: agrees with numpy.linalg.eigh to {far:.1e}", highlight=False)
        wrong += [name] if far > TOLERANCE else []

    x = vectors[:, -1].copy()
    result = parlinalg.compare(K, x)
    console.print(result.table(f"\nOne product with the {len(K)} x {len(K)} kernel matrix ({K.nbytes / 1e6:.0f} MB)"))
    wrong += [row.backend for row in result.disagreements]

    sizes = parlinalg.compare(sizes=SIZES, backends=["auto", *parlinalg.backends()], quick=True)
    draw_digits(expected[1], digits, folder / "digits.png")
    durations(sizes.rows, sizes.bandwidth, folder / "durations.png", cache=last_level_cache())
    console.print(f"\nPictures: {folder / 'digits.png'}, {folder / 'durations.png'}", highlight=False)
    for name in wrong:
        print(f"error: {name} does not agree with NumPy", file=sys.stderr)
    return 1 if wrong or sizes.disagreements else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))

"""Lanczos iteration: a tridiagonal picture of a symmetric matrix that is known by its products alone."""


import numpy as np
from array_api_compat import device, to_device
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

from probes.arrays import Array, norm
from probes.curvature.product import Product

# Below this many roundings of the largest product, what is left of a new direction is rounding alone.
_BREAKDOWN = 100


class Lanczos:
    """Tridiagonal picture of a Hessian on a growing orthonormal basis, one product a step.

    Where the span of one random start is exhausted, the next direction is a fresh random one: a block of
    its own. `_leaks[j]` is what step j found outside the basis and did not follow, or has yet to follow.
    """

    def __init__(self, product: Product, budget: int, rng: np.random.Generator) -> None:
        self.steps = 0
        self._product, self._rng = product, rng
        self._basis = product.namespace.empty(
            (budget, product.dim), dtype=product.like.dtype, device=device(product.like)
        )
        self._diagonal, self._coupling, self._leaks = np.zeros(budget), np.zeros(budget), np.zeros(budget)
        self._rest: Array = None
        self._largest_product = 0.0
        self._block = 0
        self._is_exhausted = True

    def step(self) -> None:
        """Spend one product and extend the picture by one row."""
        here = self.steps
        self._basis[here, ...] = self._next_direction()
        product, size = self._product(self._basis[here, ...])
        self._largest_product = max(self._largest_product, size)
        self.steps += 1
        self._rest, overlaps = self._outside(product)
        self._check_symmetry(overlaps)
        self._diagonal[here] = overlaps[here]
        self._leaks[here] = float(norm(self._rest))
        rounding = _BREAKDOWN * self._product.rounding * self._largest_product
        self._is_exhausted = bool(self._leaks[here] <= rounding)

    def has_converged(self, k: int, tol: float) -> bool:
        """Whether the k largest values are known to within ``tol``, copies of the same value included."""
        values, residuals = self.ritz_pairs()
        if (residuals[:k] > tol).any():
            return False
        if (self._block == 0 and not self._is_exhausted) or self.steps == self._product.dim:
            return True
        # A block holds each eigenvalue that is left once. The next one can hold nothing larger than the
        # largest of this one, so the k largest are complete when that is no larger than the last of them.
        largest, residual = self._largest_of_block()
        scale = np.abs(values).max()
        return residual <= tol * scale and largest <= values[k - 1] + tol * scale

    def ritz_pairs(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ritz values, largest first, and their residuals relative to the largest magnitude."""
        values, residuals = self._eigen(0)
        scale = np.abs(values).max()
        return values, residuals / (scale if scale > 0 else 1.0)

    def _largest_of_block(self) -> tuple[float, float]:
        values, residuals = self._eigen(self._block)
        return float(values[0]), float(residuals[0])

    def _eigen(self, start: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = slice(start, self.steps)
        values, vectors = eigh_tridiagonal(self._diagonal[rows], self._coupling[start : self.steps - 1])
        residuals = np.linalg.norm(self._leaks[rows, None] * vectors, axis=0)
        return values[::-1], residuals[::-1]

    def _outside(self, vector: Array) -> tuple[Array, NDArray[np.float64]]:
        """What is left of a vector outside the basis, and its overlaps with the basis."""
        namespace, basis = self._product.namespace, self._basis[: self.steps, ...]
        overlaps = namespace.matmul(basis, vector)
        vector = vector - namespace.matmul(overlaps, basis)
        # Once more: the first pass leaves its own rounding errors in the basis, the second none that count.
        vector = vector - namespace.matmul(namespace.matmul(basis, vector), basis)
        return vector, np.asarray(to_device(overlaps, "cpu"), dtype=np.float64)

    def _check_symmetry(self, overlaps: NDArray[np.float64]) -> None:
        expected = np.zeros(self.steps - 1)
        expected[-1:] = self._coupling[: self.steps - 1][-1:]
        self._product.check_symmetry(float(np.linalg.norm(overlaps[:-1] - expected)), self._largest_product)

    def _next_direction(self) -> Array:
        if self._is_exhausted:
            self._block = self.steps
            return self._fresh_direction()
        last = self.steps - 1
        self._coupling[last], self._leaks[last] = self._leaks[last], 0.0
        return self._rest / float(self._coupling[last])

    def _fresh_direction(self) -> Array:
        draw = self._product.give(self._rng.standard_normal(self._product.dim))
        direction, _ = self._outside(draw / float(norm(draw)))
        return direction / float(norm(direction))

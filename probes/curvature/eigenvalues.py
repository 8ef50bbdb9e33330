"""The eigenvalues at the ends of a Hessian's spectrum, with their vectors."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from array_api_compat import is_array_api_obj

from probes.arrays import Array, detached, namespace_of, norm
from probes.catalogue import probe
from probes.curvature.lanczos import Lanczos, Rank
from probes.curvature.product import Hvp, Product, Seed

# Beside earlier eigenvectors, the share of a random vector that lets a newcomer be seen.
_FRESH_SHARE = 0.1


class _Eigenvalues(NamedTuple):
    values: Array
    residuals: Array
    converged: bool
    products: int


class Eigenpairs(_Eigenvalues):
    """Eigenvalues of a Hessian with what tells how far to trust them.

    It unpacks as ``values, residuals, converged, products``.

    Attributes:
        values: The k eigenvalues, those asked for most first, shape ``(k,)``.
        residuals: ``‖H v - θ v‖`` of each over the largest ``|θ|`` among the Ritz values, shape ``(k,)``.
        converged: Whether all k residuals are within the tolerance.
        products: How many Hessian-vector products it took.
        vectors: The eigenvectors, one a row in the order of ``values``, orthonormal, shape ``(k, dim)``.
    """

    vectors: Array

    def __new__(cls, values: Array, residuals: Array, converged: bool, products: int, vectors: Array) -> Self:
        """The vectors are no part of the tuple."""
        found = super().__new__(cls, values, residuals, converged, products)
        found.vectors = vectors
        return found


@probe(
    unit="loss per squared weight",
    eats="hvp",
    cost="dear",
    source="Golub and Van Loan, Matrix Computations, 4th edition, 2013, chapter 10",
)
def top_eigenvalues(
    hvp: Hvp,
    dim: int,
    *,
    k: int = 5,
    tol: float = 1e-4,
    max_products: int | None = None,
    max_basis: int | None = None,
    copies: int = 1,
    start: Array | None = None,
    rng: Seed = None,
    like: Array | None = None,
) -> Eigenpairs:
    """The k largest eigenvalues of a Hessian, by Lanczos iteration with full re-orthogonalisation.

    The largest one is the sharpness: gradient descent bounces where it passes `stability_threshold`
    [2]. Largest means most positive, not largest in magnitude (`largest_magnitude_eigenvalues`), so a
    saddle's steepest way down does not pass for sharpness. Each value lies within its residual of an
    eigenvalue, once the residual is multiplied by the largest magnitude, and up to rounding.

    An eigenvalue that occurs several times is counted as often as it occurs where the iteration exhausts
    an invariant subspace (identity, low rank, zero). Where it converges before that, one random start meets
    each eigenvalue once [1], and two that agree to about ``tol`` may pass for one; with ``copies`` starts
    each is found up to so many times, for about half as many products more for each.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        k: How many eigenvalues, ``1 <= k < dim``.
        tol: Residual at which a value counts as converged.
        max_products: Products allowed, at least k; by default ``max(100, 20 * k)``.
        max_basis: Directions kept at a time, at least ``2 * k + 2``: memory is ``max_basis * dim`` numbers,
            and half as many again for a moment when the basis is full and starts again from its better
            half [3], at the price of more products. By default all are kept.
        copies: How many times an eigenvalue is found at most where no subspace is exhausted.
        start: Vectors near those looked for, one a row, as ``vectors`` of some steps ago, in the library of
            ``like``; they save products where the Hessian has changed little.
        rng: Generator or seed of the random starting vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        Values, largest first, with their residuals and vectors, all in the library of ``like``; whether
        all converged; and the products spent, never more than ``dim`` where all directions are kept. What
        has not converged comes back all the same, with the residuals that say so.

    Raises:
        ValueError: If a number, ``start`` or ``like`` is out of range, or ``hvp`` returns another shape or
            library, a non-finite entry, or products that no symmetric matrix has.

    Example:
        >>> found = top_eigenvalues(lambda v: np.array([3.0, 1.0, -10.0]) * v, 3, k=2, rng=0)
        >>> found.values.round(6).tolist(), found.converged, found.products
        ([3.0, 1.0], True, 3)
        >>> abs(found.vectors[0]).round(6).tolist()
        [1.0, 0.0, 0.0]

    References:
        [1] Golub and Van Loan, "Matrix Computations", 4th edition, 2013, chapter 10.
        [2] Cohen et al., "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability",
            2021, arXiv:2103.00065.
        [3] Wu and Simon, "Thick-restart Lanczos method for large symmetric eigenvalue problems", 2000.
    """
    search = _Search("top_eigenvalues", np.positive, k, tol, max_products, max_basis, copies)
    return search.run(hvp, dim, start, rng, like)


@probe(
    unit="loss per squared weight",
    eats="hvp",
    cost="dear",
    source="Golub and Van Loan, Matrix Computations, 4th edition, 2013, chapter 10",
)
def bottom_eigenvalues(
    hvp: Hvp,
    dim: int,
    *,
    k: int = 5,
    tol: float = 1e-4,
    max_products: int | None = None,
    max_basis: int | None = None,
    copies: int = 1,
    start: Array | None = None,
    rng: Seed = None,
    like: Array | None = None,
) -> Eigenpairs:
    """The k smallest eigenvalues of a Hessian: the most negative ones where there are such.

    A negative one with its vector is a way down that the gradient does not show: the point is a saddle or
    on its way past one [1]. Training rarely leaves all of them at 0 or above, so a small negative value
    beside a large `top_eigenvalues` is no fault. Where none is negative they crowd at zero, which takes
    many products and tells little. Copies and clusters are met as in `top_eigenvalues`.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        k: How many eigenvalues, ``1 <= k < dim``.
        tol: Residual at which a value counts as converged, relative to the largest magnitude.
        max_products: Products allowed, at least k; by default ``max(100, 20 * k)``.
        max_basis: Directions kept at a time, at least ``2 * k + 2``; all by default.
        copies: How many times an eigenvalue is found at most where no subspace is exhausted.
        start: Vectors near those looked for, one a row, in the library of ``like``.
        rng: Generator or seed of the random starting vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        Values, smallest first, with their residuals and vectors; as from `top_eigenvalues`.

    Raises:
        ValueError: As `top_eigenvalues`.

    Example:
        >>> found = bottom_eigenvalues(lambda v: np.array([3.0, 1.0, -10.0]) * v, 3, k=2, rng=0)
        >>> found.values.round(6).tolist()
        [-10.0, 1.0]

    References:
        [1] Dauphin et al., "Identifying and attacking the saddle point problem in high-dimensional
            non-convex optimization", 2014, arXiv:1406.2572.
    """
    search = _Search("bottom_eigenvalues", np.negative, k, tol, max_products, max_basis, copies)
    return search.run(hvp, dim, start, rng, like)


@probe(
    unit="loss per squared weight",
    eats="hvp",
    cost="dear",
    source="Golub and Van Loan, Matrix Computations, 4th edition, 2013, chapter 10",
)
def largest_magnitude_eigenvalues(
    hvp: Hvp,
    dim: int,
    *,
    k: int = 5,
    tol: float = 1e-4,
    max_products: int | None = None,
    max_basis: int | None = None,
    copies: int = 1,
    start: Array | None = None,
    rng: Seed = None,
    like: Array | None = None,
) -> Eigenpairs:
    """The k eigenvalues of a Hessian that are largest in magnitude, of either sign.

    The first is, without its sign, the spectral norm: how much a gradient may change over a small step
    at most. It is what power iteration finds, and other tools report under the name of the largest
    eigenvalue; it says nothing of stability where it is negative, for `stability_threshold` asks for
    `top_eigenvalues`. Copies and clusters are met as there [1].

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        k: How many eigenvalues, ``1 <= k < dim``.
        tol: Residual at which a value counts as converged.
        max_products: Products allowed, at least k; by default ``max(100, 20 * k)``.
        max_basis: Directions kept at a time, at least ``2 * k + 2``; all by default.
        copies: How many times an eigenvalue is found at most where no subspace is exhausted.
        start: Vectors near those looked for, one a row, in the library of ``like``.
        rng: Generator or seed of the random starting vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        Values with their signs, largest magnitude first, with their residuals and vectors; as from
        `top_eigenvalues`.

    Raises:
        ValueError: As `top_eigenvalues`.

    Example:
        >>> found = largest_magnitude_eigenvalues(lambda v: np.array([3.0, 1.0, -10.0]) * v, 3, k=2, rng=0)
        >>> found.values.round(6).tolist()
        [-10.0, 3.0]

    References:
        [1] Golub and Van Loan, "Matrix Computations", 4th edition, 2013, chapters 7 and 10.
    """
    search = _Search("largest_magnitude_eigenvalues", np.abs, k, tol, max_products, max_basis, copies)
    return search.run(hvp, dim, start, rng, like)


@dataclass(frozen=True)
class _Search:
    """Lanczos iteration until the k values of highest rank are known."""

    caller: str
    rank: Rank
    k: int
    tol: float
    max_products: int | None
    max_basis: int | None
    copies: int

    def run(self, hvp: Hvp, dim: int, start: Array | None, seed: Seed, like: Array | None) -> Eigenpairs:
        """What a caller's function returns."""
        budget, room = self._checked(dim)
        product, rng = Product(self.caller, hvp, dim, like), np.random.default_rng(seed)
        lanczos = Lanczos(product, room, rng, self._starts(product, start, rng))
        is_complete = False
        while not is_complete and product.count < budget and lanczos.steps < dim:
            if lanczos.is_full:
                lanczos.restart(self.rank, self.k)
            lanczos.step()
            # A look costs more the larger the picture; one at every fiftieth of the way is in time still.
            is_due = lanczos.steps >= self.k and product.count % (1 + lanczos.steps // 50) == 0
            is_complete = is_due and self._is_complete(lanczos)
        return self._result(product, lanczos)

    def _result(self, product: Product, lanczos: Lanczos) -> Eigenpairs:
        ritz = lanczos.ritz(self.rank)
        scale = np.abs(ritz.values).max()
        return Eigenpairs(
            product.give(ritz.values[: self.k]),
            product.give(ritz.residuals[: self.k] / (scale if scale > 0 else 1.0)),
            self._is_complete(lanczos),
            product.count,
            lanczos.vectors(ritz.weights[:, : self.k]),
        )

    def _is_complete(self, lanczos: Lanczos) -> bool:
        """Whether the k values are known to within the tolerance, copies of the same value included."""
        ritz = lanczos.ritz(self.rank)
        allowed = self.tol * np.abs(ritz.values).max()
        if (ritz.residuals[: self.k] > allowed).any():
            return False
        if (lanczos.block == 0 and not lanczos.is_exhausted) or lanczos.is_whole:
            return True
        # A block holds each eigenvalue that is left once. The next one can hold none of higher rank than the
        # best of this one, so the k best are complete when that ranks no higher than the last of them.
        latest = lanczos.ritz(self.rank, lanczos.block)
        lead = self.rank(latest.values[0]) - self.rank(ritz.values[self.k - 1])
        return bool(latest.residuals[0] <= allowed and lead <= allowed)

    def _starts(self, product: Product, start: Array | None, rng: np.random.Generator) -> list[Array]:
        starts = [product.draw(rng) for _ in range(self.copies)]
        if start is not None:
            starts[0] = self._mixed(product, start) + _FRESH_SHARE * starts[0]
        return starts

    def _mixed(self, product: Product, start: Array) -> Array:
        """Earlier vectors as one, those that come last weighed most: they are the slowest to converge."""
        self._check_start(product, start)
        rows = product.namespace.astype(detached(start), product.like.dtype)
        mixed = product.namespace.matmul(product.give(np.arange(1.0, len(rows) + 1)), rows)
        size = float(norm(mixed))
        return mixed / size if size > 0 else mixed

    def _checked(self, dim: int) -> tuple[int, int]:
        """Products allowed, and directions to keep at a time."""
        k = self.k
        if not 1 <= k < dim:
            raise ValueError(
                f"{self.caller} needs 1 <= k < dim, got k={k} and dim={dim}; "
                f"use numpy.linalg.eigvalsh on the dense matrix for the whole spectrum"
            )
        if not self.tol > 0:
            raise ValueError(
                f"{self.caller} needs a tolerance above 0, got tol={self.tol}; use 1e-4, or 1e-10 in float64"
            )
        if self.copies < 1:
            raise ValueError(
                f"{self.caller} needs copies >= 1, got copies={self.copies}; use 1, or 2 to see pairs"
            )
        budget = max(100, 20 * k) if self.max_products is None else self.max_products
        if budget < k:
            raise ValueError(
                f"{self.caller} needs max_products >= k, got max_products={budget} and k={k}; "
                f"allow several products per eigenvalue, or leave max_products out"
            )
        room = budget if self.max_basis is None else self.max_basis
        if self.max_basis is not None and room < 2 * k + 2:
            raise ValueError(
                f"{self.caller} needs max_basis >= 2 * k + 2, got max_basis={room} and k={k}; "
                f"4 * k or more spare many products"
            )
        return budget, min(room, budget, dim)

    def _check_start(self, product: Product, start: Any) -> None:
        fits = is_array_api_obj(start) and namespace_of(start) is product.namespace
        shape = tuple(start.shape) if hasattr(start, "shape") else None
        if not (fits and shape is not None and len(shape) == 2 and shape[1] == product.dim):
            kind = f"{type(start).__module__}.{type(start).__qualname__}"
            raise ValueError(
                f"{self.caller} needs start to hold vectors of shape ({product.dim},), one a row, in the "
                f"library of like, got {kind} of shape {shape}; give the vectors of an earlier call"
            )
        if not bool(product.namespace.all(product.namespace.isfinite(start))):
            raise ValueError(
                f"{self.caller} needs a finite start, got NaN or infinity in it; leave start out"
            )

"""The eigenvalues at the ends of a Hessian's spectrum."""

from typing import NamedTuple

import numpy as np

from probes.arrays import Array
from probes.catalogue import probe
from probes.curvature.lanczos import Lanczos
from probes.curvature.product import Hvp, Product, Seed


class TopEigenvalues(NamedTuple):
    """What `top_eigenvalues` finds.

    Attributes:
        values: The k largest eigenvalues, largest first, shape ``(k,)``.
        residuals: ``‖H v - θ v‖`` of each over the largest ``|θ|`` among the Ritz values, shape ``(k,)``.
        converged: Whether all k residuals are within the tolerance.
        products: How many Hessian-vector products it took.
    """

    values: Array
    residuals: Array
    converged: bool
    products: int


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
    rng: Seed = None,
    like: Array | None = None,
) -> TopEigenvalues:
    """The k largest eigenvalues of a Hessian, by Lanczos iteration with full re-orthogonalisation.

    The largest one is the sharpness: gradient descent bounces where it passes `stability_threshold`
    [2]. Largest means most positive, not largest in magnitude, so a saddle's steepest way down does not
    pass for sharpness. Each value lies within its residual of an eigenvalue, once the residual is
    multiplied by the largest magnitude, and up to rounding. An eigenvalue that occurs several times is
    counted as often as it occurs where the iteration exhausts an invariant subspace (identity, low rank,
    zero), but may be found once only where it converges before that [1].

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        k: How many eigenvalues, ``1 <= k < dim``.
        tol: Residual at which a value counts as converged.
        max_products: Products allowed, at least k; by default ``max(100, 20 * k)``. Never more than
            ``dim`` are needed. All directions are kept: memory is ``max_products * dim`` numbers.
        rng: Generator or seed of the random starting vector.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        Values, largest first, with their residuals, both in the library of ``like``; whether all
        converged; and the products spent. What has not converged comes back all the same, with the
        residuals that say so.

    Raises:
        ValueError: If k, ``tol``, ``max_products`` or ``like`` is out of range, or ``hvp`` returns another
            shape or library, a non-finite entry, or products that no symmetric matrix has.

    Example:
        >>> found = top_eigenvalues(lambda v: np.array([3.0, 1.0, -10.0]) * v, 3, k=2, rng=0)
        >>> found.values.round(6).tolist(), found.converged, found.products
        ([3.0, 1.0], True, 3)

    References:
        [1] Golub and Van Loan, "Matrix Computations", 4th edition, 2013, chapter 10.
        [2] Cohen et al., "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability",
            2021, arXiv:2103.00065.
    """
    if not 1 <= k < dim:
        raise ValueError(
            f"top_eigenvalues needs 1 <= k < dim, got k={k} and dim={dim}; "
            f"use numpy.linalg.eigvalsh on the dense matrix for the whole spectrum"
        )
    budget = _checked_budget(k, dim, max_products)
    _check_tolerance(tol)
    product = Product("top_eigenvalues", hvp, dim, like)
    lanczos = Lanczos(product, budget, np.random.default_rng(rng))
    converged = False
    while lanczos.steps < budget and not converged:
        lanczos.step()
        converged = lanczos.steps >= k and lanczos.has_converged(k, tol)
    values, residuals = lanczos.ritz_pairs()
    return TopEigenvalues(product.give(values[:k]), product.give(residuals[:k]), converged, product.count)


def _checked_budget(k: int, dim: int, max_products: int | None) -> int:
    budget = max(100, 20 * k) if max_products is None else max_products
    if budget < k:
        raise ValueError(
            f"top_eigenvalues needs max_products >= k, got max_products={budget} and k={k}; "
            f"allow several products per eigenvalue, or leave max_products out"
        )
    return min(budget, dim)


def _check_tolerance(tol: float) -> None:
    if not tol > 0:
        raise ValueError(
            f"top_eigenvalues needs a tolerance above 0, got tol={tol}; use 1e-4, or 1e-10 in float64"
        )

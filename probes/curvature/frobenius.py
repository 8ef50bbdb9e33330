"""Frobenius norm of a Hessian from products with random sign vectors."""

from typing import NamedTuple

import numpy as np

from probes.arrays import Array, norm
from probes.catalogue import probe
from probes.curvature.product import Hvp, Product, Seed
from probes.curvature.sampling import check_samples, mean_with_error, sign_images


class FrobeniusNorm(NamedTuple):
    """What `frobenius_norm` and `squared_frobenius_norm` find.

    Attributes:
        value: Estimate of the norm, or of its square, 0-d.
        standard_error: Its standard error, 0-d.
        products: How many Hessian-vector products it took.
    """

    value: Array
    standard_error: Array
    products: int


@probe(
    unit="squared loss per fourth power of weight",
    eats="hvp",
    cost="dear",
    source="Hutchinson, A stochastic estimator of the trace of the influence matrix, 1989",
)
def squared_frobenius_norm(
    hvp: Hvp, dim: int, *, samples: int = 100, rng: Seed = None, like: Array | None = None
) -> FrobeniusNorm:
    """Sum of the squares of all entries of a Hessian, estimated from random sign vectors.

    It is also the sum of the squares of all eigenvalues: curvature of either sign adds to it where it
    cancels in `trace`. It is the mean of the squared norm of ``H z`` over random signs z [1]: no bias, and no
    error where the Hessian is diagonal. A few large eigenvalues rule it. Where one does, the samples are
    skewed, and an estimate that is too small comes with a standard error that is too small.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        samples: Random vectors, one product each; at least 2.
        rng: Generator or seed of the random vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        The estimate, at least 0, with its standard error, both 0-d in the library of ``like``, and the
        products spent.

    Raises:
        ValueError: If ``dim``, ``samples`` or ``like`` is out of range, or ``hvp`` returns another shape or
            library, a non-finite entry, or products that no symmetric matrix has.

    Example:
        >>> found = squared_frobenius_norm(lambda v: np.array([3.0, 0.0, -4.0]) * v, 3, rng=0)
        >>> float(found.value), float(found.standard_error), found.products
        (25.0, 0.0, 100)

    References:
        [1] Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
            splines", 1989; the trace here is that of the squared Hessian.
    """
    product, mean, error = _mean_square("squared_frobenius_norm", hvp, dim, samples, rng, like)
    return _given(product, mean, error)


@probe(
    unit="loss per squared weight",
    eats="hvp",
    cost="dear",
    source="Hutchinson, A stochastic estimator of the trace of the influence matrix, 1989",
)
def frobenius_norm(
    hvp: Hvp, dim: int, *, samples: int = 100, rng: Seed = None, like: Array | None = None
) -> FrobeniusNorm:
    """Frobenius norm of a Hessian: the root of `squared_frobenius_norm`, in the unit of an eigenvalue.

    No eigenvalue is larger in magnitude, and over the root of ``dim`` it is the root mean square of all of
    them. Taking the root makes the estimate a little too small on average, by about half its squared
    standard error over the norm.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        samples: Random vectors, one product each; at least 2.
        rng: Generator or seed of the random vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        The estimate, at least 0, with its standard error to first order, both 0-d in the library of
        ``like``, and the products spent.

    Raises:
        ValueError: If ``dim``, ``samples`` or ``like`` is out of range, or ``hvp`` returns another shape or
            library, a non-finite entry, or products that no symmetric matrix has.

    Example:
        >>> found = frobenius_norm(lambda v: np.array([3.0, 0.0, -4.0]) * v, 3, rng=0)
        >>> float(found.value), float(found.standard_error), found.products
        (5.0, 0.0, 100)

    References:
        Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
        splines", 1989.
    """
    product, mean, error = _mean_square("frobenius_norm", hvp, dim, samples, rng, like)
    root = float(np.sqrt(mean))
    return _given(product, root, error / (2 * root) if root > 0 else 0.0)


def _mean_square(
    caller: str, hvp: Hvp, dim: int, samples: int, rng: Seed, like: Array | None
) -> tuple[Product, float, float]:
    check_samples(caller, dim, samples)
    product = Product(caller, hvp, dim, like)
    images = sign_images(product, samples, np.random.default_rng(rng))
    return product, *mean_with_error([float(norm(image)) ** 2 for _, image in images])


def _given(product: Product, value: float, error: float) -> FrobeniusNorm:
    return FrobeniusNorm(product.give(np.asarray(value)), product.give(np.asarray(error)), product.count)

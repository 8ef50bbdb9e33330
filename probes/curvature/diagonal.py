"""Diagonal of a Hessian from products with random sign vectors."""

from typing import NamedTuple

import numpy as np

from probes.arrays import Array
from probes.catalogue import probe
from probes.curvature.product import Hvp, Product, Seed
from probes.curvature.sampling import check_samples, sign_images


class HessianDiagonal(NamedTuple):
    """What `hessian_diagonal` finds.

    Attributes:
        values: Estimate of each diagonal entry, shape ``(dim,)``.
        standard_errors: The standard error of each, shape ``(dim,)``.
        products: How many Hessian-vector products it took.
    """

    values: Array
    standard_errors: Array
    products: int


@probe(
    unit="loss per squared weight",
    eats="hvp",
    cost="dear",
    source="Bekas, Kokiopoulou and Saad, An estimator for the diagonal of a matrix, 2007",
)
def hessian_diagonal(
    hvp: Hvp, dim: int, *, samples: int = 100, rng: Seed = None, like: Array | None = None
) -> HessianDiagonal:
    """Diagonal of a Hessian, estimated from random sign vectors z as the mean of ``z * H z``.

    The curvature along each weight alone: what a preconditioner that scales each weight by itself can
    know, and which weights are sharp. The estimate has no bias [1] and is exact where the Hessian is
    diagonal. The variance of an entry is the sum of squares of the others in its row over ``samples``, so
    that a small entry in a strong row drowns in noise: read each with its standard error.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        samples: Random vectors, one product each; at least 2.
        rng: Generator or seed of the random vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        The estimates with their standard errors, in the library of ``like``, and the products spent.

    Raises:
        ValueError: If ``dim``, ``samples`` or ``like`` is out of range, or ``hvp`` returns another shape or
            library, a non-finite entry, or products that no symmetric matrix has.

    Example:
        >>> found = hessian_diagonal(lambda v: np.array([3.0, 1.0, -10.0]) * v, 3, rng=0)
        >>> found.values.tolist(), found.standard_errors.tolist(), found.products
        ([3.0, 1.0, -10.0], [0.0, 0.0, 0.0], 100)

    References:
        [1] Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", 2007.
    """
    check_samples("hessian_diagonal", dim, samples)
    product = Product("hessian_diagonal", hvp, dim, like)
    mean = product.give(np.zeros(dim))
    squares = product.give(np.zeros(dim))
    images = sign_images(product, samples, np.random.default_rng(rng))
    # Welford's running mean: the squares of deviations, unlike those of the entries, lose no digits.
    for count, (signs, image) in enumerate(images, start=1):
        entry = signs * image
        deviation = entry - mean
        mean = mean + deviation / count
        squares = squares + deviation * (entry - mean)
    errors = (squares / (samples * (samples - 1))) ** 0.5
    return HessianDiagonal(mean, errors, product.count)

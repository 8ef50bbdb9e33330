"""Trace of a Hessian from products with random vectors."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.arrays import Array
from probes.catalogue import probe
from probes.curvature.product import Hvp, Product, Seed


class Trace(NamedTuple):
    """What `trace` finds.

    Attributes:
        value: Estimate of the trace, 0-d.
        standard_error: Its standard error, 0-d.
        products: How many Hessian-vector products it took.
    """

    value: Array
    standard_error: Array
    products: int


@probe(
    unit="loss per squared weight",
    eats="hvp",
    cost="dear",
    source="Hutchinson, A stochastic estimator of the trace of the influence matrix, 1989",
)
def trace(hvp: Hvp, dim: int, *, samples: int = 100, rng: Seed = None, like: Array | None = None) -> Trace:
    """Trace of a Hessian, estimated from random sign vectors.

    The sum of all eigenvalues: the curvature met by a step in a random direction, where the largest
    eigenvalue tells of the worst one. The estimate has no bias [1]; its error falls with the square
    root of ``samples`` and is zero for a diagonal Hessian. Positive and negative curvature cancel, so a
    small trace is no flat loss.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        samples: Random vectors, one product each; at least 2.
        rng: Generator or seed of the random vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        The estimate with its standard error, both 0-d in the library of ``like``, and the products spent.

    Raises:
        ValueError: If ``dim``, ``samples`` or ``like`` is out of range, or ``hvp`` returns another shape or
            library, a non-finite entry, or products that no symmetric matrix has.

    Example:
        >>> found = trace(lambda v: np.array([3.0, 1.0, -10.0]) * v, 3, rng=0)
        >>> float(found.value), float(found.standard_error), found.products
        (-6.0, 0.0, 100)

    References:
        [1] Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
            splines", 1989.
    """
    if dim < 1 or samples < 2:
        raise ValueError(
            f"trace needs dim >= 1 and samples >= 2, got dim={dim} and samples={samples}; "
            f"take 2 samples or more, for one alone has no standard error"
        )
    product = Product("trace", hvp, dim, like)
    forms = _quadratic_forms(product, samples, np.random.default_rng(rng))
    error = forms.std(ddof=1) / math.sqrt(samples)
    return Trace(product.give(forms.mean()), product.give(error), product.count)


def _quadratic_forms(product: Product, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """``<z, H z>`` for random sign vectors z, with the symmetry checked on the first two."""
    dot = product.namespace.matmul
    forms = np.empty(samples)
    first: tuple[Array, Array, float] | None = None
    for sample in range(samples):
        signs = product.give(rng.integers(0, 2, product.dim, dtype=np.int8) * 2 - 1)
        image, size = product(signs)
        forms[sample] = float(dot(signs, image))
        if first is None:
            first = signs, image, size
        elif sample == 1:
            other_signs, other_image, other_size = first
            difference = abs(float(dot(signs, other_image) - dot(other_signs, image)))
            product.check_symmetry(difference, max(size, other_size) * math.sqrt(product.dim))
    return forms

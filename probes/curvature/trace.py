"""Trace of a Hessian from products with random vectors: three estimators, each with its standard error."""

import math
from typing import NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from probes.arrays import Array
from probes.catalogue import probe
from probes.curvature.product import Hvp, Product, Seed
from probes.curvature.sampling import (
    check_budget,
    check_samples,
    images_of,
    mean_with_error,
    on_host,
    random_signs,
    sign_images,
)

Numbers: TypeAlias = NDArray[np.intp]

# Below this many roundings of the largest, what a sketch of H spans is rounding alone.
_BREAKDOWN = 100


class _Estimate(NamedTuple):
    value: Array
    standard_error: Array


class Trace(_Estimate):
    """What `trace`, `hutch_pp_trace` and `xtrace` find; it unpacks as ``value, standard_error``.

    Attributes:
        value: Estimate of the trace, 0-d.
        standard_error: Its standard error, 0-d. The truth is within 1.96 of them in 95 cases of 100 from some
            30 samples on; fewer need Student's quantile in place of 1.96.
        products: How many Hessian-vector products it took.
    """

    products: int

    def __new__(cls, value: Array, standard_error: Array, products: int) -> Self:
        """The products are no part of the tuple."""
        found = super().__new__(cls, value, standard_error)
        found.products = products
        return found


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
    check_samples("trace", dim, samples)
    product = Product("trace", hvp, dim, like)
    images = sign_images(product, samples, np.random.default_rng(rng))
    forms = [float(product.namespace.matmul(signs, image)) for signs, image in images]
    return _given(product, *mean_with_error(forms))


@probe(
    unit="loss per squared weight",
    eats="hvp",
    cost="dear",
    source="Meyer et al., Hutch++: Optimal Stochastic Trace Estimation, 2021",
)
def hutch_pp_trace(
    hvp: Hvp, dim: int, *, max_products: int = 99, rng: Seed = None, like: Array | None = None
) -> Trace:
    """Trace of a Hessian by Hutch++: exact on a sketch of its range, random signs on the rest.

    A third of the products finds where the Hessian is large, a third reads its trace there, and a third
    samples what is left over. Where few eigenvalues make up most of the Hessian, as in a trained
    classifier, the error falls with the number of products and no longer with its square root [1]. It
    gains nothing over `trace` on a flat spectrum, where two thirds of the products are spent in vain, and
    holds about ``max_products`` vectors at once, where `trace` holds a few.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        max_products: Products allowed, at least 6; what three does not divide is left over, and a matrix
            smaller than a third of them needs fewer.
        rng: Generator or seed of the random vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        The estimate, which has no bias, with its standard error given the sketch, both 0-d in the library
        of ``like``; and the products spent.

    Raises:
        ValueError: If ``dim``, ``max_products`` or ``like`` is out of range, or ``hvp`` returns another
            shape or library, a non-finite entry, or products that no symmetric matrix has.

    Example:
        >>> low_rank = np.outer([3.0, 0.0, 4.0], [3.0, 0.0, 4.0])
        >>> found = hutch_pp_trace(lambda v: low_rank @ v, 3, max_products=6, rng=0)
        >>> round(float(found.value), 12), bool(found.standard_error < 1e-12), found.products
        (25.0, True, 6)

    References:
        [1] Meyer, Musco, Musco and Woodruff, "Hutch++: Optimal Stochastic Trace Estimation", 2021,
            arXiv:2010.09649.
    """
    check_budget("hutch_pp_trace", dim, max_products, least=6)
    product = Product("hutch_pp_trace", hvp, dim, like)
    matmul, draws = product.namespace.matmul, np.random.default_rng(rng)
    third = max_products // 3
    basis = _sketch(product, min(third, dim), draws)
    inside = sum(_form(product, direction) for direction in basis)
    outside = []
    for _ in range(third):
        signs = random_signs(product, draws)
        outside.append(_form(product, signs - matmul(matmul(basis, signs), basis)))
    mean, error = mean_with_error(outside)
    return _given(product, inside + mean, error)


@probe(
    unit="loss per squared weight",
    eats="hvp",
    cost="dear",
    source="Epperly, Tropp and Webber, XTrace: Making the Most of Every Sample in Stochastic Trace Estimation, 2024",
)
def xtrace(
    hvp: Hvp, dim: int, *, max_products: int = 100, rng: Seed = None, like: Array | None = None
) -> Trace:
    """Trace of a Hessian by XTrace: every random vector serves the sketch and samples the rest.

    Each vector in turn samples what the sketch of all others leaves over, and the estimate is the mean of
    these, so that no product serves one purpose alone [1]. Where the eigenvalues decay it beats `trace` by
    orders of magnitude, and `hutch_pp_trace` severalfold at the same number of products; on a flat
    spectrum it does about as well as `trace` with half the samples. The estimates share their vectors, so
    that the spread among them, the error of [1], is too small by up to a third: the standard error here
    adds their covariance. About ``2 * max_products`` vectors are held at the peak.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        max_products: Products allowed, at least 8, two a random vector; a matrix of low rank or with
            fewer weights takes fewer.
        rng: Generator or seed of the random vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        The estimate, which has no bias, with its standard error, both 0-d in the library of ``like``; and
        the products spent.

    Raises:
        ValueError: If ``dim``, ``max_products`` or ``like`` is out of range, or ``hvp`` returns another
            shape or library, a non-finite entry, or products that no symmetric matrix has.

    Example:
        >>> low_rank = np.outer([3.0, 0.0, 4.0], [3.0, 0.0, 4.0])
        >>> found = xtrace(lambda v: low_rank @ v, 3, max_products=8, rng=0)
        >>> round(float(found.value), 12), bool(found.standard_error < 1e-12), found.products
        (25.0, True, 4)

    References:
        [1] Epperly, Tropp and Webber, "XTrace: Making the Most of Every Sample in Stochastic Trace
            Estimation", 2024, arXiv:2301.07825.
    """
    check_budget("xtrace", dim, max_products, least=8)
    product = Product("xtrace", hvp, dim, like)
    count = min(max_products // 2, dim)
    vectors = product.give(np.random.default_rng(rng).standard_normal((count, dim)))
    sketch = _sketch_of(product, vectors)
    if count == dim:  # As many vectors as weights span all that there is.
        return _given(product, np.trace(sketch.core), 0.0)
    each = np.arange(count)[:, None]
    mean, error = mean_with_error(sketch.estimates(each, without=each)[:, 0])
    return _given(product, mean, math.sqrt(error**2 + max(_covariance(sketch), 0.0)))


def _given(product: Product, value: float, error: float) -> Trace:
    return Trace(product.give(np.asarray(value)), product.give(np.asarray(error)), product.count)


def _form(product: Product, vector: Array) -> float:
    return float(product.namespace.matmul(vector, product(vector)[0]))


def _sketch(product: Product, count: int, rng: np.random.Generator) -> Array:
    """Orthonormal rows that span the images of random sign vectors."""
    namespace = product.namespace
    vectors = namespace.stack([random_signs(product, rng) for _ in range(count)])
    return namespace.linalg.qr(images_of(product, vectors).T)[0].T


class _Sketch(NamedTuple):
    """What the images of some random vectors span; a column for each of them."""

    core: NDArray[np.float64]  # H on an orthonormal basis of the span.
    shadows: NDArray[np.float64]  # The vectors on it.
    coordinates: NDArray[np.float64]  # Their images on it.
    out: NDArray[np.float64]  # The direction that leaves the span with each.
    forms: NDArray[np.float64]
    squares: NDArray[np.float64]
    dimensions_outside: int

    def estimates(self, sampling: Numbers, without: Numbers) -> NDArray[np.float64]:
        """Trace on the sketch without some vectors, plus what each of the sampling ones meets of the rest.

        Vectors go by their numbers; each row of ``sampling`` and ``without`` is a case of its own.
        """
        gone = np.linalg.qr(self.out.T[without].mT)[0][..., : without.shape[1] if self.out.any() else 0]
        shadows, images = self.shadows.T[sampling].mT, self.coordinates.T[sampling].mT
        shadows = shadows - gone @ (gone.mT @ shadows)
        inside = np.trace(self.core) - _columnwise(gone, self.core @ gone).sum(axis=-1)
        outside = self.forms[sampling] + _columnwise(shadows, self.core @ shadows - 2 * images)
        # What is left of a normal vector has a direction without preference but a length by chance; at the
        # length that it has on average, the identity comes out exactly.
        length = self.squares[sampling] - _columnwise(shadows, shadows)
        lengthened = outside * (self.dimensions_outside + gone.shape[-1])
        # A vector that the sketch holds meets nothing of the rest, be it that the matrix is made of it.
        is_outside = length > _BREAKDOWN * np.finfo(np.float64).eps * self.squares[sampling]
        return inside[:, None] + np.divide(lengthened, length, out=np.zeros_like(length), where=is_outside)


def _sketch_of(product: Product, vectors: Array) -> _Sketch:
    matmul = product.namespace.matmul
    images = images_of(product, vectors)
    basis, coordinates = _range(product, images)
    return _Sketch(
        core=on_host(matmul(basis, images_of(product, basis).T)),
        shadows=on_host(matmul(basis, vectors.T)),
        coordinates=coordinates,
        out=_directions_out(coordinates),
        forms=np.diag(on_host(matmul(vectors, images.T))),
        squares=np.diag(on_host(matmul(vectors, vectors.T))),
        dimensions_outside=product.dim - len(coordinates),
    )


def _covariance(sketch: _Sketch) -> float:
    """Covariance of two estimates that each have the other's vector in their sketch.

    Let ``h(a, b)`` be the estimate of b with a in its sketch. Given the rest of the sketch, its mean over b
    is the trace whatever a is, so that ``h(a, b)`` and ``h(b, a)`` vary together by what depends on both of
    their vectors at once. Crosswise differences over four vectors keep that part and nothing else.
    """
    a, b, c, d = (np.roll(np.arange(len(sketch.forms)), -step) for step in range(4))
    there = _estimates(sketch, [b, d], [b, c, d]) - _estimates(sketch, [b, d], [a, b, d])
    back = _estimates(sketch, [a, c], [a, c, d]) - _estimates(sketch, [a, c], [a, b, c])
    return float(np.mean(np.diff(there) * np.diff(back))) / 4


def _estimates(sketch: _Sketch, sampling: list[Numbers], without: list[Numbers]) -> NDArray[np.float64]:
    return sketch.estimates(np.stack(sampling, axis=1), np.stack(without, axis=1))


def _range(product: Product, images: Array) -> tuple[Array, NDArray[np.float64]]:
    """Orthonormal rows that span the images, and the images' coordinates on them as columns."""
    orthogonal, triangle = product.namespace.linalg.qr(images.T)
    left, sizes, right = np.linalg.svd(on_host(triangle))
    rank = int((sizes > _BREAKDOWN * product.rounding * sizes[0]).sum())
    basis = product.namespace.matmul(product.give(left[:, :rank].T), orthogonal.T)
    return basis, sizes[:rank, None] * right[:rank]


def _directions_out(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """As columns, the direction that leaves the span of the coordinates with each of them; 0 where none does."""
    rank, count = coordinates.shape
    if rank < count:  # The others span the range of a matrix of low rank without it.
        return np.zeros_like(coordinates)
    directions = np.linalg.inv(coordinates).T
    return directions / np.linalg.norm(directions, axis=0)


def _columnwise(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dot product of each column of one matrix with the same column of another."""
    return np.einsum("...ij,...ij->...j", left, right)

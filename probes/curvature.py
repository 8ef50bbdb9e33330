"""Curvature of the loss from Hessian-vector products alone: largest eigenvalues, trace, stability threshold.

An ``hvp`` is any callable that takes a flat vector ``v`` and returns ``H v``, for one symmetric ``H`` of
shape ``(dim, dim)`` that stays the same from call to call. Vectors take the library, dtype and device of
``like``; random ones are drawn in NumPy first, so that a seed means the same everywhere.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from array_api_compat import device, is_array_api_obj, to_device
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

from probes.arrays import Array, detached, namespace_of, norm
from probes.catalogue import probe

Hvp: TypeAlias = Callable[[Array], Array]
Seed: TypeAlias = np.random.Generator | int | None

# Below this many roundings of the largest product, what is left of a new direction is rounding alone.
_BREAKDOWN = 100


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
    product = _Product("top_eigenvalues", hvp, dim, like)
    lanczos = _Lanczos(product, budget, np.random.default_rng(rng))
    converged = False
    while lanczos.steps < budget and not converged:
        lanczos.step()
        converged = lanczos.steps >= k and lanczos.has_converged(k, tol)
    values, residuals = lanczos.ritz_pairs()
    return TopEigenvalues(product.give(values[:k]), product.give(residuals[:k]), converged, product.count)


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
    product = _Product("trace", hvp, dim, like)
    forms = _quadratic_forms(product, samples, np.random.default_rng(rng))
    error = forms.std(ddof=1) / math.sqrt(samples)
    return Trace(product.give(forms.mean()), product.give(error), product.count)


def stability_threshold(
    learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> float:
    """Largest eigenvalue of the loss's Hessian at which gradient descent on a quadratic is stable.

    Beyond it the step overshoots further every time, so sharpness that stays well above it comes with a
    loss that grows. Full-batch training hovers at it in health [1]; small batches stay below it, and
    adaptive optimisers obey another threshold, of the preconditioned Hessian.

    Args:
        learning_rate: η, at least 0.
        momentum: β of heavy-ball momentum without dampening, ``0 <= momentum < 1``.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: Coefficient that the optimiser adds to the gradient, as SGD does; it uses up that much
            of the threshold.

    Returns:
        2/η, (2 + 2β)/η with momentum or (2 + 2β)/(η (1 + 2β)) with Nesterov's, less the weight decay;
        infinity for a learning rate of 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> stability_threshold(0.01), stability_threshold(0.5, momentum=0.75)
        (200.0, 7.0)

    References:
        [1] Cohen et al., "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability",
            2021, arXiv:2103.00065.
    """
    if not (learning_rate >= 0 and 0 <= momentum < 1 and weight_decay >= 0):
        raise ValueError(
            f"stability_threshold needs learning_rate >= 0, 0 <= momentum < 1 and weight_decay >= 0, got "
            f"learning_rate={learning_rate}, momentum={momentum} and weight_decay={weight_decay}; "
            f"read them off the optimiser"
        )
    if learning_rate == 0:
        return math.inf
    damping = 1 + 2 * momentum if nesterov else 1.0
    return (2 + 2 * momentum) / (learning_rate * damping) - weight_decay


class _Product:
    """The caller's product, counted and checked at every call, with the ways into and out of its library."""

    def __init__(self, caller: str, hvp: Hvp, dim: int, like: Array | None) -> None:
        self.caller, self.dim, self.count = caller, dim, 0
        self.like = np.empty(0) if like is None else like
        self.namespace: Any = namespace_of(self.like)
        self._hvp = hvp
        if self.like.dtype not in (self.namespace.float32, self.namespace.float64):
            raise ValueError(
                f"{caller} needs like to be float32 or float64, got {self.like.dtype}; "
                f"cast it, for narrower types hold too few digits to tell eigenvalues apart"
            )
        self.rounding = float(self.namespace.finfo(self.like.dtype).eps)
        # The cube root leaves room for products by finite differences, the roughest in use.
        self.asymmetry_allowed = self.rounding ** (1 / 3)

    def __call__(self, vector: Array) -> tuple[Array, float]:
        """``H v`` and its norm."""
        self.count += 1
        product = self._hvp(vector)
        self._check_form(product)
        product = self.namespace.astype(detached(product), self.like.dtype, copy=False)
        size = float(norm(product))
        if not math.isfinite(size):
            raise ValueError(
                f"{self.caller} needs finite Hessian-vector products, got NaN or infinity in number "
                f"{self.count}; check that the loss is finite on the probe batch"
            )
        return product, size

    def give(self, host: NDArray[Any]) -> Array:
        """A NumPy array in the library, dtype and place of the vectors."""
        # In "C" order, for torch takes no array that runs backwards.
        host = np.asarray(host, order="C")
        return self.namespace.asarray(host, dtype=self.like.dtype, device=device(self.like))

    def check_symmetry(self, difference: float, scale: float) -> None:
        """Refuse products of which ``<u, H v>`` and ``<v, H u>`` are too far apart for rounding."""
        if difference > self.asymmetry_allowed * scale:
            raise ValueError(
                f"{self.caller} needs a symmetric Hessian, got <u, Hv> and <v, Hu> that differ by "
                f"{difference:.2g} where products have norm {scale:.2g}; make every call compute the same "
                f"function: one fixed batch, no dropout, no batch statistics"
            )

    def _check_form(self, product: Any) -> None:
        if (
            is_array_api_obj(product)
            and namespace_of(product) is self.namespace
            and tuple(product.shape) == (self.dim,)
        ):
            return
        kind = f"{type(product).__module__}.{type(product).__qualname__}"
        shape = tuple(product.shape) if hasattr(product, "shape") else None
        raise ValueError(
            f"{self.caller} needs hvp to return a vector of shape ({self.dim},) in the library of its "
            f"argument, got {kind} of shape {shape}; flatten and join the parts, and give like= an array "
            f"of the library that hvp computes in"
        )


class _Lanczos:
    """Tridiagonal picture of a Hessian on a growing orthonormal basis, one product a step.

    Where the span of one random start is exhausted, the next direction is a fresh random one: a block of
    its own. `_leaks[j]` is what step j found outside the basis and did not follow, or has yet to follow.
    """

    def __init__(self, product: _Product, budget: int, rng: np.random.Generator) -> None:
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


def _quadratic_forms(product: _Product, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
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

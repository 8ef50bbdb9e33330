"""Density of a Hessian's eigenvalues, by stochastic Lanczos quadrature."""

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm as normal

from probes.arrays import Array
from probes.catalogue import probe
from probes.curvature.lanczos import Lanczos
from probes.curvature.product import Hvp, Product, Seed
from probes.curvature.sampling import random_signs

# Nodes within this many roundings of their magnitude are one.
_ROUNDINGS = 100

# The grid goes on for so many widths beyond the outermost nodes, where the Gaussians have died out.
_MARGIN = 6


class _Density(NamedTuple):
    grid: Array
    density: Array


class SpectralDensity(_Density):
    """What `spectral_density` finds; it unpacks as ``grid, density``.

    Attributes:
        grid: Places on the axis of eigenvalues, evenly spaced, shape ``(points,)``.
        density: Share of the eigenvalues per unit of the axis there, shape ``(points,)``; integrates to 1.
        standard_error: The standard error of each density, shape ``(points,)``.
        nodes: Ritz values, start after start, ascending in each, shape ``(n,)``.
        weights: The share of the eigenvalues that each node stands for, shape ``(n,)``; they sum to 1.
        width: Standard deviation of the Gaussian that each node is drawn as.
        products: How many Hessian-vector products it took.
    """

    standard_error: Array
    nodes: Array
    weights: Array
    width: float
    products: int

    def __new__(cls, grid: Array, density: Array, **more: Any) -> Self:
        """Only grid and density are the tuple; the others are attributes."""
        found = super().__new__(cls, grid, density)
        for name, value in more.items():
            setattr(found, name, value)
        return found


@probe(
    unit="squared weight per loss",
    eats="hvp",
    cost="dear",
    source="Ghorbani et al., An Investigation into Neural Net Optimization via Hessian Eigenvalue Density, 2019",
)
def spectral_density(
    hvp: Hvp,
    dim: int,
    *,
    steps: int = 64,
    starts: int = 10,
    width: float | None = None,
    points: int = 1001,
    rng: Seed = None,
    like: Array | None = None,
) -> SpectralDensity:
    """How the eigenvalues of a Hessian are spread, as a smooth density that integrates to 1.

    It shows at a glance what single numbers hide: the bulk at zero, the outliers, how much is negative
    [1]. Lanczos iteration from each random start gives as many nodes as it has steps, with weights that
    integrate every polynomial of degree below twice that as the start sees it [2]; each node is drawn as a
    Gaussian. What is closer together than the width is one hump: with outliers far out, the bulk is told
    from zero only with a smaller ``width``, more ``steps``, or by the nodes and weights themselves. A
    single eigenvalue weighs 1/dim, so that outliers barely show on a linear axis: draw it on a
    logarithmic one. The standard error is the spread across starts; what the smoothing moves is not in it.

    Args:
        hvp: Takes a flat vector of shape ``(dim,)`` and returns the Hessian times it, same shape.
        dim: Number of weights.
        steps: Lanczos steps from each start, one product each; fewer are taken where a start has seen all
            that it can. Memory is ``steps * dim`` numbers.
        starts: Random starting vectors, at least 2.
        width: Standard deviation of the Gaussians; by default the distance from the smallest node to the
            largest over ``steps``, which is how far nodes are apart (where all nodes are one, its
            magnitude over ``steps``).
        points: Size of the grid, which goes 6 widths beyond the outermost nodes.
        rng: Generator or seed of the random starting vectors.
        like: Array whose library, dtype (float32 or float64) and device the vectors take; NumPy's float64
            without it.

    Returns:
        Grid, density, its standard error, nodes and weights in the library of ``like``; the width and the
        products spent. ``dim * (weights * f(nodes)).sum()`` estimates the trace of ``f`` of the Hessian.

    Raises:
        ValueError: If an argument is out of range, ``points`` are too few for the width, or ``hvp`` returns
            another shape or library, a non-finite entry, or products that no symmetric matrix has.

    Example:
        >>> two_clusters = np.array([1.0, 1.0, 1.0, 5.0])
        >>> found = spectral_density(lambda v: two_clusters * v, 4, rng=0)
        >>> near_five = found.density[found.grid > 3].sum() / found.density.sum()
        >>> round(float(near_five), 6), found.products
        (0.25, 20)

    References:
        [1] Ghorbani, Krishnan and Xiao, "An Investigation into Neural Net Optimization via Hessian
            Eigenvalue Density", 2019, arXiv:1901.10159.
        [2] Golub and Welsch, "Calculation of Gauss quadrature rules", 1969.
    """
    _check_sizes(dim, steps, starts, width)
    product, draws = Product("spectral_density", hvp, dim, like), np.random.default_rng(rng)
    rules = [_quadrature(product, min(steps, dim), draws) for _ in range(starts)]
    nodes, weights = map(np.concatenate, zip(*rules, strict=True))
    sigma = _distance_between(nodes, steps, product.rounding) if width is None else width
    grid = _grid(nodes, sigma, points)
    densities = np.array([normal.pdf(grid[:, None], at, sigma) @ mass for at, mass in rules])
    return SpectralDensity(
        product.give(grid),
        product.give(densities.mean(axis=0)),
        standard_error=product.give(densities.std(axis=0, ddof=1) / math.sqrt(starts)),
        nodes=product.give(nodes),
        weights=product.give(weights / starts),
        width=sigma,
        products=product.count,
    )


def _quadrature(
    product: Product, steps: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of the Gauss rule for the eigenvalues as a random start sees them [2]."""
    lanczos = Lanczos(product, steps, rng, starts=[random_signs(product, rng)])
    while not (lanczos.is_full or lanczos.is_exhausted):
        lanczos.step()
    ascending = lanczos.ritz(np.negative)
    return ascending.values, ascending.weights[0] ** 2


def _distance_between(nodes: NDArray[np.float64], steps: int, rounding: float) -> float:
    """How far apart so many nodes are on their range; of one node alone, a like share of its magnitude."""
    span, magnitude = float(np.ptp(nodes)), float(np.abs(nodes).max())
    if span <= _ROUNDINGS * rounding * magnitude:
        span = magnitude if magnitude > 0 else 1.0
    return span / steps


def _grid(nodes: NDArray[np.float64], width: float, points: int) -> NDArray[np.float64]:
    first, last = nodes.min() - _MARGIN * width, nodes.max() + _MARGIN * width
    # With points farther apart than the width, Gaussians fall between them and the integral is not 1.
    needed = math.ceil((last - first) / width) + 1
    if points < needed:
        raise ValueError(
            f"spectral_density needs points no farther apart than the width, got points={points} and "
            f"width={width:.3g} for eigenvalues from {nodes.min():.3g} to {nodes.max():.3g}; "
            f"take {needed} points or more, or a larger width"
        )
    return np.linspace(first, last, points)


def _check_sizes(dim: int, steps: int, starts: int, width: float | None) -> None:
    if dim < 1 or steps < 1 or starts < 2:
        raise ValueError(
            f"spectral_density needs dim >= 1, steps >= 1 and starts >= 2, got dim={dim}, steps={steps} and "
            f"starts={starts}; one start alone has no standard error"
        )
    if width is not None and not 0 < width < math.inf:
        raise ValueError(
            f"spectral_density needs a width above 0, got width={width}; leave it out for one that fits the "
            f"number of steps"
        )

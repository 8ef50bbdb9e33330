"""Singular values of a weight: how far it can stretch its input, and how heavy the tail of its spectrum is."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.arrays import Array, namespace_of, readable, returned
from probes.catalogue import probe
from probes.rows import on_host, only_if_finite, wide

# A tail of fewer eigenvalues fits a power law whatever it is.
_LEAST_TAIL = 10

# Eigenvalues below this share of the largest are zeros that rounding has moved.
_ROUNDING = 1e-12


class SpectrumExponent(NamedTuple):
    """What `spectrum_exponent` finds.

    Attributes:
        alpha: Exponent of the density ``λ ** -alpha`` of the tail, above 1, 0-d.
        standard_error: ``(alpha - 1) / sqrt(tail)``, 0-d.
        start: The eigenvalue at which the tail begins, 0-d.
        distance: Kolmogorov-Smirnov distance between the tail and the fitted law, in [0, 1], 0-d.
        tail: How many eigenvalues are in the tail, an integer, 0-d.
    """

    alpha: Array
    standard_error: Array
    start: Array
    distance: Array
    tail: Array


@probe(
    unit="1",
    eats="matrix",
    cost="dear",
    source="Yoshida and Miyato, Spectral Norm Regularization, 2017, arXiv:1705.10941",
)
def spectral_norm(weight: Array) -> Array:
    """Largest singular value of a weight: how far the layer can stretch a difference between two inputs.

    The product over the layers bounds what a small change of the input can do to the output, and growth
    of one of them goes ahead of instability [1]. The bound is far from reached in depth. For a
    convolution it is the norm of its weight as a matrix, that is of what it does to one patch; over
    overlapping patches the layer as a whole may stretch more, by at most the root of the kernel's size.

    Args:
        weight: Shape ``(out, in)``, or ``(out, in, *kernel)``, which is read as ``(out, in * kernel)``.

    Returns:
        A number of at least 0, 0-d, float64 in the library of ``weight``, exact up to rounding; NaN where
        there is NaN or infinity in the weight.

    Raises:
        ValueError: If there are fewer than two axes, or no entries.

    Example:
        >>> round(float(spectral_norm(np.array([[3.0, 0.0], [4.0, 0.0]]))), 12)
        5.0

    References:
        [1] Yoshida and Miyato, "Spectral Norm Regularization for Improving the Generalizability of Deep
            Learning", 2017, arXiv:1705.10941.
    """
    return returned(_singular_values("spectral_norm", weight)[0], weight)


@probe(
    unit="1",
    eats="matrix",
    cost="dear",
    source="Martin and Mahoney, Implicit Self-Regularization in Deep Neural Networks, 2021, arXiv:1810.01075",
)
def spectrum_exponent(weight: Array) -> SpectrumExponent:
    """Exponent of a power law fitted to the largest eigenvalues of ``WᵀW``.

    Training takes a layer's spectrum from that of noise, which ends sharply, to one with a heavy tail; well
    trained layers are reported between 2 and 6, and a lower exponent for the better one [1]. The exponent is
    the most likely one, above the start for which the tail comes closest to its law in the
    Kolmogorov-Smirnov distance [2].

    It always finds a number, and misleads where there is no power law: square matrices of Gaussian noise
    read about 4 at 64 columns and 6 at 256, as if well trained, so compare with the exponent at the
    start and not with a threshold. A distance above about ``1 / sqrt(tail)`` tells that the law does not
    fit; a smaller one tells little, for the start is chosen to make it small, and noise passes. One
    eigenvalue far out (a weight that grew along one direction) lowers the exponent without any learning.

    Args:
        weight: Shape ``(out, in)``, or ``(out, in, *kernel)``, which is read as ``(out, in * kernel)``; at
            least 10 on the smaller side, and better hundreds.

    Returns:
        Exponent, its standard error given the start, start, distance and size of the tail, each 0-d in the
        library of ``weight``. NaN, with a tail of 0, where NaN or infinity is in the weight, where fewer than
        10 of its eigenvalues are not zero, or where those are all equal.

    Raises:
        ValueError: If there are fewer than two axes, or the smaller side is below 10.

    Example:
        >>> power_law = np.linspace(0.005, 0.995, 100) ** -0.5  # squared: quantiles of a density λ ** -2
        >>> found = spectrum_exponent(np.diag(power_law))
        >>> round(float(found.alpha), 1), int(found.tail)
        (2.0, 100)

    References:
        [1] Martin and Mahoney, "Implicit Self-Regularization in Deep Neural Networks", 2021,
            arXiv:1810.01075.
        [2] Clauset, Shalizi and Newman, "Power-Law Distributions in Empirical Data", 2009, arXiv:0706.1062.
    """
    values = on_host(_singular_values("spectrum_exponent", weight, least=_LEAST_TAIL))
    # Over the largest, so that no square leaves the range; the exponent does not depend on the scale.
    largest = float(values[0])
    squares = np.sort((values / largest) ** 2) if 0 < largest < math.inf else np.empty(0)
    best = _best_tail(squares[squares > _ROUNDING])
    numbers = (*best[:2], best[2] * largest * largest, best[3])
    fit = [returned(np.float64(number), weight) for number in numbers]
    return SpectrumExponent(fit[0], fit[1], fit[2], fit[3], returned(np.int64(best[4]), weight))


def _best_tail(ascending: NDArray[np.float64]) -> tuple[float, float, float, float, int]:
    """Exponent, standard error, start, distance and size of the tail that is closest to its own power law."""
    best = (math.nan, math.nan, math.nan, math.inf, 0)
    for first in np.flatnonzero(np.diff(ascending, prepend=0) > 0):
        logarithms = np.log(ascending[first:] / ascending[first])
        tail, total = len(logarithms), float(logarithms.sum())
        if tail < _LEAST_TAIL or total == 0:
            break
        exponent = tail / total
        distance = _distance(-np.expm1(-exponent * logarithms))
        if distance < best[3]:
            best = (1 + exponent, exponent / math.sqrt(tail), float(ascending[first]), distance, tail)
    return best if best[4] else (math.nan, math.nan, math.nan, math.nan, 0)


def _distance(law: NDArray[np.float64]) -> float:
    """Largest gap between the law at the sorted sample and the sample's own steps, before and after each."""
    steps = np.arange(len(law) + 1) / len(law)
    return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))


def _singular_values(caller: str, weight: Array, least: int = 1) -> Array:
    """Largest first; NaN in place of all where there is no decomposition."""
    if weight.ndim < 2 or min(weight.shape[0], math.prod(weight.shape[1:])) < least:
        raise ValueError(
            f"{caller} needs a weight of shape (out, in, ...), at least {least} on either side, got "
            f"{tuple(weight.shape)}; leave biases and small layers out"
        )
    seen = wide(readable(weight))
    namespace = namespace_of(seen)
    matrix = namespace.reshape(seen, (seen.shape[0], -1))
    # LAPACK gives up on NaN, which is to be a reading and not an error.
    safe = namespace.where(namespace.isfinite(matrix).all(), matrix, namespace.zeros_like(matrix))
    return only_if_finite(namespace.linalg.svdvals(safe), matrix)

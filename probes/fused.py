"""Several measures in one go, for where they are taken of everything at every step: the same numbers, fewer looks."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.activations import activation_mean, activation_rms, non_finite_count
from probes.arrays import Array, are_on_host, norms, quotient, readable
from probes.gradients import combined_norm
from probes.sums import norms_on_host, sum_and_norm

# Squares of norms within these neither overflow nor lose digits.
_SAFE = (1e-150, 1e150)


class Moments(NamedTuple):
    """What `moments` finds, each 0-d.

    Attributes:
        mean: See `activation_mean`; on the host in float64.
        rms: See `activation_rms`.
        non_finite_count: See `non_finite_count`.
    """

    mean: Array
    rms: Array
    non_finite_count: Array


def moments(activation: Array) -> Moments:
    """`activation_mean`, `activation_rms` and `non_finite_count` of one array.

    Args:
        activation: Output of a layer, any shape that is not empty.

    Returns:
        The three, on the host where the array is there, and otherwise in its library.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> [float(number) for number in moments(np.array([[1.0, 7.0]]))]
        [4.0, 5.0, 0.0]
    """
    seen = readable(activation)
    if not (type(seen) is np.ndarray and seen.size):
        return Moments(activation_mean(seen), activation_rms(seen), non_finite_count(seen))
    total, size = sum_and_norm(seen)
    # A finite norm proves every entry finite, and saves a second look at the array.
    missing = 0 if math.isfinite(size) else non_finite_count(seen)
    return Moments(total / seen.size, size / math.sqrt(seen.size), missing)


def norms_and_non_finite_counts(arrays: Sequence[Array]) -> list[Array]:
    """`norms`, and `non_finite_count` of each array.

    Args:
        arrays: At least one array, all of one library.

    Returns:
        The norms and then a count for each array: numbers on the host where the arrays are there, and
        otherwise the norms 1-D and each count 0-d in their library.

    Raises:
        ValueError: If there are no arrays.

    Example:
        >>> norms_and_non_finite_counts([np.array([3.0, 4.0]), np.array([0.0, 2.0])])
        [5.0, 2.0, 0, 0]
    """
    seen = [readable(array) for array in arrays]
    if not _are_some_on_host(seen):
        return [norms(seen), *(non_finite_count(array) for array in seen)]
    sizes = norms_on_host(seen)
    return [
        *sizes,
        *(
            0 if math.isfinite(size) else non_finite_count(each)
            for size, each in zip(sizes, seen, strict=True)
        ),
    ]


def combined_norms(norms: NDArray[np.float64], starts: Sequence[int]) -> NDArray[np.float64]:
    """`combined_norm` of each of several groups that lie side by side, in each row.

    Args:
        norms: Norms of the parts, shape ``(rows, parts)``, on the host.
        starts: Where each group begins, rising from 0; none is empty.

    Returns:
        One norm for each group, shape ``(rows, groups)``.

    Example:
        >>> combined_norms(np.array([[3.0, 4.0, 2.0]]), [0, 2]).tolist()
        [[5.0, 2.0]]
    """
    if np.all((norms > _SAFE[0]) & (norms < _SAFE[1])):
        return np.sqrt(np.add.reduceat(norms * norms, starts, axis=1))
    return np.array([[combined_norm(group) for group in np.split(row, starts[1:])] for row in norms])


def gradient_norm_ratios(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """`gradient_norm_ratio` of each row.

    Args:
        norms: Gradient norms of layers in order of execution, shape ``(rows, layers)``, on the host.

    Returns:
        One ratio for each row.

    Example:
        >>> gradient_norm_ratios(np.array([[0.5, 7.0, 2.0]])).tolist()
        [0.25]
    """
    return quotient(norms[:, 0], norms[:, -1])


def _are_some_on_host(seen: Sequence[Array]) -> bool:
    # None at all are for `norms` to refuse.
    return bool(seen) and are_on_host(seen)

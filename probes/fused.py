"""Several measures in one go, for where they are taken of everything at every step: the same numbers, fewer looks."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.activations import activation_mean, activation_rms, non_finite_count
from probes.arrays import (
    FLOATS,
    Array,
    is_in_range,
    norm_on_host,
    norms,
    readable,
    sum_of_squares_on_host,
)
from probes.gradients import combined_norm

# Entries of two arrays and of a third between them that a core's cache holds.
_PIECE = 1 << 16

# Squares of norms within these neither overflow nor lose digits.
_SAFE = (1e-150, 1e150)


class Moments(NamedTuple):
    """What `moments` finds, each 0-d.

    Attributes:
        mean: See `activation_mean`.
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
    if not (type(seen) is np.ndarray and seen.dtype.char in FLOATS and seen.size):
        return Moments(activation_mean(seen), activation_rms(seen), non_finite_count(seen))
    with np.errstate(all="ignore"):
        size = norm_on_host(seen)
        mean = np.add.reduce(seen, axis=None) / seen.size
    return Moments(mean, size / math.sqrt(seen.size), _count_behind(size, seen))


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
    found = norms(seen)
    if not isinstance(found, np.ndarray):
        return [found, *(non_finite_count(array) for array in seen)]
    sizes = found.tolist()
    return [*sizes, *map(_count_behind, sizes, seen)]


def norms_before_and_of_change(before: Sequence[Array], after: Sequence[Array]) -> list[Array]:
    """`norms` of arrays before a step, and of what the step added to them.

    The change is never laid down as a whole: it is squared, piece by piece, while it is in a core's cache.

    Args:
        before: At least one array, all of one library.
        after: As many, of the same shapes and types.

    Returns:
        The norms of ``before``, then those of ``after - before``: numbers on the host where the arrays are
        there, and otherwise two 1-D arrays of their library.

    Raises:
        ValueError: If there are no arrays.

    Example:
        >>> norms_before_and_of_change([np.array([3.0, 4.0])], [np.array([3.0, 6.0])])
        [5.0, 2.0]
    """
    old, new = [readable(array) for array in before], [readable(array) for array in after]
    if not all(type(array) is np.ndarray for array in old):
        return [norms(old), norms([late - early for early, late in zip(old, new, strict=True)])]
    pairs = list(zip(old, new, strict=True))
    with np.errstate(all="ignore"):
        found = [_norm_before_and_of_change(*pair) for pair in pairs]
    return [size for size, _ in found] + [size for _, size in found]


def combined_norms(norms: NDArray[np.float64], starts: Sequence[int]) -> NDArray[np.float64]:
    """`combined_norm` of each of several groups that lie one behind the other.

    Args:
        norms: Norms of the parts, 1-D, on the host.
        starts: Where each group begins, rising from 0; none is empty.

    Returns:
        One norm for each group.

    Example:
        >>> combined_norms(np.array([3.0, 4.0, 2.0]), [0, 2]).tolist()
        [5.0, 2.0]
    """
    if np.all((norms > _SAFE[0]) & (norms < _SAFE[1])):
        return np.sqrt(np.add.reduceat(norms * norms, starts))
    return np.array([combined_norm(group) for group in np.split(norms, starts[1:])])


def _norm_before_and_of_change(before: NDArray[Any], after: NDArray[Any]) -> tuple[float, float]:
    order: Any = "K" if before.strides == after.strides else "C"
    old, new = before.ravel(order=order), after.ravel(order=order)
    spare = np.empty(min(old.size, _PIECE), np.result_type(old, new))
    of_old = of_change = 0.0
    for start in range(0, old.size, _PIECE):
        early = old[start : start + _PIECE]
        change = np.subtract(new[start : start + _PIECE], early, out=spare[: early.size])
        of_old += sum_of_squares_on_host(early)
        of_change += sum_of_squares_on_host(change)
    if is_in_range(of_old) and is_in_range(of_change):
        return math.sqrt(of_old), math.sqrt(of_change)
    return norm_on_host(before), norm_on_host(after - before)


def _count_behind(size: float, array: Any) -> Any:
    # A finite norm proves every entry finite, and saves a second look at the array.
    return 0 if math.isfinite(size) else non_finite_count(array)

"""What an array of any meaning looks like: where it lies, and how far it spreads."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.arrays import Array, namespace_of, norm_on_host, readable, returned, widest_float


class Summary(NamedTuple):
    """Four numbers of an array, each 0-d in its library: mean, standard deviation, least and largest entry."""

    mean: Array
    std: Array
    min: Array
    max: Array


def summary(array: Array) -> Summary:
    """Mean, standard deviation, smallest and largest entry.

    It tells unscaled inputs, constant outputs and targets out of range at a glance. It says nothing of
    shape: two clusters and one wide bell can have the same summary.

    Args:
        array: Numbers of any kind and any shape that is not empty; integers are computed in floating point.

    Returns:
        The four numbers, in the library of ``array``; NaN carries through to all of them.

    Raises:
        ValueError: If there are no entries.

    Example:
        >>> [float(number) for number in summary(np.array([1, 2, 3, 6]))]
        [3.0, 1.8708286933869707, 1.0, 6.0]
    """
    seen = readable(array)
    if 0 in seen.shape:
        raise ValueError(f"summary needs at least one entry, got shape {tuple(seen.shape)}")
    namespace = namespace_of(seen)
    floating = (
        seen if namespace.isdtype(seen.dtype, "real floating") else namespace.astype(seen, widest_float(seen))
    )
    with np.errstate(all="ignore"):
        if type(floating) is np.ndarray:
            return Summary(*(returned(number, array) for number in _on_host(floating)))
        return Summary(*(f(floating) for f in (namespace.mean, namespace.std, namespace.min, namespace.max)))


def _on_host(array: NDArray[Any]) -> tuple[Any, ...]:
    # Half precision is added up in a wider type, as `np.mean` does; the bare reduction is faster.
    total = np.add.reduce(array, axis=None, dtype=np.float32 if array.dtype.char == "e" else None)
    mean = array.dtype.type(total / array.size)
    std = _spread(array, float(mean))
    return (
        mean,
        array.dtype.type(std),
        np.minimum.reduce(array, axis=None),
        np.maximum.reduce(array, axis=None),
    )


def _spread(array: NDArray[Any], mean: float) -> float:
    """The standard deviation; from the norm of the array where that is safe, for it lays nothing down."""
    size = norm_on_host(array) / math.sqrt(array.size)
    # Products and not powers: a power that overflows is an error in Python, and no infinity.
    variance = size * size - mean * mean
    if mean * mean < variance < math.inf:
        # Little cancels between the two: as many digits are left as the mean has.
        return math.sqrt(variance)
    wide = np.float32 if array.dtype.char == "e" else array.dtype.type
    return norm_on_host(array - wide(mean)) / math.sqrt(array.size)

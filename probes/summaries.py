"""What an array of any meaning looks like: where it lies, and how far it spreads."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from probes.arrays import Array, namespace_of, readable, returned, widest_float
from probes.sums import flat_float, norm_on_host, summary_on_host


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
    if isinstance(seen, np.ndarray):
        return Summary(*(returned(number, array) for number in _on_host(seen)))
    namespace = namespace_of(seen)
    floating = (
        seen if namespace.isdtype(seen.dtype, "real floating") else namespace.astype(seen, widest_float(seen))
    )
    return Summary(*(f(floating) for f in (namespace.mean, namespace.std, namespace.min, namespace.max)))


def _on_host(array: NDArray[Any]) -> Iterator[Any]:
    # Half precision is added up in a wider type, and given back in its own; integers are no numbers to give.
    dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
    flat = flat_float(array)
    found = summary_on_host(flat)
    mean, rms = found.sum / flat.size, found.norm / math.sqrt(flat.size)
    with np.errstate(all="ignore"):
        return map(dtype.type, (mean, _spread(flat, mean, rms), found.least, found.largest))


def _spread(flat: NDArray[Any], mean: float, rms: float) -> float:
    """The standard deviation; from the root mean square where that is safe, for it lays nothing down."""
    # Products and not powers: a power that overflows is an error in Python, and no infinity.
    variance = rms * rms - mean * mean
    if mean * mean < variance < math.inf:
        # Little cancels between the two: as many digits are left as the mean has.
        return math.sqrt(variance)
    return norm_on_host(flat - flat.dtype.type(mean)) / math.sqrt(flat.size)

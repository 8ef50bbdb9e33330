"""An activation as a matrix: its examples as rows, or its positions as rows and its units as columns."""

import math
from typing import Any

import numpy as np
from array_api_compat import to_device
from numpy.typing import NDArray

from probes.arrays import Array, detached, namespace_of, readable, widest_float


def example_rows(caller: str, activation: Array, least: int = 1) -> Array:
    """One row an example, whatever its shape, in the widest float; where the array lies, without its tape.

    Raises:
        ValueError: If there are fewer than ``least`` examples, or nothing in them.
    """
    check_has_units(caller, activation)
    if activation.shape[0] < least:
        raise ValueError(
            f"{caller} needs at least {least} examples, got shape {tuple(activation.shape)}; "
            f"choose a larger batch"
        )
    seen = wide(readable(activation))
    return namespace_of(seen).reshape(seen, (seen.shape[0], -1))


def position_rows(caller: str, activation: Array) -> Array:
    """One row a position of an example, one column a unit; for an activation without space, a row an example.

    Raises:
        ValueError: If there is no axis of units, or nothing in the activation.
    """
    check_has_units(caller, activation)
    seen = wide(readable(activation))
    namespace = namespace_of(seen)
    return namespace.reshape(namespace.moveaxis(seen, 1, -1), (-1, seen.shape[1]))


def on_host(array: Array) -> NDArray[Any]:
    """The array as NumPy's, fetched from wherever it lies."""
    return np.asarray(readable(to_device(detached(array), "cpu")))


def centred(matrix: Array) -> Array:
    """The matrix less the mean of each column; exactly 0 where a column holds one number."""
    with np.errstate(all="ignore"):
        # The mean of equal numbers may differ from them by rounding, which would then pass for variation.
        offsets = matrix - matrix[:1, :]
        return offsets - namespace_of(matrix).mean(offsets, axis=0)


def only_if_finite(value: Array, *arrays: Array) -> Array:
    """The value, or NaN where an array that it comes from holds NaN or infinity."""
    namespace = namespace_of(*arrays)
    finite = namespace.isfinite(arrays[0]).all()
    for array in arrays[1:]:
        finite = finite & namespace.isfinite(array).all()
    return namespace.where(finite, value, namespace.full_like(value, math.nan))


def wide(array: Array) -> Array:
    """The array in the widest float of its library; itself where it is that already."""
    return namespace_of(array).astype(array, widest_float(array), copy=False)


def check_holds_something(caller: str, activation: Array) -> None:
    """Refuse an activation without entries.

    Raises:
        ValueError: If there are none.
    """
    if 0 in activation.shape:
        raise ValueError(
            f"{caller} needs at least one example and one unit, got shape {tuple(activation.shape)}; "
            f"leave empty batches out"
        )


def check_has_units(caller: str, activation: Array) -> None:
    """Refuse an activation without an axis of units, or without entries.

    Raises:
        ValueError: If it has none.
    """
    if activation.ndim < 2:
        raise ValueError(
            f"{caller} needs an activation of shape (batch, units, ...), got {tuple(activation.shape)}; "
            f"put the examples on the first axis and the units on the second"
        )
    check_holds_something(caller, activation)

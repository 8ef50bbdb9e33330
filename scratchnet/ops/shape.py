"""Primitives that move elements and compute nothing."""

import math
from collections.abc import Sequence
from types import EllipsisType, NoneType
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from scratchnet.tape import Array, primitive

_ONCE = (int, np.integer, slice, EllipsisType, NoneType)


@primitive
def reshape(x: Any, *, shape: tuple[int, ...], original: tuple[int, ...]) -> Array:
    """y has the elements of x in another shape; x̄ has those of ȳ in the original one."""
    return np.reshape(x, shape)


reshape.differentiate(lambda g, _y, _x, shape, original: reshape(g, shape=original, original=shape))


@primitive
def transpose(x: Any, *, axes: tuple[int, ...]) -> Array:
    """y is x with its axes in another order; x̄ is ȳ with the inverse order."""
    return np.transpose(x, axes)


transpose.differentiate(
    lambda g, _y, _x, axes: transpose(g, axes=tuple(np.argsort([axis % g.ndim for axis in axes]).tolist()))
)


@primitive
def broadcast_to(x: Any, *, shape: tuple[int, ...]) -> Array:
    """y repeats x up to a shape; x̄ sums ȳ over the repetitions, which the tape does for every primitive."""
    return np.broadcast_to(x, shape)


broadcast_to.differentiate(lambda g, _y, _x, shape: g)


@primitive
def take(x: Any, *, index: Any, shape: tuple[int, ...]) -> Array:
    """y = x[index], slices and integer arrays alike; x̄ is zero but for ȳ added at the index."""
    return x[index]


@primitive
def put(g: Any, *, index: Any, shape: tuple[int, ...]) -> Array:
    """The backward pass of `take`: an array of zeros with g added at the index; its own gradient is a `take`."""
    result = np.zeros(shape, dtype=g.dtype)
    if _names_each_once(index):
        result[index] = g
        return result
    rows = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    if not isinstance(rows, tuple):
        return add_rows(np.asarray(rows), g, shape)
    positions = np.arange(result.size).reshape(shape)[index]
    return add_rows(positions, g, (result.size,)).reshape(shape)


def _names_each_once(index: Any) -> bool:
    """Whether an index is made of numbers, slices and masks, and so cannot name an element twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(isinstance(part, _ONCE) or np.asarray(part).dtype == bool for part in parts)


def add_rows(index: Array, rows: Array, shape: tuple[int, ...]) -> Array:
    """An array of zeros with each of the rows added at its index: R[i] = Σ rows[k] where index[k] = i.

    It is a product with a sparse matrix of ones, which measured 2 to 20 times as fast as `np.add.at`
    or as sorting and `np.add.reduceat`, for small and large vocabularies, and keeps the dtype.
    """
    count, width = shape[0], math.prod(shape[1:])
    # A negative index counts from the end; SciPy knows only the others.
    columns = np.where(index < 0, index + count, index).reshape(-1)
    ones = np.ones(columns.size, rows.dtype)
    spread = csc_array((ones, columns, np.arange(columns.size + 1)), shape=(count, columns.size))
    return (spread @ rows.reshape(columns.size, width)).reshape(shape)


take.differentiate(lambda g, _y, _x, index, shape: put(g, index=index, shape=shape))
put.differentiate(lambda gg, _z, _g, index, shape: take(gg, index=index, shape=shape))


@primitive
def append(x: Any, y: Any, *, axis: int, size: int) -> Array:
    """z is x and then y along an axis, on which x has the given size; x̄ and ȳ are the two parts of z̄."""
    return np.concatenate((x, y), axis=axis)


def part(z: Any, axis: int, *limits: int | None) -> Any:
    """A slice of one axis, counted from the front."""
    return take(z, index=(slice(None),) * axis + (slice(*limits),), shape=z.shape)


append.differentiate(
    lambda g, _z, _x, _y, axis, size: part(g, axis, size),
    lambda g, _z, _x, _y, axis, size: part(g, axis, size, None),
)


def concatenate(parts: Sequence[Any], axis: int) -> Any:
    """All parts, one after the other along an axis that is counted from the front."""
    if len(parts) == 1:
        return parts[0]
    # Halves of halves, so that an element is copied log n times and not n times.
    half = len(parts) // 2
    first, rest = concatenate(parts[:half], axis), concatenate(parts[half:], axis)
    return append(first, rest, axis=axis, size=first.shape[axis])

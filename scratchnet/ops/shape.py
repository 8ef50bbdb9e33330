"""Primitives that move elements and compute nothing."""

from typing import Any

import numpy as np

from scratchnet.tape import Array, primitive


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
    # `+=` would count an element that an integer index names twice only once.
    np.add.at(result, index, g)
    return result


take.differentiate(lambda g, _y, _x, index, shape: put(g, index=index, shape=shape))
put.differentiate(lambda gg, _z, _g, index, shape: take(gg, index=index, shape=shape))

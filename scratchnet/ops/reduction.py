"""Primitives that sum over axes."""

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from scratchnet.ops.shape import broadcast_to, reshape
from scratchnet.tape import Array, primitive

Axes = int | tuple[int, ...] | None


def _spread(g: Any, axis: Axes, shape: tuple[int, ...]) -> Any:
    """A reduced gradient, repeated over the axes that were summed away."""
    reduced = range(len(shape)) if axis is None else normalize_axis_tuple(axis, len(shape))
    kept = tuple(1 if index in reduced else size for index, size in enumerate(shape))
    return broadcast_to(reshape(g, shape=kept, original=g.shape), shape=shape)


@primitive
def total(x: Any, *, axis: Axes, keepdims: bool, shape: tuple[int, ...]) -> Array:
    """y = Σ x over the axes; x̄ repeats ȳ over them."""
    return np.sum(x, axis=axis, keepdims=keepdims)


total.differentiate(lambda g, _y, _x, axis, keepdims, shape: _spread(g, axis, shape))


@primitive
def softmax(x: Any, *, axis: int) -> Array:
    """y = eˣ / Σ eˣ along an axis; x̄ = y (ȳ − Σ ȳ y).

    The largest entry is taken off first, so nothing overflows.
    """
    result = np.asarray(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    np.exp(result, out=result)
    result /= result.sum(axis=axis, keepdims=True)
    return result


softmax.differentiate(lambda g, y, _x, axis: y * (g - (g * y).sum(axis=axis, keepdims=True)))


@primitive
def log_softmax(x: Any, *, axis: int) -> Array:
    """y = x − ln Σ eˣ along an axis; x̄ = ȳ − softmax(x) Σ ȳ."""
    if not x.size:
        return np.empty_like(x)
    shifted = x - x.max(axis=axis, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted


log_softmax.differentiate(lambda g, _y, x, axis: g - softmax(x, axis=axis) * g.sum(axis=axis, keepdims=True))

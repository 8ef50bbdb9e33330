"""Normalisation of each example by itself, over its last axes, as fused primitives."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.fused import fused
from scratchnet.ops.elementwise import sqrt
from scratchnet.tape import Array


def _rows(x: Array, count: int) -> Array:
    """The last axes, of ``count`` elements together, laid flat; the others too."""
    return x.reshape(x.size // count, count)


def _mean(x: Any, axes: int) -> Any:
    """Mean over the last ``axes`` axes, kept."""
    return x.mean(axis=tuple(range(-axes, 0)), keepdims=True)


def _column_sums(rows: Array, room: Array | None, shape: tuple[int, ...]) -> Array:
    # A product with ones is BLAS, and measured twice as fast as a sum over the first axis.
    ones = np.ones(len(rows), rows.dtype)
    return np.dot(ones, rows, out=None if room is None else room.reshape(-1)).reshape(shape)


def _row_means(rows: Array, weight: Array | None = None) -> Array:
    """Mean of each row times the weight, a column; a product too."""
    factor = np.ones(rows.shape[1], rows.dtype) if weight is None else weight.reshape(-1)
    # Divided afterwards, because 1/n is rounded and the mean of equal numbers would not be theirs.
    return np.dot(rows, factor)[:, None] / rows.shape[1]


def _layer_norm_formula(x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> Any:
    centred = x - _mean(x, axes)
    normalised = centred / sqrt(_mean(centred * centred, axes) + eps)
    scaled = normalised if weight is None else normalised * weight
    return scaled if bias is None else scaled + bias


def _layer_norm_backward(
    g: Array,
    saved: tuple[Array, Array],
    wanted: Sequence[bool],
    x: Array,
    weight: Array | None,
    _bias: Array | None,
    *,
    axes: int,
    eps: float,
    rooms: Sequence[Array | None],
) -> list[Array | None]:
    normalised, slope = saved
    shape, rows = x.shape[-axes:], _rows(g, normalised.shape[1])
    product = rows * normalised
    weight_gradient = _column_sums(product, rooms[1], shape) if wanted[1] else None
    bias_gradient = _column_sums(rows, rooms[2], shape) if wanted[2] else None
    if not wanted[0]:
        return [None, weight_gradient, bias_gradient]
    # From here on the product's memory serves for what is taken off.
    taken = np.multiply(normalised, _row_means(product, weight), out=product)
    taken += _row_means(rows, weight)
    result = rows.copy() if weight is None else rows * weight.reshape(-1)
    result -= taken
    result *= slope
    return [result.reshape(x.shape), weight_gradient, bias_gradient]


@fused(backward=_layer_norm_backward, formula=_layer_norm_formula)
def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, *, axes: int, eps: float
) -> tuple[Array, tuple[Array, Array]]:
    """y = w x̂ + b with x̂ = (x − mean) / σ and σ² = variance + ε over the last ``axes`` axes.

    x̄ = (h − mean h − x̂ mean(h x̂)) / σ with h = ȳ w; w̄ = Σ ȳ x̂ and b̄ = Σ ȳ over all examples.
    Weight and bias, either of which may be None, have the shape of those axes.
    """
    rows = _rows(x, math.prod(x.shape[-axes:]))
    normalised = rows - _row_means(rows)
    # The square's memory serves for the output.
    output = np.square(normalised)
    slope = 1.0 / np.sqrt(_row_means(output) + eps)
    normalised *= slope
    return _scaled(normalised, weight, bias, output).reshape(x.shape), (normalised, slope)


def _scaled(normalised: Array, weight: Array | None, bias: Array | None, room: Array) -> Array:
    if weight is None:
        np.copyto(room, normalised)
    else:
        np.multiply(normalised, weight.reshape(-1), out=room)
    if bias is not None:
        room += bias.reshape(-1)
    return room


def _rms_norm_formula(x: Any, weight: Any, *, axes: int, eps: float) -> Any:
    normalised = x / sqrt(_mean(x * x, axes) + eps)
    return normalised if weight is None else normalised * weight


def _rms_norm_backward(
    g: Array,
    saved: tuple[Array, Array],
    wanted: Sequence[bool],
    x: Array,
    weight: Array | None,
    *,
    axes: int,
    eps: float,
    rooms: Sequence[Array | None],
) -> list[Array | None]:
    normalised, slope = saved
    rows = _rows(g, normalised.shape[1])
    product = rows * normalised
    weight_gradient = _column_sums(product, rooms[1], x.shape[-axes:]) if wanted[1] else None
    if not wanted[0]:
        return [None, weight_gradient]
    taken = np.multiply(normalised, _row_means(product, weight), out=product)
    result = rows.copy() if weight is None else rows * weight.reshape(-1)
    result -= taken
    result *= slope
    return [result.reshape(x.shape), weight_gradient]


@fused(backward=_rms_norm_backward, formula=_rms_norm_formula)
def rms_norm(x: Array, weight: Array | None, *, axes: int, eps: float) -> tuple[Array, tuple[Array, Array]]:
    """y = w x̂ with x̂ = x / r and r² = mean(x²) + ε over the last ``axes`` axes.

    x̄ = (h − x̂ mean(h x̂)) / r with h = ȳ w; w̄ = Σ ȳ x̂ over all examples. The weight may be None.
    """
    rows = _rows(x, math.prod(x.shape[-axes:]))
    output = np.square(rows)
    slope = 1.0 / np.sqrt(_row_means(output) + eps)
    normalised = rows * slope
    return _scaled(normalised, weight, None, output).reshape(x.shape), (normalised, slope)

"""Convolutions as primitives: three that are each other's derivatives, so that the calculus closes.

Shapes are PyTorch's, ``(batch, channels, *space)``; in memory results have the channel last, and what has
it so already is read without a copy.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.fused import fused
from scratchnet.ops.columns import SHORT_RUN, Geometry, Size, column_tiles, fold, grouped, tiles
from scratchnet.ops.linalg import times
from scratchnet.tape import Array, primitive


def _channels_last(x: Array) -> Array:
    return x.transpose(0, *range(2, x.ndim), 1)


def _channels_first(x: Array) -> Array:
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


# ------------------------------------------------------------------------------- weights as matrices


def _banded(weight: Array, groups: int) -> Array:
    """(first, second, *kernel) as (groups, first of a group, second, *kernel)."""
    return weight.reshape(groups, -1, *weight.shape[1:])


def _to_outputs(weight: Array, groups: int) -> Array:
    """What columns of the input are multiplied with: (groups, taps of a window, outputs of a group)."""
    bands = _banded(weight, groups)
    return bands.transpose(0, *range(3, bands.ndim), 2, 1).reshape(groups, -1, bands.shape[1])


def _to_inputs(weight: Array, groups: int) -> Array:
    """What columns of the output are multiplied with, the kernel mirrored: (groups, taps, inputs of a group)."""
    bands = np.flip(_banded(weight, groups), tuple(range(3, weight.ndim + 1)))
    return bands.transpose(0, *range(3, bands.ndim), 1, 2).reshape(groups, -1, bands.shape[2])


def _to_taps(weight: Array, groups: int) -> Array:
    """What outputs are multiplied with to become columns: (groups, outputs of a group, taps of a window)."""
    bands = _banded(weight, groups)
    return bands.transpose(0, 1, *range(3, bands.ndim), 2).reshape(groups, bands.shape[1], -1)


# --------------------------------------------------------------------------------- the work, on arrays


def _multiply(columns: Array, matrix: Array, result: Array) -> None:
    """Columns times a matrix, group by group."""
    if len(matrix) == 1 or matrix.shape[-1] > 2:
        times(columns, matrix, out=result)
    else:
        # The outputs of a group are too few for BLAS to write them one beside the other.
        np.copyto(result, times(matrix.swapaxes(1, 2), columns.swapaxes(1, 2)).swapaxes(1, 2))


def _correlate(x: Array, matrix: Array, bias: Array | None, kernel: Size, geometry: Geometry) -> Array:
    """Columns times a matrix (and the bias while the tile is in the cache); channels last."""
    space = geometry.output_size(x.shape[1:-1], kernel)
    output = np.empty((len(x), *space, geometry.groups * matrix.shape[-1]), x.dtype)
    # A whole line of biases, for one operation on long runs instead of many on short ones.
    line = None if bias is None else np.tile(bias, space[-1])
    for index, columns in column_tiles(x, kernel, geometry):
        part = output[index]
        _multiply(columns, matrix, grouped(part, geometry.groups))
        if line is not None:
            lines = part.reshape(-1, part.shape[-2] * part.shape[-1])
            lines += line[: lines.shape[1]]
    return output


def _mirrored(weight: Array, geometry: Geometry, size: Size, output: Size) -> Geometry | None:
    """How the input's gradient is a convolution of the output's, where that is the cheaper way; else None.

    It copies a window of all outputs for each place of the input. The other way adds a window of all inputs
    for each place of the output; to add takes as long as to copy four times, or as twenty multiplications.
    """
    outputs, inputs = weight.shape[0] // geometry.groups, weight.shape[1]
    copied = math.prod(size) * outputs * (5 + inputs)
    added = math.prod(output) * inputs * (20 + outputs)
    return geometry.reversed(weight.shape[2:], size, output) if copied <= added else None


def _spread(x: Array, weight: Array, bias: Array | None, geometry: Geometry, size: Size) -> Array:
    """Each element times the kernel, added where its window lies: the transpose of `_correlate`."""
    kernel = weight.shape[2:]
    mirrored = _mirrored(weight, geometry, size, x.shape[1:-1])
    if mirrored is not None:
        return _correlate(x, _to_inputs(weight, geometry.groups), bias, kernel, mirrored)
    matrix = _to_taps(weight, geometry.groups)
    # As with columns: what lies side by side is added in one go, be it channels or windows.
    is_last = weight.shape[1] >= min(SHORT_RUN, x.shape[-2])
    shape = (*size, geometry.groups * weight.shape[1])
    result = np.zeros((len(x), *(shape if is_last else (shape[-1], *shape[:-1]))), x.dtype)
    result = result if is_last else _channels_last(result)
    for part, lines in tiles(len(x), x.shape[1:-1], matrix.nbytes // matrix.shape[1]):
        piece = x[part, lines]
        places = grouped(piece, geometry.groups)
        if is_last:
            columns = times(places, matrix)
        else:
            columns = times(matrix.swapaxes(1, 2), places.swapaxes(1, 2)).swapaxes(1, 2)
        fold(columns, result[part], kernel, geometry, piece.shape[1:-1], lines.start)
    if bias is not None:
        result += bias
    return np.ascontiguousarray(result)


def _weight_sum(x: Array, g: Array, kernel: Size, geometry: Geometry) -> Array:
    """Columns of x times g, summed over all windows: (groups, *kernel, inputs, outputs of a group)."""
    inputs, outputs = x.shape[-1] // geometry.groups, g.shape[-1] // geometry.groups
    total = np.zeros((geometry.groups, math.prod(kernel) * inputs, outputs), x.dtype)
    for index, columns in column_tiles(x, kernel, geometry):
        total += times(columns.swapaxes(1, 2), grouped(g[index], geometry.groups))
    return total.reshape(geometry.groups, *kernel, inputs, outputs)


def _both(x: Array, g: Array, weight: Array, geometry: Geometry, mirrored: Geometry) -> tuple[Array, Array]:
    """Gradients of input and weight from one set of columns of g."""
    matrix = _to_inputs(weight, geometry.groups)
    slope = np.empty(x.shape, x.dtype)
    total = np.zeros_like(matrix)
    for index, columns in column_tiles(g, weight.shape[2:], mirrored):
        _multiply(columns, matrix, grouped(slope[index], geometry.groups))
        total += times(columns.swapaxes(1, 2), grouped(x[index], geometry.groups))
    bands = total.reshape(geometry.groups, *weight.shape[2:], -1, weight.shape[1])
    return slope, np.flip(bands, tuple(range(1, weight.ndim - 1))).swapaxes(-1, -2)


def _as_weight(total: Array, room: Array | None) -> Array:
    """(groups, *kernel, inputs, outputs of a group) as a weight, in the room that it may have."""
    bands = total.transpose(0, total.ndim - 1, total.ndim - 2, *range(1, total.ndim - 2))
    shape = (bands.shape[0] * bands.shape[1], *bands.shape[2:])
    result = np.empty(shape, total.dtype) if room is None else room
    np.copyto(result.reshape(bands.shape), bands)
    return result


def _bias_sum(g: Array) -> Array:
    """Σ over batch and space of an array with its channels last; lines first, for the longer runs."""
    lines = g.reshape(-1, g.shape[-2] * g.shape[-1]).sum(axis=0)
    return lines.reshape(g.shape[-2:]).sum(axis=0)


# ----------------------------------------------------------------------------------------- primitives


def _convolve_backward(
    g: Array,
    _saved: None,
    wanted: Sequence[bool],
    x: Array,
    weight: Array,
    _bias: Array | None,
    rooms: Sequence[Array | None],
    geometry: Geometry,
) -> list[Array | None]:
    kernel, x, g = weight.shape[2:], _channels_last(x), _channels_last(g)
    mirrored = _mirrored(weight, geometry, x.shape[1:-1], g.shape[1:-1])
    slope = total = None
    if wanted[0] and wanted[1] and mirrored is not None:
        slope, total = _both(x, g, weight, geometry, mirrored)
    elif wanted[1]:
        total = _weight_sum(x, g, kernel, geometry)
    if wanted[0] and slope is None:
        slope = _spread(g, weight, None, geometry, x.shape[1:-1])
    return [
        None if slope is None else _channels_first(slope),
        None if total is None else _as_weight(total, rooms[1]),
        _bias_sum(g) if wanted[2] else None,
    ]


@fused(backward=_convolve_backward)
def convolve(x: Any, weight: Any, bias: Any, *, geometry: Geometry) -> tuple[Array, None]:
    """y[o] = Σ w[o, i] ⋆ x[i] + b[o] (a cross-correlation); x̄ spreads ȳ with w, w̄ correlates x with ȳ, b̄ = Σ ȳ.

    Weights have the shape (outputs, inputs of a group, *kernel); b may be None.
    """
    matrix = _to_outputs(weight, geometry.groups)
    output = _correlate(_channels_last(x), matrix, bias, weight.shape[2:], geometry)
    return _channels_first(output), None


def _transposed_backward(
    g: Array,
    _saved: None,
    wanted: Sequence[bool],
    x: Array,
    weight: Array,
    _bias: Array | None,
    rooms: Sequence[Array | None],
    geometry: Geometry,
    size: Size,
) -> list[Array | None]:
    kernel, x, g = weight.shape[2:], _channels_last(x), _channels_last(g)
    slope = total = None
    if wanted[0]:
        slope = _correlate(g, _to_outputs(weight, geometry.groups), None, kernel, geometry)
    if wanted[1]:
        total = _weight_sum(g, x, kernel, geometry)
    return [
        None if slope is None else _channels_first(slope),
        None if total is None else _as_weight(total, rooms[1]),
        _bias_sum(g) if wanted[2] else None,
    ]


@fused(backward=_transposed_backward)
def convolve_transposed(
    x: Any, weight: Any, bias: Any, *, geometry: Geometry, size: Size
) -> tuple[Array, None]:
    """y spreads x with w, plus b: the transpose of `convolve`, to the given size of space; x̄ convolves ȳ with w.

    Weights have the shape (inputs, outputs of a group, *kernel), which is the weight of the convolution
    that it transposes.
    """
    return _channels_first(_spread(_channels_last(x), weight, bias, geometry, size)), None


@primitive
def correlate_weight(x: Any, g: Any, *, geometry: Geometry, kernel: Size) -> Array:
    """The gradient of `convolve` with respect to its weight: z[o, i, t] = Σ g[o] x[i] at tap t, over all windows."""
    return _as_weight(_weight_sum(_channels_last(x), _channels_last(g), kernel, geometry), None)


def _sum_to_channels(g: Any) -> Any:
    return g.sum(axis=(0, *range(2, g.ndim)))


convolve.differentiate(
    lambda g, _y, x, weight, _bias, geometry: convolve_transposed(
        g, weight, None, geometry=geometry, size=x.shape[2:]
    ),
    lambda g, _y, x, weight, _bias, geometry: correlate_weight(
        x, g, geometry=geometry, kernel=weight.shape[2:]
    ),
    lambda g, _y, _x, _weight, _bias, geometry: _sum_to_channels(g),
)
convolve_transposed.differentiate(
    lambda g, _y, _x, weight, _bias, geometry, size: convolve(g, weight, None, geometry=geometry),
    lambda g, _y, x, weight, _bias, geometry, size: correlate_weight(
        g, x, geometry=geometry, kernel=weight.shape[2:]
    ),
    lambda g, _y, _x, _weight, _bias, geometry, size: _sum_to_channels(g),
)
correlate_weight.differentiate(
    lambda gg, _z, x, g, geometry, kernel: convolve_transposed(
        g, gg, None, geometry=geometry, size=x.shape[2:]
    ),
    lambda gg, _z, x, _g, geometry, kernel: convolve(x, gg, None, geometry=geometry),
)

"""Pooling as primitives along one axis; two of them, one after the other, pool an image.

A maximum, or a sum, over a rectangle is one over its rows and then one over the rows' results. Windows
are never copied: a tap of all windows is a slice with steps, and slices are combined.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from scratchnet.ops.columns import span
from scratchnet.tape import Array, primitive


class Line(NamedTuple):
    """Windows along one axis.

    Attributes:
        axis: Which one.
        size: Of the axis.
        output: How many windows there are; they may reach over the end.
        kernel: Taps a window.
        stride: Steps from window to window.
        padding: Places before the first element where the first window begins.
        dilation: Steps from tap to tap.
    """

    axis: int
    size: int
    output: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    def taps(self) -> Iterator[tuple[Any, Any]]:
        """For each tap: the index of its elements in the input, and of their windows in the output."""
        for tap in range(self.kernel):
            here, there = span(tap * self.dilation, self.padding, self.stride, self.size, self.output)
            before = (slice(None),) * self.axis
            yield (*before, here), (*before, there)

    @property
    def is_tiling(self) -> bool:
        """Whether all windows lie inside and no two share an element."""
        reach = self.dilation * (self.kernel - 1)
        is_inside = self.padding == 0 and (self.output - 1) * self.stride + reach < self.size
        return is_inside and (reach < self.stride or self.output <= 1)


def _like(x: Array, line: Line, size: int, value: float) -> Array:
    """Filled with a value, in the order of memory of x, with another size along the line's axis."""
    shape = (*x.shape[: line.axis], size, *x.shape[line.axis + 1 :])
    result = np.empty_like(x, shape=shape)
    result.fill(value)
    return result


def _laid_out(g: Array, x: Array) -> Array:
    """The gradient in the order of memory of x, so that both are walked through together."""
    if g.strides == x.strides or g.ndim != x.ndim:
        return g
    result = np.empty_like(x, shape=g.shape, dtype=g.dtype)
    if result.strides == g.strides:
        return g
    np.copyto(result, g)
    return result


# -------------------------------------------------------------------------------------------- maximum


@primitive
def maximum(x: Any, *, line: Line) -> Array:
    """y = the largest element of each window; x̄ gets ȳ at the first element that is as large, as in PyTorch."""
    (first, _), *others = taps = list(line.taps())
    if line.is_tiling and others:
        result = np.maximum(x[first], x[others.pop(0)[0]])
        for here, _ in others:
            np.maximum(result, x[here], out=result)
        return result
    result = _like(x, line, line.output, -np.inf)
    for here, there in taps:
        np.maximum(result[there], x[here], out=result[there])
    return result


@primitive
def maximum_gradient(g: Any, x: Any, y: Any, *, line: Line) -> Array:
    """The backward pass of `maximum`: each g goes to where its window's maximum is first found; linear in g."""
    g = _laid_out(g, y)
    # The elements beyond the last window belong to none, and so may those between windows.
    is_covered = line.is_tiling and line.kernel * line.output == line.size and line.dilation == 1
    result = np.empty_like(x) if is_covered else _like(x, line, line.size, 0)
    (_route_apart if line.is_tiling else _route)(g, x, y, line, result)
    return result


def _route_apart(g: Array, x: Array, y: Array, line: Line, result: Array) -> None:
    *taps, last = (here for here, _ in line.taps())
    # What no earlier tap has taken waits in the last tap's place, and in the end belongs there.
    rest = result[last]
    for number, here in enumerate(taps):
        waiting = rest if number else g
        taken = np.multiply(waiting, x[here] == y, out=result[here])
        np.subtract(waiting, taken, out=rest)
    if not taps:
        np.copyto(rest, g)


def _route(g: Array, x: Array, y: Array, line: Line, result: Array) -> None:
    *taps, (last, below_last) = line.taps()
    rest = np.array(g)
    for here, there in taps:
        taken = rest[there] * (x[here] == y[there])
        result[here] += taken
        rest[there] -= taken
    result[last] += rest[below_last]


@primitive
def take_maximum(z: Any, x: Any, y: Any, *, line: Line) -> Array:
    """The transpose of `maximum_gradient`: the element of z where the maximum of x is first found in each window."""
    z = _laid_out(z, x)
    result = _like(y, line, line.output, 0)
    is_open = np.ones_like(y, dtype=bool)
    for here, there in line.taps():
        found = (x[here] == y[there]) & is_open[there]
        result[there] += z[here] * found
        is_open[there] &= ~found
    return result


maximum.differentiate(lambda g, y, x, line: maximum_gradient(g, x, y, line=line))
maximum_gradient.differentiate(lambda gg, _z, _g, x, y, line: take_maximum(gg, x, y, line=line), None, None)
take_maximum.differentiate(lambda g, _z, _zz, x, y, line: maximum_gradient(g, x, y, line=line), None, None)


# ------------------------------------------------------------------------------------------------ sum


@primitive
def window_sum(x: Any, *, line: Line) -> Array:
    """y = Σ x over each window; x̄ adds each ȳ onto all elements of its window."""
    taps = list(line.taps())
    if line.is_tiling and len(taps) > 1:
        result = x[taps[0][0]] + x[taps[1][0]]
        taps = taps[2:]
    else:
        result = _like(x, line, line.output, 0)
    for here, there in taps:
        result[there] += x[here]
    return result


@primitive
def window_spread(g: Any, *, line: Line) -> Array:
    """The transpose of `window_sum`."""
    result = _like(g, line, line.size, 0)
    for here, there in line.taps():
        if line.is_tiling:
            result[here] = g[there]
        else:
            result[here] += g[there]
    return result


window_sum.differentiate(lambda g, _y, _x, line: window_spread(g, line=line))
window_spread.differentiate(lambda g, _y, _x, line: window_sum(g, line=line))

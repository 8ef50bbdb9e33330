"""How a convolution becomes a product of matrices: the windows of an image, one a row, tile by tile.

Arrays here have the channel last, ``(batch, *space, channels)``: a window is then a few long runs of memory.
"""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided

from scratchnet.tape import Array

Size = tuple[int, ...]
Widths = tuple[tuple[int, int], ...]

# Bytes of columns that exist at a time: they are written and read again at once, from a core's cache.
TILE = 1 << 21
# Elements; shorter runs than this cost more to start than to copy.
SHORT_RUN = 16


class Geometry(NamedTuple):
    """How a kernel moves over space; each entry has a number (or a pair) for each axis of space.

    Attributes:
        stride: Steps from window to window.
        padding: Zeros before and after.
        dilation: Steps from tap to tap inside a window.
        groups: How many bands of channels there are that do not see each other.
    """

    stride: Size
    padding: Widths
    dilation: Size
    groups: int

    def output_size(self, size: Size, kernel: Size) -> Size:
        """How many windows fit along each axis."""
        sizes = zip(size, kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + low + high - d * (k - 1) - 1) // s + 1 for n, k, s, (low, high), d in sizes)

    def reversed(self, kernel: Size, size: Size, output: Size) -> "Geometry | None":
        """How the mirrored kernel moves over the output to give the input's gradient, of the given size.

        None where that would take zeros between the elements, or fewer than no zeros around them.
        """
        if any(step != 1 for step in self.stride):
            return None
        reach = [d * (k - 1) for d, k in zip(self.dilation, kernel, strict=True)]
        low = [far - before for far, (before, _) in zip(reach, self.padding, strict=True)]
        sizes = zip(size, reach, output, low, strict=True)
        widths = tuple((before, n + far - m - before) for n, far, m, before in sizes)
        return None if min(map(min, widths)) < 0 else self._replace(padding=widths)


def tiles(images: int, output: Size, window: int) -> Iterator[tuple[slice, slice]]:
    """Slices of images, and of lines of windows, whose columns fill a tile; ``window`` is the bytes of one."""
    lines = max(1, TILE // max(1, math.prod(output[1:]) * window))
    several = max(1, lines // max(1, output[0]))
    for start in range(0, images, several):
        for first in range(0, output[0], lines):
            yield slice(start, min(start + several, images)), slice(first, min(first + lines, output[0]))


def column_tiles(x: Array, kernel: Size, geometry: Geometry) -> Iterator[tuple[Any, Array]]:
    """The columns of all windows, (groups, windows, taps), a few images or lines of windows at a time.

    Beside them comes the index of what they are the windows of, in arrays of the output's shape. The next
    tile may be written over this one: fresh memory costs more than to fill it.
    """
    output = geometry.output_size(x.shape[1:-1], kernel)
    pieces = list(tiles(len(x), output, math.prod(kernel) * x.shape[-1] * x.itemsize))
    if not any(map(any, geometry.padding)) and max(*kernel, *geometry.stride) == 1:
        for index in pieces:
            yield index, grouped(x[index], geometry.groups)
        return
    if not pieces:
        return
    is_last = _is_channel_last(x.shape[-1], kernel, geometry, output)
    framed = _framed(x[pieces[0][0]], geometry, is_last)
    windows = _windows(x if framed is None else framed, kernel, geometry, output)
    scratch = np.empty(math.prod(windows[pieces[0]].shape), x.dtype)
    for number, (part, lines) in enumerate(pieces):
        if framed is not None and (number == 0 or part != pieces[number - 1][0]):
            _fill(framed, x[part], geometry)
        images = part if framed is None else slice(part.stop - part.start)
        yield (part, lines), _columns(windows[images, lines], scratch, is_last)


def _is_channel_last(channels: int, kernel: Size, geometry: Geometry, output: Size) -> bool:
    """Whether one window of all channels is a long enough run of memory, or else one tap of a line of windows."""
    run = channels // geometry.groups
    if geometry.groups == 1 and geometry.dilation[-1] == 1:
        run *= kernel[-1]
    return run >= min(SHORT_RUN, output[-1])


def _framed(x: Array, geometry: Geometry, is_last: bool) -> Array | None:
    """Zeros for x with its padding, in the order of memory that the windows want; None where x itself will do."""
    if not any(map(any, geometry.padding)) and x.strides[-1 if is_last else -2] == x.itemsize:
        return None
    space = tuple(n + low + high for n, (low, high) in zip(x.shape[1:-1], geometry.padding, strict=True))
    if is_last:
        return np.zeros((len(x), *space, x.shape[-1]), x.dtype)
    return np.moveaxis(np.zeros((len(x), x.shape[-1], *space), x.dtype), 1, -1)


def _fill(framed: Array, part: Array, geometry: Geometry) -> None:
    spans = zip(part.shape[1:-1], geometry.padding, strict=True)
    framed[(slice(len(part)), *(slice(low, low + n) for n, (low, _) in spans))] = part


def _windows(x: Array, kernel: Size, geometry: Geometry, output: Size) -> Array:
    """A view: (batch, *output, *kernel, groups, channels of a group)."""
    batch, *space, channel = x.strides
    bands, width = geometry.groups, x.shape[-1] // geometry.groups
    moves = [size * step for size, step in zip(space, geometry.stride, strict=True)]
    taps = [size * step for size, step in zip(space, geometry.dilation, strict=True)]
    return as_strided(
        x,
        (len(x), *output, *kernel, bands, width),
        (batch, *moves, *taps, channel * width, channel),
        writeable=False,
    )


def _columns(windows: Array, scratch: Array, is_last: bool) -> Array:
    """A copy of windows as matrices, (groups, windows, taps), the taps of a window side by side or the windows."""
    last = windows.ndim - 1
    places, taps = tuple(range(last // 2)), (*range(last // 2, last - 1), last)
    rows, row = (places, taps) if is_last else (taps, places)
    turned = windows.transpose(last - 1, *rows, *row)
    room = scratch[: windows.size].reshape(turned.shape)
    np.copyto(room, turned)
    matrices = room.reshape(len(turned), math.prod(turned.shape[1 : 1 + len(rows)]), -1)
    # BLAS reads either order.
    return matrices if is_last else matrices.swapaxes(1, 2)


def fold(columns: Array, result: Array, kernel: Size, geometry: Geometry, output: Size, line: int) -> None:
    """Adds columns, (groups, windows, taps), onto the places of ``result`` that they are the windows of.

    ``output`` is how many windows there are along each axis; the first of them is in the given line.
    """
    tapped = columns.reshape(geometry.groups, len(result), *output, *kernel, -1)
    banded = result.reshape(*result.shape[:-1], geometry.groups, -1)
    # What begins some lines further down lies as if there was less padding above.
    before = [
        low - line * s * (not axis)
        for axis, ((low, _), s) in enumerate(zip(geometry.padding, geometry.stride, strict=True))
    ]
    for tap in product(*map(range, kernel)):
        offsets = [index * d for index, d in zip(tap, geometry.dilation, strict=True)]
        spans = list(map(span, offsets, before, geometry.stride, result.shape[1:-1], output))
        here, there = zip(*spans, strict=True)
        banded[(slice(None), *here)] += np.moveaxis(tapped[(slice(None), slice(None), *there, *tap)], 0, -2)


def span(offset: int, low: int, stride: int, size: int, output: int) -> tuple[slice, slice]:
    """Where one tap of all windows lies along an axis, without the padding: in the input, in the output."""
    first = min(max(0, -((offset - low) // stride)), output)
    last = max(first, min(output, -((offset - low - size) // stride)))
    start = first * stride + offset - low
    return slice(start, start + (last - first) * stride, stride), slice(first, last)


def grouped(x: Array, groups: int) -> Array:
    """(batch, *space, channels) as (groups, places, channels of a group); a view of a contiguous array."""
    width = x.shape[-1] // groups
    return cast(Array, x.reshape(x.size // max(1, x.shape[-1]), groups, width).swapaxes(0, 1))

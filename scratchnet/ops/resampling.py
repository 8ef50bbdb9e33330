"""Primitives that pick, repeat or frame elements along axes of space, and their transposes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from scratchnet.tape import Array, primitive

Widths = tuple[tuple[int, int], ...]


@primitive
def pad(x: Any, *, widths: Widths, value: float) -> Array:
    """y is x in a frame of a constant; widths below zero cut off instead. x̄ takes the frame off ȳ."""
    shape = tuple(size + low + high for size, (low, high) in zip(x.shape, widths, strict=True))
    result = np.empty_like(x, shape=shape)
    result.fill(value)
    kept = [
        (slice(max(0, -low), size - max(0, -high)), slice(max(0, low), size + low + min(0, high)))
        for size, (low, high) in zip(x.shape, widths, strict=True)
    ]
    result[tuple(there for _, there in kept)] = x[tuple(here for here, _ in kept)]
    return result


pad.differentiate(
    lambda g, _y, _x, widths, value: pad(g, widths=tuple((-low, -high) for low, high in widths), value=0)
)


@primitive
def pick(x: Any, *, index: Array, axis: int, size: int) -> Array:
    """y[…, j, …] = x[…, index[j], …] along an axis of the given size; x̄ adds ȳ up where it was picked."""
    return x[(slice(None),) * axis + (index,)]


@primitive
def gather(g: Any, *, index: Array, axis: int, size: int) -> Array:
    """The transpose of `pick`: y[…, index[j], …] is the sum of the g[…, j, …]."""
    result = np.zeros_like(g, shape=(*g.shape[:axis], size, *g.shape[axis + 1 :]))
    before = (slice(None),) * axis
    for sources in _rounds(index):
        here: Any = (*before, index[sources])
        result[here] += g[(*before, sources)]
    return result


def _rounds(index: Array) -> Iterator[Array]:
    """Positions in ``index``, in rounds within which no number comes twice: the second time is for the second."""
    order = np.argsort(index, kind="stable")
    ordered = index[order]
    starts = np.searchsorted(ordered, ordered)
    repeats = np.arange(index.size) - starts
    for number in range(repeats.max(initial=-1) + 1):
        yield order[repeats == number]


pick.differentiate(lambda g, _y, _x, index, axis, size: gather(g, index=index, axis=axis, size=size))
gather.differentiate(lambda g, _y, _x, index, axis, size: pick(g, index=index, axis=axis, size=size))

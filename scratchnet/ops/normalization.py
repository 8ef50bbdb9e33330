"""Batch, group and instance normalisation: one primitive, for they differ in what shares its statistics.

A batch of images fills no cache, so what is done to it is done slab by slab, several operations at once.
Whatever is known of a channel of an example stands in small matrices of shape (batch, channels).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from scratchnet.fused import fused
from scratchnet.ops.elementwise import sqrt
from scratchnet.tape import Array

# Elements a slab, which a core's cache holds together with what is computed of them.
SLAB = 1 << 16

# Hears mean and biased variance of each forward pass, shape (1, channels) or (batch, channels).
Observer = Callable[[Array, Array], None]


class _Layout:
    """How an array of shape (batch, channels, ...) lies in memory, and what shares its statistics.

    Args:
        x: The array.
        groups: None where a channel shares its mean and variance with the rest of the batch; else the
            number of groups in which an example's channels share them.
    """

    def __init__(self, x: Array, groups: int | None) -> None:
        self.shape = x.shape
        self.groups = groups
        batch, self.channels, *space = x.shape
        # Features have no space of their own; the examples then take its place.
        self.is_matrix = groups is None and not space
        shared = batch if groups is None else self.channels // groups
        self.count = shared * math.prod(space)
        flat = x.reshape(batch, self.channels, -1)
        self.channels_last = self.is_matrix or flat.strides[1] < flat.strides[2]

    def view(self, x: Array) -> Array:
        """Three axes in memory's order: examples, channels and space, or examples, space and channels."""
        if self.is_matrix:
            return x[None]
        flat = x.reshape(*x.shape[:2], -1)
        return flat.swapaxes(1, 2) if self.channels_last else flat

    def restore(self, view: Array) -> Array:
        """What was a view, in the original shape."""
        if self.is_matrix:
            return view[0]
        return (view.swapaxes(1, 2) if self.channels_last else view).reshape(self.shape)

    def spread(self, numbers: Array) -> Array:
        """Numbers for each channel of each example, beside a view."""
        return numbers[:, None, :] if self.channels_last else numbers[:, :, None]

    def sums(self, view: Array) -> Array:
        """Sums over space, shape (batch, channels)."""
        # NumPy's own sum is only fast over an axis whose elements are neighbours.
        return np.dot(np.ones(view.shape[1], view.dtype), view) if self.channels_last else view.sum(axis=-1)

    def dots(self, view: Array, other: Array) -> Array:
        """Products summed over space, shape (batch, channels)."""
        return self.sums(view * other) if self.channels_last else np.vecdot(view, other)

    def pooled(self, sums: Array) -> Array:
        """Of sums over space the mean over all that shares its statistics, in the shape of the sums."""
        if self.groups is None:
            shared = sums.sum(axis=0, keepdims=True)
        else:
            shared = sums.reshape(len(sums), self.groups, -1).sum(axis=-1)
            shared = shared.repeat(self.channels // self.groups, axis=-1)
        shared *= 1 / self.count
        return np.broadcast_to(shared, sums.shape)

    def slabs(self, view: Array) -> Iterator[slice]:
        """Runs of examples."""
        examples = max(1, SLAB // max(1, math.prod(view.shape[1:])))
        return (slice(start, start + examples) for start in range(0, len(view), examples))

    def moments(self, view: Array) -> tuple[Array, Array]:
        """Mean and biased variance, shape (batch, channels)."""
        sums = np.empty((len(view), self.channels), view.dtype)
        for slab in self.slabs(view):
            sums[slab] = self.sums(view[slab])
        mean = self.pooled(sums)
        # Not the mean of squares less the squared mean, which loses all digits where the mean is large.
        for slab in self.slabs(view):
            centred = view[slab] - self.spread(mean[slab])
            sums[slab] = self.dots(centred, centred)
        return mean, self.pooled(sums)


def _formula(x: Any, weight: Any, bias: Any, groups: int | None, eps: float, observe: Any = None) -> Any:
    batch, channels, *space = x.shape
    axes, shape = ((0, 2), (batch, channels, -1)) if groups is None else ((2,), (batch, groups, -1))
    grouped = x.reshape(shape)
    centred = grouped - grouped.mean(axis=axes, keepdims=True)
    variance = (centred * centred).mean(axis=axes, keepdims=True)
    y = (centred / sqrt(variance + eps)).reshape(x.shape)
    aligned = (channels, *[1] * len(space))
    y = y if weight is None else y * weight.reshape(aligned)
    return y if bias is None else y + bias.reshape(aligned)


def _backward(
    g: Array,
    saved: tuple[_Layout, Array, Array],
    wanted: Sequence[bool],
    x: Array,
    weight: Array | None,
    _bias: Array | None,
    **_constants: Any,
) -> list[Array | None]:
    layout, mean, inverse = saved
    view, slopes = layout.view(x), layout.view(g)
    totals, products = np.empty_like(mean), np.empty_like(mean)
    for slab in layout.slabs(view):
        centred = view[slab] - layout.spread(mean[slab])
        totals[slab] = layout.sums(slopes[slab])
        products[slab] = layout.dots(slopes[slab], centred)
    products *= inverse
    return [
        _input_gradient(layout, view, slopes, mean, inverse, totals, products, weight) if wanted[0] else None,
        products.sum(axis=0) if wanted[1] else None,
        totals.sum(axis=0) if wanted[2] else None,
    ]


def _input_gradient(
    layout: _Layout,
    view: Array,
    slopes: Array,
    mean: Array,
    inverse: Array,
    totals: Array,
    products: Array,
    weight: Array | None,
) -> Array:
    scale = inverse if weight is None else inverse * weight
    shift = inverse * layout.pooled(totals if weight is None else totals * weight)
    slant = inverse * inverse * layout.pooled(products if weight is None else products * weight)
    shift -= slant * mean
    result = np.empty(view.shape, view.dtype)
    for slab in layout.slabs(view):
        piece = np.multiply(slopes[slab], layout.spread(scale[slab]), out=result[slab])
        piece -= view[slab] * layout.spread(slant[slab])
        piece -= layout.spread(shift[slab])
    return layout.restore(result)


@fused(backward=_backward, formula=_formula)
def normalize(
    x: Any, weight: Any, bias: Any, *, groups: int | None, eps: float, observe: Observer | None = None
) -> tuple[Array, tuple[_Layout, Array, Array]]:
    """y = w x̂ + b with x̂ = (x − μ) / √(σ² + ε), w and b a number each for every channel (axis 1), or None.

    μ and σ² are taken of a channel over batch and space (``groups`` None), or of an example over space
    and each group of its channels. With averages ⟨·⟩ over the same elements and h = w ȳ:
    x̄ = (h − ⟨h⟩ − x̂ ⟨h x̂⟩) / √(σ² + ε), w̄ = Σ ȳ x̂, b̄ = Σ ȳ.
    """
    layout = _Layout(x, groups)
    view = layout.view(x)
    mean, variance = layout.moments(view)
    if observe is not None:
        kept = slice(1) if groups is None else slice(None)
        observe(mean[kept], variance[kept])
    inverse = 1 / np.sqrt(variance + eps)
    scale = inverse if weight is None else inverse * weight
    # What x itself has lost to rounding is as much as this difference can lose.
    shift = -mean * scale if bias is None else bias - mean * scale
    result = np.empty(view.shape, view.dtype)
    for slab in layout.slabs(view):
        piece = np.multiply(view[slab], layout.spread(scale[slab]), out=result[slab])
        piece += layout.spread(shift[slab])
    return layout.restore(result), (layout, mean, inverse)

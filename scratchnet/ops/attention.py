"""Scaled dot-product attention as a fused primitive, on separate or packed queries, keys and values."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.backward import sum_to_shape
from scratchnet.fused import fused
from scratchnet.ops.linalg import matmul, swap, times
from scratchnet.ops.shape import take
from scratchnet.tape import Array, primitive


def _normalise_(scores: Array, axis: int) -> Array:
    """Softmax in place; what is −∞ all along the axis becomes zeros, not NaN."""
    top = scores.max(axis=axis, keepdims=True)
    scores -= np.maximum(top, np.finfo(scores.dtype).min, out=top)
    np.exp(scores, out=scores)
    total = scores.sum(axis=axis, keepdims=True)
    # Where anything is left, the largest entry is 1 by now.
    scores /= np.maximum(total, 1, out=total)
    return scores


@primitive
def masked_softmax(x: Any) -> Array:
    """y = eˣ / Σ eˣ along the last axis, and zeros where all of x is −∞; x̄ = y (ȳ − Σ ȳ y).

    A query that may look at nothing sees nothing: 0/0 would make NaN of the whole network.
    """
    return _normalise_(np.array(x), -1)


masked_softmax.differentiate(lambda g, y, _x: y * (g - (g * y).sum(axis=-1, keepdims=True)))


def attention_weights(query: Any, key: Any, mask: Any, *, scale: float) -> Any:
    """softmax(s Q Kᵀ + M), made of other primitives; shape (..., queries, keys)."""
    scores = matmul(query * scale, swap(key))
    return masked_softmax(scores if mask is None else scores + mask)


def _formula(query: Any, key: Any, value: Any, mask: Any, *, scale: float, factors: Array | None) -> Any:
    weights = attention_weights(query, key, mask, scale=scale)
    return matmul(weights if factors is None else weights * factors, value)


def _scores(query: Array, key: Array) -> Array:
    """A room for the transposed scores (..., keys, queries), the heads side by side in memory.

    With the keys outside the heads, a maximum or a sum over them runs along rows of heads × queries:
    NumPy pays for each row, and would pay four times as much for the rows of one head.
    """
    *batch, queries, _ = query.shape
    room = np.empty((*batch[:-1], key.shape[-2], *batch[-1:], queries), query.dtype)
    return np.moveaxis(room, len(batch[:-1]), -2)


def _backward(
    g: Array,
    saved: tuple[Array, ...],
    wanted: Sequence[bool],
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    *,
    scale: float,
    factors: Array | None,
) -> list[Array | None]:
    # Gradients are laid out as what they belong to: heads then go back into rows without a copy.
    rooms = [np.empty_like(x) if want else None for x, want in zip((query, key, value), wanted, strict=False)]
    slope = _pull_back(g, saved, rooms, query, key, value, scale, factors)
    mask_gradient = sum_to_shape(swap(slope), mask.shape) if mask is not None and wanted[3] else None
    return [*rooms, mask_gradient]


def _pull_back(
    g: Array,
    saved: tuple[Array, ...],
    rooms: Sequence[Array | None],
    query: Array,
    key: Array,
    value: Array,
    scale: float,
    factors: Array | None,
) -> Array:
    """Writes the gradients of query, key and value into their rooms; returns that of the scores, transposed."""
    weights, dropped, scaled, output = saved
    if rooms[2] is not None:
        times(dropped, g, out=rooms[2])
    slope = times(value, swap(g), out=_scores(query, key))
    if factors is not None:
        slope *= swap(factors)
    # Σ W W̄ over the keys equals Σ ȳ y over the columns, of which there are fewer.
    slope -= np.vecdot(g, output)[..., None, :]
    slope *= weights
    if rooms[0] is not None:
        times(swap(slope), key, out=rooms[0])
        np.multiply(rooms[0], scale, out=rooms[0])
    if rooms[1] is not None:
        times(slope, scaled, out=rooms[1])
    return slope


def _attend(
    query: Array, key: Array, value: Array, mask: Array | None, scale: float, factors: Array | None
) -> tuple[Array, tuple[Array, ...]]:
    scaled = query * scale
    scores = times(key, swap(scaled), out=_scores(query, key))
    if mask is not None:
        scores += swap(mask)
    weights = _normalise_(scores, -2)
    dropped = weights if factors is None else weights * swap(factors)
    output = np.empty_like(query, shape=(*query.shape[:-1], value.shape[-1]))
    times(swap(dropped), value, out=output)
    return output, (weights, dropped, scaled, output)


@fused(backward=_backward, formula=_formula)
def attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    *,
    scale: float,
    factors: Array | None,
) -> tuple[Array, tuple[Array, ...]]:
    """Y = (W ∘ F) V with weights W = softmax(s Q Kᵀ + M) over the keys.

    With ȲVᵀ∘F = W̄ and S̄ = W ∘ (W̄ − Σ W̄ W): V̄ = (W ∘ F)ᵀ Ȳ, Q̄ = s S̄ K, K̄ = s S̄ᵀ Q and M̄ = S̄.

    Args:
        query: Q, shape ``(..., queries, columns)``.
        key: K, shape ``(..., keys, columns)``.
        value: V, shape ``(..., keys, value columns)``.
        mask: M, broadcast to ``(..., queries, keys)``; −∞ hides a key. None is zero.
        scale: s.
        factors: F, what dropout multiplies the weights by; None is one.
    """
    return _attend(query, key, value, mask, scale, factors)


def _packed_formula(packed: Any, mask: Any, *, scale: float, factors: Array | None) -> Any:
    query, key, value = (take(packed, index=position, shape=packed.shape) for position in range(3))
    return _formula(query, key, value, mask, scale=scale, factors=factors)


def _packed_backward(
    g: Array,
    saved: tuple[Array, ...],
    wanted: Sequence[bool],
    packed: Array,
    mask: Array | None,
    *,
    scale: float,
    factors: Array | None,
) -> list[Array | None]:
    room = np.empty_like(packed) if wanted[0] else None
    rooms = [None, None, None] if room is None else list(room)
    query, key, value = packed
    slope = _pull_back(g, saved, rooms, query, key, value, scale, factors)
    return [room, sum_to_shape(swap(slope), mask.shape) if mask is not None and wanted[1] else None]


@fused(backward=_packed_backward, formula=_packed_formula)
def packed_attention(
    packed: Array, mask: Array | None, *, scale: float, factors: Array | None
) -> tuple[Array, tuple[Array, ...]]:
    """`attention` of what one product has computed together: Q, K and V along the first axis."""
    query, key, value = packed
    return _attend(query, key, value, mask, scale, factors)

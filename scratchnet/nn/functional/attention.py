"""Attention as a function."""

import math
from typing import Any

import numpy as np

from scratchnet.nn.functional.dropout import dropout
from scratchnet.ops import attention as ops
from scratchnet.rng import RNGLike
from scratchnet.tape import Array
from scratchnet.tensor import Tensor, as_tensor


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    rng: RNGLike = None,
) -> Tensor:
    """Mean of the values, weighted by how well each key fits the query: softmax(s Q Kᵀ + M) V.

    With weights W and W̄ = ȲVᵀ: V̄ = Wᵀ Ȳ, S̄ = W ∘ (W̄ − Σ W̄ W), Q̄ = s S̄ K, K̄ = s S̄ᵀ Q, M̄ = S̄. A query
    whose keys are all hidden gets zeros, where 0/0 would be NaN.

    Args:
        query: Q, shape ``(..., queries, columns)``.
        key: K, shape ``(..., keys, columns)``.
        value: V, shape ``(..., keys, value columns)``.
        attn_mask: Broadcast to ``(..., queries, keys)``. Booleans: a key takes part where True (in
            `MultiheadAttention`, as in PyTorch, it is the opposite). Floats are M, added to the scores.
        dropout_p: Probability with which each weight is dropped, at every call; pass 0 in evaluation.
        is_causal: Hides key j from query i where j > i; holds beside ``attn_mask``.
        scale: s; None is 1/√columns.
        rng: Where dropout draws from: a generator, a seed, or None for fresh entropy.

    Returns:
        Shape ``(..., queries, value columns)``.

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762.
    """
    query, key, value = as_tensor(query), as_tensor(key), as_tensor(value)
    _check(query, key, value)
    shape = (*query.shape[:-1], key.shape[-2])
    mask = _checked_mask(attn_mask, shape)
    if is_causal:
        mask = add_masks(mask, causal_mask(*shape[-2:]))
    return ops.attention(
        query,
        key,
        value,
        mask,
        scale=1.0 / math.sqrt(query.shape[-1]) if scale is None else float(scale),
        factors=dropout_factors(shape, query.dtype, dropout_p, rng),
    )


def additive_mask(mask: Any) -> Any:
    """What is added to the scores: of booleans 0 where True and −∞ elsewhere; floats as they are."""
    if np.asarray(mask).dtype != bool:
        return mask
    return np.where(np.asarray(mask), 0.0, -np.inf)


def causal_mask(queries: int, keys: int, offset: int = 0) -> Array:
    """−∞ where a key comes after the query, which stands ``offset`` positions after the first key."""
    return np.triu(np.full((queries, keys), -np.inf), k=1 + offset)


def add_masks(*masks: Any) -> Any:
    """Their sum; None counts for nothing."""
    given = [mask for mask in masks if mask is not None]
    return sum(given[1:], given[0]) if given else None


def dropout_factors(shape: tuple[int, ...], dtype: Any, p: float, rng: RNGLike) -> Array | None:
    """What dropout multiplies by: 0 with probability p, else 1/(1 − p); None where nothing is dropped."""
    return dropout(np.ones(shape, dtype), p, True, rng).array if p else None


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    q, k, v = query.shape, key.shape, value.shape
    fits = len(q) >= 2 and q[:-2] == k[:-2] == v[:-2] and q[-1:] == k[-1:] and k[-2:-1] == v[-2:-1]
    if not (fits and k[-2]):
        raise ValueError(
            f"scaled_dot_product_attention needs a query (..., queries, columns), a key (..., keys, columns) "
            f"and a value (..., keys, any) with at least one key, got {q}, {k} and {v}"
        )


def _checked_mask(attn_mask: Any, shape: tuple[int, ...]) -> Any:
    if attn_mask is None:
        return None
    mask = additive_mask(attn_mask)
    size = np.shape(mask)
    fits = 2 <= len(size) <= len(shape) and all(
        a in (1, b) for a, b in zip(reversed(size), reversed(shape), strict=False)
    )
    if not fits:
        raise ValueError(
            f"scaled_dot_product_attention needs an attn_mask of two or more axes that can be broadcast to "
            f"{shape}, got {size}"
        )
    return mask

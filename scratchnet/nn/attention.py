"""Attention with several heads, and the cache that lets it generate."""

import math
from typing import Any, NamedTuple

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn import init
from scratchnet.nn.cache import KVCache
from scratchnet.nn.functional.attention import add_masks, additive_mask, causal_mask, dropout_factors
from scratchnet.nn.functional.dropout import check_probability
from scratchnet.nn.linear import Linear
from scratchnet.nn.module import Module, Parameter
from scratchnet.nn.positions import RotaryEmbedding
from scratchnet.ops import attention as ops
from scratchnet.ops.linalg import matmul
from scratchnet.rng import RNGLike
from scratchnet.tape import Array
from scratchnet.tensor import Tensor

Shape = tuple[int, ...]


class _Layout(NamedTuple):
    """Orders of axes that put heads before positions, and back."""

    packed: tuple[int, ...]
    apart: tuple[int, ...]
    together: tuple[int, ...]


_ALONE = _Layout((1, 2, 0, 3), (1, 0, 2), (1, 0, 2))
_BATCH_FIRST = _Layout((2, 0, 3, 1, 4), (0, 2, 1, 3), (0, 2, 1, 3))
_BATCH_SECOND = _Layout((2, 1, 3, 0, 4), (1, 2, 0, 3), (2, 0, 1, 3))


class MultiheadAttention(Module):
    """Several attentions side by side, each on its own projection: Y = concat(softmax(Qₕ Kₕᵀ/√d + M) Vₕ) Wᵒ.

    Qₕ, Kₕ and Vₕ are the columns of head h, d = embed_dim / num_heads of them, of query, key and value
    times their projections. Where query, key and value are one object (self-attention) a single product
    computes all three. Initial weights are PyTorch's: Xavier uniform, biases zero. See
    `scratchnet.nn.functional.scaled_dot_product_attention` for the gradient.

    Args:
        embed_dim: Columns of query and output, a multiple of ``num_heads``.
        num_heads: Number of heads.
        dropout: Probability with which each weight is dropped in training.
        bias: False leaves out the biases of all projections.
        add_bias_kv: Must be False.
        add_zero_attn: Must be False.
        kdim: Columns of the key; None is ``embed_dim``.
        vdim: Columns of the value; None is ``embed_dim``.
        batch_first: Whether the batch is the first axis; if not, the second.
        rotary: Turns queries and keys by their positions; its ``dim`` is that of a head.
        rng: Where first values and dropout draw from: a generator, a seed, or None for fresh entropy.

    A call takes ``(query, key, value)`` and:
        key_padding_mask: ``(batch, keys)``; hides keys where True, or is added to the scores.
        need_weights: Whether the weights are wanted too; without them attention is one fused step.
        attn_mask: ``(queries, keys)`` or ``(batch · num_heads, queries, keys)``, likewise.
        average_attn_weights: Whether the weights are averaged over the heads.
        is_causal: Hides later keys from each query; it needs no ``attn_mask`` beside it.
        cache: A `KVCache`, for generation.
    It returns the output and the weights, or None in their place. A query whose keys are all hidden gets
    zeros before the last projection; PyTorch gives NaN, or zeros, depending on ``need_weights``.

    Shape:
        ``(batch, queries, embed_dim)`` and ``(batch, keys, ·)``, or without a batch; weights
        ``(batch, queries, keys)``, or ``(batch, num_heads, queries, keys)`` if not averaged.

    Raises:
        ValueError: If sizes or shapes do not fit.
        RuntimeError: If a cache is used while gradients are recorded.

    Example:
        >>> attention = MultiheadAttention(8, 2, batch_first=True, rng=0)
        >>> x = np.zeros((3, 5, 8), np.float32)
        >>> output, weights = attention(x, x, x, is_causal=True)
        >>> output.shape, weights.shape, weights.numpy()[0, 1].tolist()
        ((3, 5, 8), (3, 5, 5), [0.5, 0.5, 0.0, 0.0, 0.0])

    References:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        rotary: RotaryEmbedding | None = None,
        rng: RNGLike = None,
    ) -> None:
        super().__init__()
        _check_arguments(embed_dim, num_heads, dropout, add_bias_kv, add_zero_attn)
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first = batch_first
        self._generator = np.random.default_rng(rng)
        self._make_projections(bias)
        if rotary is not None and rotary.dim != self.head_dim:
            raise ValueError(
                f"MultiheadAttention needs a rotary embedding of its heads' {self.head_dim} columns, "
                f"got one of {rotary.dim}"
            )
        self.rotary = rotary

    def _make_projections(self, bias: bool) -> None:
        size = self.embed_dim
        self.in_proj_weight: Parameter | None = None
        if self.kdim == self.vdim == size:
            self.in_proj_weight = self._xavier(3 * size, size)
        else:
            self.q_proj_weight = self._xavier(size, size)
            self.k_proj_weight = self._xavier(size, self.kdim)
            self.v_proj_weight = self._xavier(size, self.vdim)
        self.in_proj_bias = Parameter(np.zeros(3 * size, np.float32)) if bias else None
        self.out_proj = Linear(size, size, bias, rng=self._generator)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def _xavier(self, outputs: int, inputs: int) -> Parameter:
        weight = Parameter(np.empty((outputs, inputs), np.float32))
        init.xavier_uniform_(weight, rng=self._generator)
        return weight

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        cache: KVCache | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """See the class."""
        layout = self._layout(np.shape(query), np.shape(key), np.shape(value))
        heads = self._heads(query, key, value, layout, cache)
        q, k = (heads.array if isinstance(heads, Tensor) else heads)[:2]
        shape = (*q.shape[:-1], k.shape[-2])
        # A cache has put the keys of earlier positions before those of the queries.
        offset = 0 if cache is None else shape[-1] - shape[-2]
        mask = add_masks(
            None if attn_mask is None else _attention_mask(attn_mask, shape),
            None if key_padding_mask is None else _padding_mask(key_padding_mask, shape),
            causal_mask(shape[-2], shape[-1], offset) if is_causal else None,
        )
        output, weights = self._attend(heads, mask, self._factors(shape), need_weights)
        if weights is not None and average_attn_weights:
            weights = weights.mean(axis=-3)
        joined = output.transpose(*layout.together)
        return self.out_proj(joined.reshape(*joined.shape[:-2], self.embed_dim)), weights

    def _factors(self, shape: tuple[int, ...]) -> Array | None:
        p = self.dropout if self.training else 0.0
        return dropout_factors(shape, self.out_proj.weight.dtype, p, self._generator)

    def _attend(
        self, heads: Any, mask: Any, factors: Array | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The heads' outputs, and their weights where they are wanted."""
        scale = 1.0 / math.sqrt(self.head_dim)
        if isinstance(heads, Tensor) and not need_weights:
            return ops.packed_attention(heads, mask, scale=scale, factors=factors), None
        query, key, value = heads
        if not need_weights:
            return ops.attention(query, key, value, mask, scale=scale, factors=factors), None
        weights = ops.attention_weights(query, key, mask, scale=scale)
        weights = weights if factors is None else weights * factors
        return matmul(weights, value), weights

    # ------------------------------------------------------------------------------ projections

    def _heads(self, query: Any, key: Any, value: Any, layout: _Layout, cache: KVCache | None) -> Any:
        """Query, key and value, ``(..., heads, positions, columns)`` each: one tensor, or three."""
        if cache is not None and key is not query:
            kept = cache.recall(self, key, lambda: (self._part(key, 1, layout), self._part(value, 2, layout)))
            return self._part(query, 0, layout), *kept
        if query is key is value and self.in_proj_weight is not None:
            heads: Any = self._packed(query, self.in_proj_weight, layout)
        else:
            heads = [self._part(x, part, layout) for part, x in enumerate((query, key, value))]
        if self.rotary is None and cache is None:
            return heads
        q, k, v = heads
        if self.rotary is not None:
            offset = 0 if cache is None else cache.length(self)
            q, k = self.rotary(q, offset), self.rotary(k, offset)
        return (q, k, v) if cache is None else (q, *cache.extend(self, k, v))

    def _packed(self, x: Any, weight: Tensor, layout: _Layout) -> Tensor:
        """All three projections of one input, by one product."""
        y = F.linear(x, weight, self.in_proj_bias)
        return y.reshape(*y.shape[:-1], 3, self.num_heads, self.head_dim).transpose(*layout.packed)

    def _part(self, x: Any, part: int, layout: _Layout) -> Tensor:
        """The projection of query (0), key (1) or value (2)."""
        rows = slice(part * self.embed_dim, (part + 1) * self.embed_dim)
        if self.in_proj_weight is None:
            weight: Tensor = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)[part]
        else:
            weight = self.in_proj_weight[rows]
        y = F.linear(x, weight, None if self.in_proj_bias is None else self.in_proj_bias[rows])
        return y.reshape(*y.shape[:-1], self.num_heads, self.head_dim).transpose(*layout.apart)

    def _layout(self, query: Shape, key: Shape, value: Shape) -> _Layout:
        """Where the batch is; raises where the shapes do not fit."""
        batch, positions = (0, 1) if self.batch_first else (1, 0)
        if len(query) == 2:
            batch, positions = -1, 0
        wanted = (self.embed_dim, self.kdim, self.vdim)
        if not (
            len(query) in (2, 3)
            and len(query) == len(key) == len(value)
            and (query[-1], key[-1], value[-1]) == wanted
            and (len(query) == 2 or query[batch] == key[batch] == value[batch])
            and key[positions] == value[positions] > 0
        ):
            axes = "batch, positions, " if self.batch_first else "positions, batch, "
            raise ValueError(
                f"MultiheadAttention needs query, key and value ({axes}columns), or without a batch, of "
                f"{wanted} columns, keys and values at equally many positions, got {query}, {key} and {value}"
            )
        return _ALONE if len(query) == 2 else _BATCH_FIRST if self.batch_first else _BATCH_SECOND


def _check_arguments(
    embed_dim: int, num_heads: int, dropout: float, add_bias_kv: bool, add_zero_attn: bool
) -> None:
    if min(embed_dim, num_heads) < 1 or embed_dim % num_heads:
        raise ValueError(
            f"MultiheadAttention needs an embed_dim that is a multiple of num_heads, "
            f"got {embed_dim} and {num_heads}"
        )
    check_probability("MultiheadAttention", dropout)
    if add_bias_kv or add_zero_attn:
        raise ValueError(
            f"MultiheadAttention needs add_bias_kv=False and add_zero_attn=False, got {add_bias_kv} and "
            f"{add_zero_attn}; join the extra key and value to the inputs instead"
        )


def _hiding(mask: Any) -> Any:
    """The additive mask of booleans that are True where a key is hidden; floats as a tensor or an array."""
    plain = np.asarray(mask)
    if plain.dtype == bool:
        return additive_mask(~plain)
    return mask if isinstance(mask, Tensor) else plain


def _attention_mask(mask: Any, shape: Shape) -> Any:
    *batch, queries, keys = shape
    allowed = ((queries, keys), (math.prod(batch), queries, keys))
    if np.shape(mask) not in allowed:
        raise ValueError(
            f"MultiheadAttention needs an attn_mask of shape {allowed[0]} or {allowed[1]}, got {np.shape(mask)}"
        )
    return _hiding(mask) if np.ndim(mask) == 2 else _hiding(mask).reshape(*shape)


def _padding_mask(mask: Any, shape: Shape) -> Any:
    wanted = (*shape[:-3], shape[-1])
    if np.shape(mask) != wanted:
        raise ValueError(
            f"MultiheadAttention needs a key_padding_mask of shape {wanted}, got {np.shape(mask)}"
        )
    return _hiding(mask).reshape(*shape[:-3], 1, 1, shape[-1])

"""Encodings that tell attention where a token stands."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from scratchnet.nn.module import Module
from scratchnet.ops.rotation import rotate
from scratchnet.tape import Array
from scratchnet.tensor import Tensor, as_tensor


class RotaryEmbedding(Module):
    """Rotates pairs of columns of queries and keys by angles that grow with the position.

    Pair i of a vector at position p turns by the angle φ = p θᵢ with θᵢ = base^(−2i/dim):
    y₁ = x₁ cos φ − x₂ sin φ, y₂ = x₂ cos φ + x₁ sin φ. The gradient turns back: x̄₁ = ȳ₁ cos φ + ȳ₂ sin φ,
    x̄₂ = ȳ₂ cos φ − ȳ₁ sin φ. Rotations keep lengths,
    and the product of a query at p with a key at q depends on p − q alone, so attention sees relative
    positions without any parameter.

    Conventions differ between libraries. Here, in the *half-split* convention (GPT-NeoX, Llama in
    Hugging Face's Transformers), pair i is made of columns i and i + dim/2. The paper's *interleaved*
    convention (GPT-J, Llama's first release, torchtune) pairs columns 2i and 2i + 1. The two differ by a
    permutation of columns only: give ``projection[[0, 2, …, 1, 3, …]]`` (of each head) to one
    where the other had ``projection``, for queries and keys, and attention is the same.

    Args:
        dim: Size of a head, even.
        base: What the slowest pair's period grows with.

    Shape:
        ``(..., positions, dim)``, kept. `MultiheadAttention` takes it as its argument ``rotary``.

    Raises:
        ValueError: If ``dim`` is odd or less than 2; from a call, if the last axis is another.

    Example:
        >>> RotaryEmbedding(2)(np.array([[1.0, 0.0], [1.0, 0.0]])).numpy()  # turned by 0 and by 1 radian
        array([[1.        , 0.        ],
               [0.54030231, 0.84147098]])

    References:
        Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, arXiv:2104.09864.
    """

    def __init__(self, dim: int, base: float = 10000.0) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"RotaryEmbedding needs an even dim >= 2, got {dim}: columns turn in pairs")
        self.dim = dim
        self.base = base

    def forward(self, x: Any, offset: int = 0) -> Tensor:
        """See the class; the first position is ``offset``."""
        x = as_tensor(x)
        if x.ndim < 2 or x.shape[-1] != self.dim:
            raise ValueError(f"RotaryEmbedding needs a shape (..., positions, {self.dim}), got {x.shape}")
        angles = _angles(offset, x.shape[-2], self.dim, self.base)
        return rotate(x, cosine=np.cos(angles).astype(x.dtype), sine=np.sin(angles).astype(x.dtype))

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{self.dim}, base={self.base}"


class SinusoidalEncoding(Module):
    """Adds sines and cosines of the position: column 2i gets sin(p ωᵢ), column 2i + 1 cos(p ωᵢ).

    ωᵢ = base^(−2i/dim), so wavelengths grow from 2π to 2π · base. A shift of the position is a rotation
    of each pair, the same for all positions. There is nothing to learn, and no longest length.

    Args:
        dim: Size of the last axis.
        base: What the longest wavelength grows with.
        batch_first: Whether the positions are the second axis from the end; if not, the first.

    Shape:
        ``(..., positions, dim)``, kept; ``(positions, batch, dim)`` where not ``batch_first``.

    Raises:
        ValueError: If ``dim`` is less than 1; from a call, if the last axis is another.

    Example:
        >>> SinusoidalEncoding(4)(np.zeros((2, 4))).numpy().round(4)
        array([[0.    , 1.    , 0.    , 1.    ],
               [0.8415, 0.5403, 0.01  , 1.    ]])

    References:
        Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 3.5.
    """

    def __init__(self, dim: int, base: float = 10000.0, *, batch_first: bool = True) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"SinusoidalEncoding needs dim >= 1, got {dim}")
        self.dim = dim
        self.base = base
        self.batch_first = batch_first

    def forward(self, x: Any, offset: int = 0) -> Tensor:
        """See the class; the first position is ``offset``."""
        x = as_tensor(x)
        if x.ndim < 2 or x.shape[-1] != self.dim:
            raise ValueError(
                f"SinusoidalEncoding needs a last axis of {self.dim} after an axis of positions, "
                f"got shape {x.shape}"
            )
        count = x.shape[-2 if self.batch_first or x.ndim == 2 else 0]
        table = self.table(count, offset, x.dtype)
        return x + (table if self.batch_first or x.ndim == 2 else table[:, None])

    def table(self, length: int, offset: int = 0, dtype: DTypeLike = np.float32) -> Array:
        """What is added: shape ``(length, dim)``, the first row for position ``offset``."""
        angles = _angles(offset, length, self.dim, self.base)
        pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
        return pairs.reshape(length, -1)[:, : self.dim].astype(dtype)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{self.dim}, base={self.base}, batch_first={self.batch_first}"


def _angles(offset: int, length: int, dim: int, base: float) -> Array:
    """Position times frequency, float64 whatever the data, for far positions turn many times."""
    frequencies = base ** (-np.arange(0, dim, 2) / dim)
    return np.outer(np.arange(offset, offset + length), frequencies)

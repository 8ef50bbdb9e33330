"""Rotation of pairs of columns, by which rotary embeddings tell positions."""

from typing import Any

import numpy as np

from scratchnet.tape import Array, primitive


@primitive
def rotate(x: Any, *, cosine: Array, sine: Array) -> Array:
    """Column i and column i + d/2 turned together: y₁ = x₁ cos − x₂ sin, y₂ = x₂ cos + x₁ sin.

    Rotations keep lengths, so x̄ is ȳ turned back. The tables have half of x's last axis.
    """
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    result = np.empty_like(x)
    np.subtract(first * cosine, second * sine, out=result[..., :half])
    np.add(second * cosine, first * sine, out=result[..., half:])
    return result


rotate.differentiate(lambda g, _y, _x, cosine, sine: rotate(g, cosine=cosine, sine=-sine))

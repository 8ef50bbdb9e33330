"""Primitives made of matrix products."""

from typing import Any

import numpy as np

from scratchnet.ops.shape import reshape, transpose
from scratchnet.tape import Array, primitive


def _swap(x: Any) -> Any:
    """The last two axes exchanged."""
    return transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@primitive
def matmul(x: Any, y: Any) -> Array:
    """z = x y for matrices, or stacks of them that broadcast; x̄ = z̄ yᵀ, ȳ = xᵀ z̄."""
    return np.matmul(x, y)


matmul.differentiate(lambda g, _z, _x, y: matmul(g, _swap(y)), lambda g, _z, x, _y: matmul(_swap(x), g))


def product(x: Any, y: Any) -> Any:
    """The product that ``@`` means: a vector is a row on the left, a column on the right, as in NumPy."""
    left = x if np.ndim(x) != 1 else reshape(x, shape=(1, -1), original=np.shape(x))
    right = y if np.ndim(y) != 1 else reshape(y, shape=(-1, 1), original=np.shape(y))
    z = matmul(left, right)
    if left is x and right is y:
        return z
    shape = (*z.shape[:-2], *(z.shape[-2:-1] if left is x else ()), *(z.shape[-1:] if right is y else ()))
    return reshape(z, shape=shape, original=z.shape)


def _rows(x: Any) -> Any:
    """All but the last axis laid flat."""
    return x if x.ndim == 2 else reshape(x, shape=(-1, x.shape[-1]), original=x.shape)


@primitive
def linear(x: Any, weight: Any, bias: Any) -> Array:
    """y = x Wᵀ + b over the last axis; x̄ = ȳ W, W̄ = ȳᵀ x, b̄ = Σ ȳ over all examples.

    W has the shape (outputs, inputs), as in PyTorch.
    """
    output = np.matmul(x, weight.T)
    output += bias
    return output


linear.differentiate(
    lambda g, _y, _x, weight, _bias: product(g, weight),
    lambda g, _y, x, _weight, _bias: matmul(_swap(_rows(g)), _rows(x)),
    lambda g, _y, _x, _weight, _bias: g,
)

"""Primitives made of matrix products."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.fused import fused
from scratchnet.ops.shape import reshape, transpose
from scratchnet.tape import Array, primitive


def times(x: Array, y: Array, out: Array | None = None) -> Array:
    """`np.matmul` of stacks of matrices; for two matrices `np.dot` does the same.

    Neither reports floating-point errors: BLAS also computes on what happens to lie behind a short row, and
    though it drops the result, `np.matmul` would warn of an invalid value in it, now and then.
    """
    with np.errstate(all="ignore"):
        return np.matmul(x, y, out=out)


def swap(x: Any) -> Any:
    """The last two axes exchanged; on arrays a view, which BLAS takes as it is."""
    return transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@primitive
def matmul(x: Any, y: Any) -> Array:
    """z = x y for matrices, or stacks of them that broadcast; x̄ = z̄ yᵀ, ȳ = xᵀ z̄."""
    return times(x, y)


matmul.differentiate(lambda g, _z, _x, y: matmul(g, swap(y)), lambda g, _z, x, _y: matmul(swap(x), g))


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


def _linear_backward(
    g: Array,
    _saved: None,
    wanted: Sequence[bool],
    x: Array,
    weight: Array,
    _bias: Array | None,
    rooms: Sequence[Array | None],
) -> list[Array | None]:
    if g.ndim != 2:
        of_rows = _linear_backward(_rows(g), None, wanted, _rows(x), weight, _bias, rooms)
        return [None if of_rows[0] is None else of_rows[0].reshape(x.shape), *of_rows[1:]]
    return [
        np.dot(g, weight) if wanted[0] else None,
        np.dot(g.T, x, out=rooms[1]) if wanted[1] else None,
        np.add.reduce(g, axis=0, out=rooms[2]) if wanted[2] else None,
    ]


@fused(backward=_linear_backward)
def linear(x: Any, weight: Any, bias: Any) -> tuple[Array, None]:
    """y = x Wᵀ + b over the last axis; x̄ = ȳ W, W̄ = ȳᵀ x, b̄ = Σ ȳ over all examples.

    W has the shape (outputs, inputs), as in PyTorch; b may be None.
    """
    if weight.ndim != 2 or getattr(x, "shape", ())[-1:] != weight.shape[1:]:
        raise ValueError(
            f"linear needs a last axis of {weight.shape[-1]} for its weight of shape {weight.shape}, "
            f"got an input of shape {np.shape(x)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"linear needs a bias of shape {weight.shape[:1]} for its weight of shape {weight.shape}, "
            f"got {bias.shape}"
        )
    if x.ndim != 2:
        # One product of two matrices: a stack of them would go to BLAS one by one.
        return linear.forward(_rows(x), weight, bias).reshape(*x.shape[:-1], len(weight)), None
    output = np.dot(x, weight.T)
    if bias is not None:
        output += bias
    return output, None


linear.differentiate(
    lambda g, _y, _x, weight, _bias: product(g, weight),
    lambda g, _y, x, _weight, _bias: matmul(swap(_rows(g)), _rows(x)),
    lambda g, _y, _x, _weight, _bias: g,
)

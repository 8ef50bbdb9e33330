"""Graph convolution as a function."""

from typing import Any

import numpy as np
from scipy import sparse

from scratchnet.ops.elementwise import scale
from scratchnet.ops.graph import propagate
from scratchnet.tape import Array, Variable
from scratchnet.tensor import Tensor, as_tensor


def propagate_normalized(input: Any, adjacency: Any) -> Tensor:  # noqa: A002 - as in the other functions
    """Â x with Â = D^(−1/2) (A + I) D^(−1/2), where D holds the degrees, the row sums of A + I.

    Each node gets the mean-like sum Σⱼ (A + I)ᵢⱼ xⱼ / √(dᵢ dⱼ) of its neighbours and itself. The largest
    eigenvalue of Â is 1 for a symmetric A, so that repetition does not blow up; it does smooth all
    differences within a connected graph away.

    Args:
        input: Features of the nodes, shape ``(nodes, features)`` or ``(..., nodes, features)``.
        adjacency: A, weights of the edges, ≥ 0, without self-loops: an array of shape ``(nodes, nodes)``
            (or a stack of them, one a graph), or a sparse matrix or array of SciPy's. It is a constant.

    Raises:
        ValueError: If the shapes do not fit, or a degree is not positive.
        TypeError: If the adjacency is a tensor that wants a gradient.
    """
    x = as_tensor(input)
    matrix = _constant(adjacency)
    if x.ndim < 2 or matrix.shape[-2:] != (x.shape[-2], x.shape[-2]):
        raise ValueError(
            f"a graph convolution needs an adjacency of shape (nodes, nodes) for features of shape "
            f"(..., nodes, features), got {matrix.shape} and {x.shape}"
        )
    root = _inverse_root_degree(matrix, x.dtype)
    scaled = scale(x, factor=root)
    return scale(propagate(scaled, matrix=matrix) + scaled, factor=root)


def _constant(adjacency: Any) -> Any:
    if isinstance(adjacency, Variable):
        if adjacency.requires_grad:
            raise TypeError(
                "a graph convolution needs a constant adjacency, got a tensor that requires a gradient; "
                "pass adjacency.detach()"
            )
        return adjacency.array
    return adjacency if sparse.issparse(adjacency) else np.asarray(adjacency)


def _inverse_root_degree(matrix: Any, dtype: Any) -> Array:
    """dᵢ^(−1/2) as a column."""
    degree = np.asarray(matrix.sum(axis=-1), dtype).reshape(*matrix.shape[:-1], 1) + 1
    if not (degree > 0).all():
        raise ValueError(
            f"a graph convolution needs positive degrees, got {degree.min()} (with the self-loop) for a node; "
            f"edge weights must not be negative"
        )
    return np.asarray(1 / np.sqrt(degree))

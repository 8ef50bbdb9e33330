"""Sums over the neighbours in a graph."""

from typing import Any

import numpy as np

from scratchnet.ops.linalg import times
from scratchnet.tape import Array, primitive


@primitive
def propagate(x: Any, *, matrix: Any) -> Array:
    """y = A x for a constant matrix, a NumPy array or a sparse one of SciPy's; x̄ = Aᵀ ȳ.

    The features of the nodes stand in the rows of x, shape (..., nodes, features).
    """
    weights = matrix.astype(x.dtype, copy=False)
    if isinstance(matrix, np.ndarray):
        return times(weights, x)
    return weights @ x if x.ndim == 2 else _each(weights, x)


def _each(matrix: Any, x: Array) -> Array:
    """A sparse matrix times each of a stack: SciPy multiplies matrices only, so these are laid side by side."""
    nodes, features = x.shape[-2:]
    columns = np.moveaxis(x.reshape(-1, nodes, features), 0, 1).reshape(nodes, -1)
    product = (matrix @ columns).reshape(len(columns), -1, features)
    return np.moveaxis(product, 0, 1).reshape(x.shape)


def _transposed(matrix: Any) -> Any:
    return matrix.swapaxes(-1, -2) if isinstance(matrix, np.ndarray) else matrix.T


propagate.differentiate(lambda g, _y, _x, matrix: propagate(g, matrix=_transposed(matrix)))

"""Rows of a table by their numbers."""

from typing import Any

import numpy as np

from scratchnet.ops.shape import put
from scratchnet.tape import Array, primitive


@primitive
def embedding(weight: Any, *, index: Array, keep: Array | None, shape: tuple[int, ...]) -> Array:
    """y = W[index], a row for each number; W̄ adds each ȳ to the row that it came from.

    ``keep``, zeros and ones of the index's shape with a last axis of one, says which rows have a
    gradient; None is all of them. ``shape`` is that of W.
    """
    return np.take(weight, index, axis=0)


embedding.differentiate(
    lambda g, _y, _weight, index, keep, shape: put(g if keep is None else g * keep, index=index, shape=shape)
)

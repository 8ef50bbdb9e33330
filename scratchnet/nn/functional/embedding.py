"""Rows of a table by their numbers, as a function."""

from typing import Any

import numpy as np

from scratchnet.ops import embedding as ops
from scratchnet.tape import Array
from scratchnet.tensor import Tensor, as_tensor


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Tensor:  # noqa: A002
    """The row of a table for each number, y = W[index]; W̄ adds each ȳ to the row that it came from.

    Args:
        input: Whole numbers in [0, rows), any shape.
        weight: W, shape ``(rows, columns)``.
        padding_idx: Number of a row that gets no gradient; a negative one counts from the end.

    Returns:
        Shape ``(*input.shape, columns)``.

    Raises:
        TypeError: If the input is not made of integers.
        ValueError: If a number is out of range.
    """
    table = as_tensor(weight)
    index = _checked(np.asarray(input), table.shape)
    keep = None
    if padding_idx is not None:
        keep = (index != padding_idx % table.shape[0]).astype(table.dtype)[..., None]
    return ops.embedding(table, index=index, keep=keep, shape=table.shape)


def _checked(index: Array, shape: tuple[int, ...]) -> Array:
    if index.dtype.kind not in "iu":
        raise TypeError(
            f"embedding needs an input of integers, got {index.dtype}; convert it with .astype(int)"
        )
    # NumPy would take a negative number from the end, and a wrong word would go unseen.
    if index.size and not 0 <= index.min() <= index.max() < shape[0]:
        raise ValueError(
            f"embedding needs numbers from 0 to {shape[0] - 1} for its weight of shape {shape}, "
            f"got {index.min()} to {index.max()} in an input of shape {index.shape}"
        )
    return index

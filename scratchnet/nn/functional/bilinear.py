"""Bilinear maps as functions."""

from typing import Any

import numpy as np

from scratchnet.ops import linalg
from scratchnet.tensor import Tensor, as_tensor


def bilinear(input1: Any, input2: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """yₖ = aᵀ Wₖ b + cₖ for two inputs a and b.

    Args:
        input1: a, shape ``(..., inputs1)``.
        input2: b, shape ``(..., inputs2)`` with the same axes before the last.
        weight: A matrix for each output, shape ``(outputs, inputs1, inputs2)``.
        bias: c, shape ``(outputs,)``, or None.

    Raises:
        ValueError: If the shapes do not fit.
    """
    a, b = as_tensor(input1, weight.dtype), as_tensor(input2, weight.dtype)
    outputs, *sizes = weight.shape
    if a.shape[:-1] != b.shape[:-1] or [*a.shape[-1:], *b.shape[-1:]] != sizes:
        raise ValueError(
            f"bilinear needs inputs of shapes (..., {sizes[0]}) and (..., {sizes[1]}) for its weight of shape "
            f"{weight.shape}, got {a.shape} and {b.shape}"
        )
    rows = int(np.prod(a.shape[:-1]))
    # One product for all outputs, then a small one for each example.
    side_by_side = weight.transpose(1, 0, 2).reshape(sizes[0], outputs * sizes[1])
    halves = linalg.matmul(a.reshape(rows, sizes[0]), side_by_side).reshape(rows, outputs, sizes[1])
    y = linalg.matmul(halves, b.reshape(rows, sizes[1], 1)).reshape(*a.shape[:-1], outputs)
    return y if bias is None else y + bias

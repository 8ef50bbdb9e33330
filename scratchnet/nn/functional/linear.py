"""Affine maps as functions."""

from typing import Any

from scratchnet.ops import linalg
from scratchnet.tensor import Tensor


def linear(input: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
    """Affine map of the last axis, x Wᵀ + b.

    Args:
        input: Shape ``(..., inputs)``.
        weight: Shape ``(outputs, inputs)``.
        bias: Shape ``(outputs,)``.

    Raises:
        ValueError: If the shapes do not fit.
    """
    return linalg.linear(input, weight, bias)

"""Normalisation over the last axes as functions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.ops import layer_norm as ops
from scratchnet.tape import Variable
from scratchnet.tensor import Tensor, as_tensor


def layer_norm(
    input: Any,  # noqa: A002 - PyTorch's name, here and below
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Tensor:
    """Each example with mean 0 and variance 1 over its last axes, then scaled and shifted.

    With σ² = variance + ε and x̂ = (x − mean) / σ the output is y = w x̂ + b, and
    x̄ = (h − mean h − x̂ mean(h x̂)) / σ with h = ȳ w.

    Args:
        input: Shape ``(..., *normalized_shape)``.
        normalized_shape: Sizes of the axes that are normalised together.
        weight: w, shape ``normalized_shape``; None is one.
        bias: b, likewise; None is zero.
        eps: ε, added to the variance.

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv:1607.06450.
    """
    shape = _checked("layer_norm", np.shape(input), normalized_shape, weight=weight, bias=bias)
    return ops.layer_norm(_beside(input, weight, bias), weight, bias, axes=len(shape), eps=eps)


def rms_norm(
    input: Any,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: Any = None,
    eps: float | None = None,
) -> Tensor:
    """Each example with root mean square 1 over its last axes, then scaled.

    With r² = mean(x²) + ε and x̂ = x / r the output is y = w x̂, and x̄ = (h − x̂ mean(h x̂)) / r
    with h = ȳ w.

    Args:
        input: Shape ``(..., *normalized_shape)``.
        normalized_shape: Sizes of the axes that are normalised together.
        weight: w, shape ``normalized_shape``; None is one.
        eps: ε, added to the mean square; None is the dtype's spacing at 1.

    Raises:
        ValueError: If the shapes do not fit.

    References:
        Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, arXiv:1910.07467.
    """
    shape = _checked("rms_norm", np.shape(input), normalized_shape, weight=weight)
    x = _beside(input, weight)
    if eps is None:
        eps = float(np.finfo((x if isinstance(x, Tensor) else weight).dtype).eps)
    return ops.rms_norm(x, weight, axes=len(shape), eps=eps)


def _beside(x: Any, *parameters: Any) -> Any:
    """Plain data as it is where it takes the dtype of a parameter, else a tensor."""
    return x if any(isinstance(parameter, Variable) for parameter in parameters) else as_tensor(x)


def _checked(
    name: str, size: tuple[int, ...], normalized_shape: Sequence[int], **scales: Any
) -> tuple[int, ...]:
    shape = tuple(normalized_shape)
    if not math.prod(shape) or not shape or size[-len(shape) :] != shape:
        raise ValueError(
            f"{name} needs an input whose last axes are the normalized_shape {shape}, "
            f"got an input of shape {size}"
        )
    for kind, scale in scales.items():
        if scale is not None and np.shape(scale) != shape:
            raise ValueError(f"{name} needs a {kind} of shape {shape}, got {np.shape(scale)}")
    return shape

"""Layers that normalise each example over its last axes."""

from collections.abc import Sequence

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn.module import Module, Parameter
from scratchnet.tensor import Tensor


class LayerNorm(Module):
    """Each example with mean 0 and variance 1 over its last axes, then scaled and shifted: y = w x̂ + b.

    x̂ = (x − mean) / σ with σ² = variance + ε, the variance being the mean square (no n − 1). The
    statistics are those of the example itself, in training as in evaluation, so that batch size does
    not matter. See `scratchnet.nn.functional.layer_norm` for the gradient.

    Args:
        normalized_shape: Sizes of the last axes, or one size.
        eps: ε, keeps the division finite.
        elementwise_affine: False leaves out both w and b.
        bias: False leaves out b.

    Shape:
        ``(..., *normalized_shape)``, kept.

    Raises:
        ValueError: If a size is less than 1; from a call, if the last axes are others.

    Example:
        >>> LayerNorm(2)(np.array([[1.0, 3.0]], np.float32)).numpy().round(3)
        array([[-1., 1.]], dtype=float32)

    References:
        Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv:1607.06450.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes("LayerNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        if elementwise_affine:
            self.weight = Parameter(np.ones(self.normalized_shape, np.float32))
        if elementwise_affine and bias:
            self.bias = Parameter(np.zeros(self.normalized_shape, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """Each example with root mean square 1 over its last axes, then scaled: y = w x / r.

    r² = mean(x²) + ε. It is `LayerNorm` without taking off the mean and without shifting, at less cost.
    See `scratchnet.nn.functional.rms_norm` for the gradient.

    Args:
        normalized_shape: Sizes of the last axes, or one size.
        eps: ε; None is the dtype's spacing at 1.
        elementwise_affine: False leaves out w.

    Shape:
        ``(..., *normalized_shape)``, kept.

    Raises:
        ValueError: If a size is less than 1; from a call, if the last axes are others.

    Example:
        >>> RMSNorm(2)(np.array([[3.0, 3.0]], np.float32)).numpy().round(3)
        array([[1., 1.]], dtype=float32)

    References:
        Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019, arXiv:1910.07467.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
    ) -> None:
        super().__init__()
        self.normalized_shape = _sizes("RMSNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight: Parameter | None = None
        if elementwise_affine:
            self.weight = Parameter(np.ones(self.normalized_shape, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


def _sizes(name: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{name} needs a normalized_shape of sizes >= 1, got {normalized_shape}")
    return sizes

"""The affine layer."""

import math

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn import init
from scratchnet.nn.module import Module, Parameter, check_sizes
from scratchnet.rng import RNGLike
from scratchnet.tensor import Tensor


class Linear(Module):
    """Affine map of the last axis, y = x Wᵀ + b.

    The gradients are x̄ = ȳ W, W̄ = ȳᵀ x and b̄ = Σ ȳ over all examples. As in PyTorch, weight and bias
    start uniform in ±1/√inputs.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        bias: False leaves b out.
        rng: Where the first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        ``(..., in_features)`` to ``(..., out_features)``.

    Example:
        >>> Linear(3, 2, rng=0)(np.zeros((5, 3))).shape
        (5, 2)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, rng: RNGLike = None
    ) -> None:
        super().__init__()
        check_sizes(self, in_features=in_features, out_features=out_features)
        generator = np.random.default_rng(rng)
        self.in_features = in_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in_features)
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        init.uniform_(self.weight, -bound, bound, rng=generator)
        self.bias: Parameter | None = None
        if bias:
            self.bias = Parameter(np.empty(out_features, np.float32))
            init.uniform_(self.bias, -bound, bound, rng=generator)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"

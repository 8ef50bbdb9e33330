"""The layer that is linear in each of two inputs."""

import math

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn import init
from scratchnet.nn.module import Module, Parameter, check_sizes
from scratchnet.rng import RNGLike
from scratchnet.tensor import Tensor


class Bilinear(Module):
    """A number for each output from every pair of inputs, yₖ = aᵀ Wₖ b + cₖ.

    The gradients are ā = Σₖ ȳₖ Wₖ b, b̄ = Σₖ ȳₖ Wₖᵀ a, W̄ₖ = Σ ȳₖ a bᵀ and c̄ₖ = Σ ȳₖ over all examples. As in
    PyTorch, weight and bias start uniform in ±1/√in1_features.

    Args:
        in1_features: Size of the last axis of a.
        in2_features: Size of the last axis of b.
        out_features: Number of outputs.
        bias: False leaves c out.
        rng: Where the first values come from: a generator, a seed, or None for fresh entropy.

    Shape:
        ``(..., in1_features)`` and ``(..., in2_features)`` to ``(..., out_features)``.

    Raises:
        ValueError: If a size is not positive, or the inputs do not fit.

    Example:
        >>> Bilinear(3, 4, 2, rng=0)(np.zeros((5, 3)), np.zeros((5, 4))).shape
        (5, 2)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__()
        check_sizes(self, in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        generator = np.random.default_rng(rng)
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        bound = 1 / math.sqrt(in1_features)
        self.weight = Parameter(np.empty((out_features, in1_features, in2_features), np.float32))
        init.uniform_(self.weight, -bound, bound, rng=generator)
        self.bias: Parameter | None = None
        if bias:
            self.bias = Parameter(np.empty(out_features, np.float32))
            init.uniform_(self.bias, -bound, bound, rng=generator)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """See the class."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"{self.in1_features}, {self.in2_features}, {self.out_features}, bias={self.bias is not None}"

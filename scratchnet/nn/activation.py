"""Layers without parameters that apply one nonlinearity to each element."""

from scratchnet.nn import functional as F
from scratchnet.nn.module import Module
from scratchnet.tensor import Tensor


class ReLU(Module):
    """Rectified linear unit, y = max(x, 0); x̄ = ȳ where x > 0, else 0."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(x)


class Tanh(Module):
    """Hyperbolic tangent, y = tanh x; x̄ = ȳ (1 − y²)."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.tanh(x)


class Sigmoid(Module):
    """Logistic function, y = 1 / (1 + e⁻ˣ); x̄ = ȳ y (1 − y)."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.sigmoid(x)

"""Layers that apply one nonlinearity, to each element or along an axis."""

from typing import Literal

import numpy as np

from scratchnet.nn import functional as F
from scratchnet.nn.linear import Linear
from scratchnet.nn.module import Module, Parameter
from scratchnet.rng import RNGLike
from scratchnet.tensor import Tensor, as_tensor


class Identity(Module):
    """Gives back what it gets: y = x, x̄ = ȳ. It holds the place of a layer that is left out."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return as_tensor(x)


class ReLU(Module):
    """Rectified linear unit, y = max(x, 0); x̄ = ȳ where x > 0, else 0."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu(x)


class ReLU6(Module):
    """Rectified linear unit that ends at 6, y = min(max(x, 0), 6); x̄ = ȳ where 0 < x < 6, else 0."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.relu6(x)


class LeakyReLU(Module):
    """Rectified linear unit that never dies, y = x where x > 0, else s x; x̄ = ȳ or s ȳ.

    Args:
        negative_slope: s, also the slope at x = 0.

    References:
        Maas et al., "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.leaky_relu(x, self.negative_slope)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """Rectified linear unit that learns its slope s on the left, y = x where x > 0, else s x.

    x̄ = ȳ or s ȳ, and s̄ = Σ ȳ min(x, 0) over all that share s.

    Args:
        num_parameters: 1, or the number of channels: a slope for each.
        init: First value of the slopes.

    Shape:
        ``(batch, channels, ...)``, and the same; any with a single slope.

    Raises:
        ValueError: If there are several slopes, but not one for each channel.

    References:
        He et al., "Delving Deep into Rectifiers", 2015, arXiv:1502.01852.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.prelu(x, self.weight)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"num_parameters={self.num_parameters}"


class Hardtanh(Module):
    """y = min(max(x, min_val), max_val); x̄ = ȳ strictly between them, else 0.

    Args:
        min_val: Least value.
        max_val: Greatest value.

    Raises:
        ValueError: If ``min_val`` exceeds ``max_val``, at the first call.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.hardtanh(x, self.min_val, self.max_val)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"min_val={self.min_val}, max_val={self.max_val}"


class Hardsigmoid(Module):
    """Logistic function in three straight pieces, y = min(max(x/6 + 1/2, 0), 1); x̄ = ȳ/6 between −3 and 3."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.hardsigmoid(x)


class Hardswish(Module):
    """`SiLU` with a `Hardsigmoid` gate, y = x min(max(x/6 + 1/2, 0), 1); x̄ = ȳ (x/3 + 1/2) between −3 and 3.

    References:
        Howard et al., "Searching for MobileNetV3", 2019, arXiv:1905.02244.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.hardswish(x)


class Tanh(Module):
    """Hyperbolic tangent, y = tanh x; x̄ = ȳ (1 − y²)."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.tanh(x)


class Sigmoid(Module):
    """Logistic function, y = σ(x) = 1 / (1 + e⁻ˣ); x̄ = ȳ y (1 − y)."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.sigmoid(x)


class LogSigmoid(Module):
    """Logarithm of the logistic function, y = ln σ(x) without overflow; x̄ = ȳ σ(−x)."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.logsigmoid(x)


class Softsign(Module):
    """y = x / (1 + |x|); x̄ = ȳ / (1 + |x|)²."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.softsign(x)


class Softplus(Module):
    """A smooth `ReLU`, y = ln(1 + e^(βx)) / β; x̄ = ȳ σ(βx).

    Args:
        beta: β.
        threshold: Where βx exceeds it, y is x itself.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.softplus(x, self.beta, self.threshold)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"beta={self.beta}, threshold={self.threshold}"


class ELU(Module):
    """Exponential linear unit, y = x where x > 0, else α (eˣ − 1); x̄ = ȳ, else ȳ α eˣ.

    Args:
        alpha: α: the value −α is approached on the left.

    References:
        Clevert et al., "Fast and Accurate Deep Network Learning by Exponential Linear Units", 2015, arXiv:1511.07289.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.elu(x, self.alpha)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"alpha={self.alpha}"


class SELU(Module):
    """Scaled `ELU`, y = 1.0507 ELU(x) with α = 1.6733: it drives activations to mean 0 and variance 1.

    References:
        Klambauer et al., "Self-Normalizing Neural Networks", 2017, arXiv:1706.02515.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.selu(x)


class CELU(Module):
    """`ELU` with a continuous slope, y = x where x > 0, else α (e^(x/α) − 1); x̄ = ȳ, else ȳ e^(x/α).

    Args:
        alpha: α: the value −α is approached on the left.

    Raises:
        ValueError: If α is zero, at the first call.

    References:
        Barron, "Continuously Differentiable Exponential Linear Units", 2017, arXiv:1704.07483.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.celu(x, self.alpha)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """Gaussian error linear unit, y = x Φ(x); x̄ = ȳ (Φ(x) + x φ(x)) with the normal density φ.

    Args:
        approximate: ``"tanh"`` takes Φ(x) as (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, which is faster.

    Raises:
        ValueError: If ``approximate`` is unknown, at the first call.

    References:
        Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, arXiv:1606.08415.
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.gelu(x, self.approximate)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """Sigmoid-weighted linear unit (also called swish), y = x σ(x); x̄ = ȳ (σ(x) + y (1 − σ(x))).

    References:
        Elfwing et al., "Sigmoid-Weighted Linear Units", 2017, arXiv:1702.03118.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.silu(x)


class Mish(Module):
    """y = x tanh(ln(1 + eˣ)); with t = tanh(…), x̄ = ȳ (t + x (1 − t²) σ(x)).

    References:
        Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019, arXiv:1908.08681.
    """

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.mish(x)


class Softmax(Module):
    """Shares that sum to one, y = eˣ / Σ eˣ along an axis; x̄ = y (ȳ − Σ ȳ y).

    Args:
        dim: The axis.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.softmax(x, self.dim)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"dim={self.dim}"


class Softmin(Module):
    """`Softmax` of −x: the least element gets the greatest share.

    Args:
        dim: The axis.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.softmin(x, self.dim)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Logarithm of `Softmax` without overflow, y = x − ln Σ eˣ; x̄ = ȳ − eʸ Σ ȳ.

    Args:
        dim: The axis.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.log_softmax(x, self.dim)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"dim={self.dim}"


class GLU(Module):
    """Gated linear unit, y = a σ(b) where a and b are the halves of x; ā = ȳ σ(b), b̄ = ȳ y (1 − σ(b)).

    Args:
        dim: The axis that is halved.

    Raises:
        ValueError: If the axis has an odd size.

    References:
        Dauphin et al., "Language Modeling with Gated Convolutional Networks", 2017, arXiv:1612.08083.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.glu(x, self.dim)

    def describe(self) -> str:
        """The constructor's arguments, for the text form."""
        return f"dim={self.dim}"


class SwiGLU(Module):
    """The gated feed-forward block of today's transformers, y = (SiLU(x Gᵀ) ∘ x Uᵀ) Dᵀ, with three weights.

    With a = x Gᵀ, b = x Uᵀ and h = SiLU(a) ∘ b: D̄ = ȳᵀ h, h̄ = ȳ D, b̄ = h̄ ∘ SiLU(a), ā = h̄ ∘ b ∘ SiLU'(a),
    and x̄ = ā G + b̄ U. At 2/3 of the width of a block with two weights it has as many parameters.

    Args:
        in_features: Size of the last axis of the input.
        hidden_features: Size of the gate.
        out_features: Size of the last axis of the output; that of the input if it is not given.
        bias: True gives each of the three maps a bias; the paper has none.
        rng: Where the first values come from: a generator, a seed, or None for fresh entropy.

    Attributes:
        gate_proj: G, with SiLU behind it; ``gate_proj``, ``up_proj`` and ``down_proj`` are `Linear`.
        up_proj: U.
        down_proj: D.

    Shape:
        ``(..., in_features)`` to ``(..., out_features)``.

    Example:
        >>> SwiGLU(4, 8, rng=0)(np.zeros((5, 4))).shape
        (5, 4)

    References:
        Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = False,
        *,
        rng: RNGLike = None,
    ) -> None:
        super().__init__()
        generator = np.random.default_rng(rng)
        outputs = in_features if out_features is None else out_features
        self.gate_proj = Linear(in_features, hidden_features, bias, rng=generator)
        self.up_proj = Linear(in_features, hidden_features, bias, rng=generator)
        self.down_proj = Linear(hidden_features, outputs, bias, rng=generator)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))

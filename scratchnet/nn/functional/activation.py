"""Nonlinearities as functions; the classes in `scratchnet.nn` of like names tell more of them."""

from typing import Any, Literal

from scratchnet.axis import axis_of
from scratchnet.nn.functional.reduction import floats
from scratchnet.ops import activation, elementwise
from scratchnet.ops import reduction as reductions
from scratchnet.tensor import Tensor, as_tensor

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def relu(input: Any) -> Tensor:  # noqa: A002 - PyTorch's name, here and below
    """Rectified linear unit, max(x, 0)."""
    return elementwise.relu(as_tensor(input))


def tanh(input: Any) -> Tensor:  # noqa: A002
    """Hyperbolic tangent."""
    return elementwise.tanh(as_tensor(input))


def sigmoid(input: Any) -> Tensor:  # noqa: A002
    """Logistic function, 1 / (1 + e⁻ˣ)."""
    return elementwise.sigmoid(as_tensor(input))


# ------------------------------------------------------------------------------- straight in pieces


def relu6(input: Any) -> Tensor:  # noqa: A002
    """min(max(x, 0), 6)."""
    return activation.hardtanh(as_tensor(input), low=0.0, high=6.0)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:  # noqa: A002
    """min(max(x, min_val), max_val).

    Raises:
        ValueError: If ``min_val`` exceeds ``max_val``.
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh needs min_val <= max_val, got {min_val} and {max_val}")
    return activation.hardtanh(as_tensor(input), low=float(min_val), high=float(max_val))


def hardsigmoid(input: Any) -> Tensor:  # noqa: A002
    """min(max(x/6 + 1/2, 0), 1)."""
    return activation.hardtanh(as_tensor(input) * (1 / 6) + 0.5, low=0.0, high=1.0)


def hardswish(input: Any) -> Tensor:  # noqa: A002
    """x min(max(x/6 + 1/2, 0), 1)."""
    return activation.hardswish(as_tensor(input))


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:  # noqa: A002
    """x where x > 0, else x times the slope."""
    return activation.leaky_relu(as_tensor(input), slope=float(negative_slope))


def prelu(input: Any, weight: Tensor) -> Tensor:  # noqa: A002
    """x where x > 0, else x times a slope that is learned.

    Args:
        input: Shape ``(batch, channels, ...)``; any for a single slope.
        weight: Slopes, shape ``(channels,)`` or ``(1,)``.

    Raises:
        ValueError: If there are several slopes, but not one for each channel.
    """
    x = as_tensor(input, weight.dtype)
    if weight.ndim != 1 or (weight.size != 1 and (x.ndim < 2 or x.shape[1] != weight.size)):
        raise ValueError(
            f"prelu needs a slope for each channel of axis 1, or one for all: "
            f"got slopes of shape {weight.shape} for an input of shape {x.shape}"
        )
    slopes = weight if weight.size == 1 else weight.reshape(-1, *[1] * (x.ndim - 2))
    return activation.prelu(x, slopes)


# ------------------------------------------------------------------------------------------ smooth


def gelu(input: Any, approximate: Literal["none", "tanh"] = "none") -> Tensor:  # noqa: A002
    """Gaussian error linear unit, x Φ(x) with the normal distribution function Φ.

    Args:
        input: Any shape.
        approximate: ``"tanh"`` takes Φ(x) as (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.

    Raises:
        ValueError: If ``approximate`` is unknown.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu needs approximate 'none' or 'tanh', got {approximate!r}")
    x = as_tensor(input)
    return activation.gelu(x) if approximate == "none" else activation.gelu_tanh(x)


def silu(input: Any) -> Tensor:  # noqa: A002
    """Sigmoid-weighted linear unit, x σ(x)."""
    return activation.silu(as_tensor(input))


def mish(input: Any) -> Tensor:  # noqa: A002
    """x tanh(ln(1 + eˣ))."""
    return activation.mish(as_tensor(input))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:  # noqa: A002
    """ln(1 + e^(βx)) / β, or x itself where βx exceeds the threshold."""
    return activation.softplus(as_tensor(input), beta=float(beta), threshold=float(threshold))


def softsign(input: Any) -> Tensor:  # noqa: A002
    """x / (1 + |x|)."""
    x = as_tensor(input)
    return x / (x.abs() + 1.0)


def logsigmoid(input: Any) -> Tensor:  # noqa: A002
    """ln σ(x), without overflow."""
    return activation.log_sigmoid(as_tensor(input))


def elu(input: Any, alpha: float = 1.0) -> Tensor:  # noqa: A002
    """x where x > 0, else α (eˣ − 1)."""
    return activation.elu(as_tensor(input), alpha=float(alpha), rate=1.0, factor=1.0)


def selu(input: Any) -> Tensor:  # noqa: A002
    """Scaled `elu` with α ≈ 1.6733 and the scale 1.0507."""
    return activation.elu(as_tensor(input), alpha=SELU_ALPHA, rate=1.0, factor=SELU_SCALE)


def celu(input: Any, alpha: float = 1.0) -> Tensor:  # noqa: A002
    """x where x > 0, else α (e^(x/α) − 1).

    Raises:
        ValueError: If α is zero.
    """
    if alpha == 0:
        raise ValueError("celu needs alpha other than 0, got 0; relu is its limit")
    return activation.elu(as_tensor(input), alpha=float(alpha), rate=1 / float(alpha), factor=1.0)


# -------------------------------------------------------------------------------- along an axis


def softmax(input: Any, dim: int = -1) -> Tensor:  # noqa: A002
    """eˣ / Σ eˣ along an axis.

    Raises:
        TypeError: If the input is not of floats.
        AxisError: If there is no such axis.
    """
    return _softmax("softmax", input, dim)


def softmin(input: Any, dim: int = -1) -> Tensor:  # noqa: A002
    """e⁻ˣ / Σ e⁻ˣ along an axis; errors as in `softmax`."""
    return _softmax("softmin", -as_tensor(input), dim)


def _softmax(caller: str, value: Any, dim: int) -> Tensor:
    x = floats(caller, value)
    return reductions.softmax(x, axis=axis_of(caller, x.shape, dim))


def log_softmax(input: Any, dim: int = -1) -> Tensor:  # noqa: A002
    """x − ln Σ eˣ along an axis, without overflow; errors as in `softmax`."""
    x = floats("log_softmax", input)
    return reductions.log_softmax(x, axis=axis_of("log_softmax", x.shape, dim))


def glu(input: Any, dim: int = -1) -> Tensor:  # noqa: A002
    """Gated linear unit, a σ(b) where a and b are the halves of the input along an axis.

    Raises:
        TypeError: If the input is not of floats.
        ValueError: If the axis has no halves.
        AxisError: If there is no such axis.
    """
    x = floats("glu", input)
    axis = axis_of("glu", x.shape, dim)
    if x.ndim == 0 or x.shape[axis] % 2:
        raise ValueError(f"glu needs an even size along dim={dim}, got an input of shape {x.shape}")
    return activation.glu(x, dim=axis)

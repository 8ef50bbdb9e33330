"""Nonlinearities beyond `relu`, `tanh` and `sigmoid`, which stand with the elementwise primitives.

GELU, SiLU, Mish and hard-swish stand here twice. The kernel computes y and the slope dy/dx of one piece, in place and
in few passes; the backward pass is then one product, x̄ = ȳ dy/dx. The formula composes y of other
primitives, and is what a second derivative is taken of. The others have rules, with PyTorch's values at
the kinks.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from scratchnet.fused import Fused, fused
from scratchnet.ops.elementwise import exp, scale, sigmoid, tanh
from scratchnet.tape import Array, primitive

# Elements a piece: what a kernel passes over again and again then stays in a core's cache.
PIECE = 1 << 16

# kernel(x, y, slope, spare): fills y and slope; the spare is room of the same size.
Kernel = Callable[[Array, Array, Array, Array], None]


def _value_and_slope(kernel: Kernel, x: Any) -> tuple[Array, Array]:
    y, slope = np.empty_like(x), np.empty_like(x)
    # In the order of the memory, so that a transposed image is not copied; an array with holes must be.
    dense = x if x.strides == y.strides else np.positive(x, out=np.empty_like(x))
    flat = [array.ravel(order="K") for array in (dense, y, slope)]
    spare = np.empty(min(y.size, PIECE), y.dtype)
    for start in range(0, y.size, PIECE):
        of_x, of_y, of_slope = (array[start : start + PIECE] for array in flat)
        kernel(of_x, of_y, of_slope, spare[: of_x.size])
    return y, slope


def _in_pieces(kernel: Kernel, formula: Callable[[Any], Any], name: str, doc: str) -> Fused:
    def compute(x: Any) -> tuple[Array, Array]:
        return _value_and_slope(kernel, x)

    compute.__name__, compute.__doc__ = name, doc
    return fused(backward=lambda g, slope, _wanted, _x: [g * slope], formula=formula)(compute)


# ------------------------------------------------------------------------------------------- GELU

DENSITY_AT_ZERO = 1 / math.sqrt(2 * math.pi)

# P in Φ(x) ≈ (1 + tanh(x P(x²))) / 2, lowest power first: a minimax fit whose error, 3e-8 for every x, lies
# below float32's resolution. SciPy's error function takes ten times as long, for it is not vectorised.
CDF_POLYNOMIAL = (
    0.797884941462359,
    0.03633308456358342,
    -3.259496218260082e-05,
    -5.530620025887048e-05,
    3.964745810760612e-06,
    -1.322634682569238e-07,
    1.7561749167605251e-09,
)
# Beyond it the polynomial is not fitted, and Φ is 0 or 1 to float32's resolution.
LARGEST_SQUARE = 36.0


@primitive
def normal_cdf(x: Any) -> Array:
    """Φ(x), the normal distribution function; x̄ = ȳ φ(x) with the density φ(x) = exp(−x²/2) / √2π."""
    return ndtr(x)


normal_cdf.differentiate(lambda g, _y, x: g * exp(x * x * -0.5) * DENSITY_AT_ZERO)


def _cdf(x: Array, square: Array, out: Array) -> None:
    """Φ(x) into ``out``; the squares are overwritten."""
    if x.dtype != np.float32:
        ndtr(x, out=out)
        return
    if square.max(initial=0.0) > LARGEST_SQUARE:
        np.minimum(square, LARGEST_SQUARE, out=square)
    np.multiply(square, CDF_POLYNOMIAL[-1], out=out)
    for coefficient in CDF_POLYNOMIAL[-2:0:-1]:
        out += coefficient
        out *= square
    out += CDF_POLYNOMIAL[0]
    out *= x
    np.tanh(out, out=out)
    out += 1
    out *= 0.5


def _gelu(x: Array, y: Array, slope: Array, cdf: Array) -> None:
    # slope = Φ(x) + x φ(x)
    square = np.square(x, out=y)
    np.multiply(square, -0.5, out=slope)
    np.exp(slope, out=slope)
    slope *= x
    slope *= DENSITY_AT_ZERO
    _cdf(x, square, out=cdf)
    slope += cdf
    np.multiply(x, cdf, out=y)


gelu = _in_pieces(
    _gelu,
    lambda x: x * normal_cdf(x),
    "gelu",
    "Gaussian error linear unit, y = x Φ(x); x̄ = ȳ (Φ(x) + x φ(x)).",
)

TANH_SCALE = math.sqrt(2 / math.pi)
TANH_CUBE = 0.044715


def _gelu_tanh(x: Array, y: Array, slope: Array, gate: Array) -> None:
    # With t = tanh u: slope = (1 + t + x (1 − t²) du/dx) / 2
    np.square(x, out=slope)
    np.multiply(slope, TANH_SCALE * TANH_CUBE, out=gate)
    gate += TANH_SCALE
    gate *= x
    np.tanh(gate, out=gate)
    slope *= 3 * TANH_SCALE * TANH_CUBE
    slope += TANH_SCALE
    slope *= x
    np.square(gate, out=y)
    np.subtract(1, y, out=y)
    slope *= y
    gate += 1
    slope += gate
    slope *= 0.5
    gate *= 0.5
    np.multiply(x, gate, out=y)


gelu_tanh = _in_pieces(
    _gelu_tanh,
    lambda x: x * (tanh(x * (x * x * (TANH_SCALE * TANH_CUBE) + TANH_SCALE)) * 0.5 + 0.5),
    "gelu_tanh",
    "GELU with Φ(x) taken as (1 + tanh u) / 2, u = √(2/π) (x + 0.044715 x³).",
)


# --------------------------------------------------------------------------- softplus and log-sigmoid


@primitive
def softplus(x: Any, *, beta: float, threshold: float) -> Array:
    """y = ln(1 + e^(βx)) / β, or x itself where βx exceeds the threshold; x̄ = ȳ σ(βx), or ȳ there."""
    z = np.asarray(x * beta)
    y = _log_1p_exp(z)
    y /= beta
    linear = z > threshold
    if linear.any():
        np.copyto(y, x, where=linear)
    return y


@primitive
def softplus_slope(x: Any, *, beta: float, threshold: float) -> Array:
    """y = σ(βx), or 1 where βx exceeds the threshold; x̄ = β ȳ y (1 − y)."""
    z = np.asarray(x * beta)
    y = sigmoid.forward(z)
    y[z > threshold] = 1
    return y


softplus.differentiate(lambda g, _y, x, **constants: g * softplus_slope(x, **constants))
softplus_slope.differentiate(lambda g, y, _x, beta, threshold: g * (y * (1.0 - y)) * beta)


def _log_1p_exp(z: Array) -> Array:
    """ln(1 + eᶻ) = max(z, 0) + ln(1 + e^−|z|), which does not overflow."""
    y = np.asarray(np.abs(z))
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.log1p(y, out=y)
    y += np.maximum(z, 0)
    return y


@primitive
def log_sigmoid(x: Any) -> Array:
    """y = ln σ(x) = −ln(1 + e⁻ˣ); x̄ = ȳ σ(−x)."""
    return -_log_1p_exp(-x)


log_sigmoid.differentiate(lambda g, _y, x: g * sigmoid(-x))


# ------------------------------------------------------------------------------------ SiLU and Mish


def _silu(x: Array, y: Array, slope: Array, spare: Array) -> None:
    # With s = σ(x): slope = s + y (1 − s)
    np.negative(x, out=slope)
    with np.errstate(over="ignore"):
        np.exp(slope, out=slope)
    slope += 1
    np.reciprocal(slope, out=slope)
    np.multiply(x, slope, out=y)
    np.subtract(1, slope, out=spare)
    spare *= y
    slope += spare


silu = _in_pieces(
    _silu,
    lambda x: x * sigmoid(x),
    "silu",
    "Sigmoid-weighted linear unit, y = x σ(x); x̄ = ȳ (σ(x) + y (1 − σ(x))).",
)

# tanh(softplus(x)) is 1 to the last bit above it, and the square of eˣ does not overflow below it.
MISH_LINEAR = 20.0


def _mish(x: Array, y: Array, slope: Array, spare: Array) -> None:
    # With e = eˣ and n = e (e + 2): tanh(ln(1 + e)) = n / (n + 2), its slope 4 e (e + 1) / (n + 2)²
    np.minimum(x, MISH_LINEAR, out=y)
    power = np.exp(y, out=y)
    np.add(power, 2, out=spare)
    spare *= power
    gate = spare / (spare + 2)
    spare += 2
    np.add(power, 1, out=slope)
    slope *= power
    slope /= np.square(spare, out=spare)
    slope *= 4
    slope *= x
    slope += gate
    np.multiply(x, gate, out=y)


mish = _in_pieces(
    _mish,
    lambda x: x * tanh(softplus(x, beta=1.0, threshold=MISH_LINEAR)),
    "mish",
    "y = x tanh(ln(1 + eˣ)).",
)


# ---------------------------------------------------------------------------------- the ELU family


@primitive
def elu(x: Any, *, alpha: float, rate: float, factor: float) -> Array:
    """y = k x where x > 0, else k α (e^(rx) − 1); x̄ = k ȳ, else ȳ k α r e^(rx)."""
    y = np.asarray(np.minimum(x, 0))
    y *= rate
    np.expm1(y, out=y)
    y *= alpha * factor
    y += np.maximum(x, 0) * factor
    return y


@primitive
def elu_slope(x: Any, *, alpha: float, rate: float, factor: float) -> Array:
    """y = k where x > 0, else k α r e^(rx); x̄ = 0, else r ȳ y."""
    y = np.asarray(np.minimum(x, 0))
    y *= rate
    np.exp(y, out=y)
    y *= alpha * rate * factor
    if alpha * rate != 1:
        np.copyto(y, factor, where=x > 0)
    return y


elu.differentiate(lambda g, _y, x, **constants: g * elu_slope(x, **constants))
elu_slope.differentiate(
    lambda g, y, x, alpha, rate, factor: scale(g * y, factor=_number(np.asarray(x) <= 0, g) * rate)
)


# ------------------------------------------------------------------------------- straight in pieces


def _number(mask: Array, like: Any) -> Array:
    """A mask as zeros and ones of a tensor's or an array's dtype."""
    return mask.astype(like.dtype)


@primitive
def leaky_relu(x: Any, *, slope: float) -> Array:
    """y = x where x > 0, else s x; x̄ = ȳ or s ȳ, the latter also at x = 0."""
    return np.maximum(x, x * slope) if slope <= 1 else np.minimum(x, x * slope)


def _leaky_rule(g: Any, _y: Any, x: Any, slope: float) -> Any:
    steps = np.asarray(_number(np.asarray(x) > 0, g))
    steps *= 1 - slope
    steps += slope
    return scale(g, factor=steps)


leaky_relu.differentiate(_leaky_rule)


@primitive
def prelu(x: Any, slope: Any) -> Array:
    """y = max(x, 0) + s min(x, 0) with slopes that broadcast; s̄ = Σ ȳ min(x, 0)."""
    return np.maximum(x, 0) + slope * np.minimum(x, 0)


def _prelu_rule(g: Any, _y: Any, x: Any, slope: Any) -> Any:
    positive = np.asarray(x) > 0
    return g * (slope * _number(~positive, g) + _number(positive, g))


prelu.differentiate(_prelu_rule, lambda g, _y, x, _slope: g * scale(x, factor=np.asarray(x) <= 0))


@primitive
def hardtanh(x: Any, *, low: float, high: float) -> Array:
    """y = x, but no less than ``low`` and no more than ``high``; x̄ = ȳ strictly between them, else 0."""
    return np.clip(x, low, high)


hardtanh.differentiate(lambda g, _y, x, low, high: scale(g, factor=_between(np.asarray(x), low, high)))


def _between(x: Array, low: float, high: float) -> Array:
    return (x > low) & (x < high)


def _hardswish(x: Array, y: Array, slope: Array, gate: Array) -> None:
    # slope = gate + x/6 where the gate is neither shut nor open
    np.multiply(x, 1 / 6, out=slope)
    np.add(slope, 0.5, out=gate)
    np.clip(gate, 0, 1, out=gate)
    np.multiply(x, gate, out=y)
    slope *= _between(gate, 0, 1)
    slope += gate


hardswish = _in_pieces(
    _hardswish,
    lambda x: x * hardtanh(x * (1 / 6) + 0.5, low=0.0, high=1.0),
    "hardswish",
    "y = x min(max(x/6 + 1/2, 0), 1); x̄ = 0 below −3, ȳ (x/3 + 1/2) between, ȳ above 3.",
)


# -------------------------------------------------------------------------------------------- GLU


def _glu_backward(g: Array, gate: Array, _wanted: Sequence[bool], x: Array, dim: int) -> list[Array]:
    result = np.empty_like(x)
    half = x.shape[dim] // 2
    left, right = np.split(result, [half], dim)
    np.multiply(g, gate, out=left)
    np.subtract(1, gate, out=right)
    right *= left
    right *= np.split(x, [half], dim)[0]
    return [result]


def _glu_formula(x: Any, dim: int) -> Any:
    half = x.shape[dim] // 2
    before = (slice(None),) * (dim % x.ndim)
    return x[(*before, slice(half))] * sigmoid(x[(*before, slice(half, None))])


@fused(backward=_glu_backward, formula=_glu_formula)
def glu(x: Any, *, dim: int) -> tuple[Array, Array]:
    """Gated linear unit, y = a σ(b) where a and b are the halves of x; ā = ȳ σ(b), b̄ = ȳ y (1 − σ(b))."""
    left, right = np.split(x, [x.shape[dim] // 2], dim)
    gate = sigmoid.forward(right)
    return left * gate, gate

"""Nonlinearities beyond `relu`, `tanh` and `sigmoid`, which stand with the elementwise primitives.

GELU, SiLU, Mish and hard-swish are gates, y = x gate(x), and stand here twice. The kernels compute the gate
of one piece, and the slope dy/dx where it is recorded, in place and in few passes; the backward pass is then
one product, x̄ = ȳ dy/dx. The formula composes y of other primitives, and is what a second derivative is
taken of. The others have rules, with PyTorch's values at the kinks.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from scratchnet.fused import Fused, fused
from scratchnet.ops.elementwise import exp, scale, sigmoid, tanh
from scratchnet.tape import Array, primitive

# Elements a piece: what a kernel passes over again and again then stays in a core's cache.
PIECE = 1 << 16

# gate(x, out, spare): fills out, and may leave in the spare room what the slope wants.
Gate = Callable[[Array, Array, Array], None]
# slope(x, y, gate, out): fills out, which is that spare room.
Slope = Callable[[Array, Array, Array, Array], None]


def _pieces(*arrays: Array) -> Iterator[list[Array]]:
    """Runs of elements, the same ones of all arrays, in the order of the memory."""
    flat = [array.ravel(order="K") for array in arrays]
    for start in range(0, flat[0].size, PIECE):
        yield [array[start : start + PIECE] for array in flat]


def _dense(x: Array) -> tuple[Array, Array]:
    """The array and an empty one that lies alike; a transposed image is not copied, but one with holes is."""
    y = np.empty_like(x)
    return (x if x.strides == y.strides else np.positive(x, out=np.empty_like(x))), y


def _gated(gate: Gate, slope: Slope, formula: Callable[[Any], Any], name: str, doc: str) -> Fused:
    """The primitive y = x gate(x)."""

    def compute(x: Any) -> tuple[Array, Array]:
        dense, y = _dense(x)
        slopes = np.empty_like(y)
        room = np.empty(min(y.size, PIECE), y.dtype)
        for of_x, of_y, of_slope in _pieces(dense, y, slopes):
            opened = room[: of_x.size]
            gate(of_x, opened, of_slope)
            np.multiply(of_x, opened, out=of_y)
            slope(of_x, of_y, opened, of_slope)
        return y, slopes

    def value(x: Any) -> Array:
        dense, y = _dense(x)
        room = np.empty(min(y.size, PIECE), y.dtype)
        for of_x, of_y in _pieces(dense, y):
            gate(of_x, of_y, room[: of_x.size])
            of_y *= of_x
        return y

    compute.__name__, compute.__doc__ = name, doc
    return fused(backward=lambda g, slopes, _wanted, _x: [g * slopes], formula=formula, value=value)(compute)


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


def _cdf(x: Array, out: Array, square: Array) -> None:
    if x.dtype != np.float32:
        ndtr(x, out=out)
        return
    np.square(x, out=square)
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


def _gelu_slope(x: Array, _y: Array, cdf: Array, slope: Array) -> None:
    # Φ(x) + x φ(x)
    np.square(x, out=slope)
    slope *= -0.5
    np.exp(slope, out=slope)
    slope *= x
    slope *= DENSITY_AT_ZERO
    slope += cdf


gelu = _gated(
    _cdf,
    _gelu_slope,
    lambda x: x * normal_cdf(x),
    "gelu",
    "Gaussian error linear unit, y = x Φ(x); x̄ = ȳ (Φ(x) + x φ(x)).",
)

TANH_SCALE = math.sqrt(2 / math.pi)
TANH_CUBE = 0.044715


def _tanh_gate(x: Array, gate: Array, bent: Array) -> None:
    # (1 + tanh u) / 2
    np.square(x, out=gate)
    gate *= TANH_SCALE * TANH_CUBE
    gate += TANH_SCALE
    gate *= x
    np.tanh(gate, out=bent)
    np.add(bent, 1, out=gate)
    gate *= 0.5


def _gelu_tanh_slope(x: Array, _y: Array, gate: Array, slope: Array) -> None:
    # gate + x (1 − tanh² u) du/dx / 2
    np.square(slope, out=slope)
    np.subtract(1, slope, out=slope)
    slope *= x
    rate = np.square(x)
    rate *= 1.5 * TANH_SCALE * TANH_CUBE
    rate += 0.5 * TANH_SCALE
    slope *= rate
    slope += gate


gelu_tanh = _gated(
    _tanh_gate,
    _gelu_tanh_slope,
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


def _logistic(x: Array, gate: Array, _spare: Array) -> None:
    np.negative(x, out=gate)
    with np.errstate(over="ignore"):
        np.exp(gate, out=gate)
    gate += 1
    np.reciprocal(gate, out=gate)


def _silu_slope(_x: Array, y: Array, gate: Array, slope: Array) -> None:
    # gate + y (1 − gate)
    np.subtract(1, gate, out=slope)
    slope *= y
    slope += gate


silu = _gated(
    _logistic,
    _silu_slope,
    lambda x: x * sigmoid(x),
    "silu",
    "Sigmoid-weighted linear unit, y = x σ(x); x̄ = ȳ (σ(x) + y (1 − σ(x))).",
)

# tanh(softplus(x)) is 1 to the last bit above it, and the square of eˣ does not overflow below it.
MISH_LINEAR = 20.0


def _mish_gate(x: Array, gate: Array, power: Array) -> None:
    # With e = eˣ and n = e (e + 2): tanh(ln(1 + e)) = n / (n + 2)
    np.minimum(x, MISH_LINEAR, out=power)
    np.exp(power, out=power)
    np.add(power, 2, out=gate)
    gate *= power
    gate /= gate + 2


def _mish_slope(x: Array, _y: Array, gate: Array, slope: Array) -> None:
    # gate + 4 x e (e + 1) / (n + 2)²
    power = slope
    root = power * (power + 2) + 2
    np.square(root, out=root)
    slope *= power + 1
    slope /= root
    slope *= 4
    slope *= x
    slope += gate


mish = _gated(
    _mish_gate,
    _mish_slope,
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


def _hard_gate(x: Array, gate: Array, _spare: Array) -> None:
    np.multiply(x, 1 / 6, out=gate)
    gate += 0.5
    np.clip(gate, 0, 1, out=gate)


def _hardswish_slope(x: Array, _y: Array, gate: Array, slope: Array) -> None:
    # gate + x/6 where the gate is neither shut nor open
    np.multiply(x, 1 / 6, out=slope)
    slope *= _between(gate, 0, 1)
    slope += gate


hardswish = _gated(
    _hard_gate,
    _hardswish_slope,
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

"""Losses as primitives: each forward pass and each gradient touches its arrays as seldom as it can."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import xlogy

from scratchnet.fused import fused
from scratchnet.ops.activation import log_sigmoid
from scratchnet.ops.elementwise import log, sigmoid
from scratchnet.ops.reduction import log_softmax, softmax
from scratchnet.ops.shape import reshape
from scratchnet.tape import Array, primitive

Shares = float | Array

# ------------------------------------------------------------------------------------- class numbers


def _weighted(values: Array, shares: Shares) -> Array:
    """Where the share is zero the product is too, even if the value is infinite: it does not count."""
    if isinstance(shares, float):
        return values * shares
    return np.multiply(values, shares, out=np.zeros_like(values), where=shares != 0)


def _column(shares: Any) -> Any:
    return shares[:, None] if np.ndim(shares) else shares


def _places(size: tuple[int, ...], labels: Array) -> Array:
    """Where each row's label lies in the matrix laid flat; one index is looked up faster than two."""
    return np.arange(0, size[0] * size[1], size[1]) + labels


@primitive
def pick(x: Any, *, labels: Array, shares: Shares) -> Array:
    """yᵢ = sᵢ x[i, lᵢ], one entry of each row; x̄ is zero but for sᵢ ȳᵢ at the labels."""
    return _weighted(x[np.arange(len(labels)), labels], shares)


@primitive
def place(g: Any, *, labels: Array, shares: Shares, classes: int) -> Array:
    """The backward pass of `pick`, zeros with sᵢ gᵢ at the labels; its own gradient is a `pick`."""
    result = np.zeros((len(labels), classes), g.dtype)
    result[np.arange(len(labels)), labels] = _weighted(g, shares)
    return result


pick.differentiate(
    lambda g, _y, x, labels, shares: place(g, labels=labels, shares=shares, classes=x.shape[1])
)
place.differentiate(lambda gg, _z, _g, labels, shares, classes: pick(gg, labels=labels, shares=shares))


def _cross_entropy_backward(
    g: Array,
    saved: tuple[Array, Array, Array],
    _wanted: Sequence[bool],
    _logits: Array,
    labels: Array,
    shares: Shares,
) -> list[Array]:
    powers, sums, places = saved
    factors = g * shares
    slope = powers * (factors / sums)[:, None]
    slope.reshape(-1)[places] -= factors
    return [slope]


@fused(backward=_cross_entropy_backward)
def cross_entropy(logits: Any, *, labels: Array, shares: Shares) -> tuple[Array, Any]:
    """ℓ = −Σᵢ sᵢ ln softmax(xᵢ)[lᵢ] over the rows; x̄ᵢ = ℓ̄ sᵢ (softmax(xᵢ) − one-hot(lᵢ)).

    The shares s are one number, or an array with one for each row.
    """
    # In C's order, which a transposed matrix has not: the places count along the rows, here and in the slope.
    powers = np.subtract(logits, np.maximum.reduce(logits, axis=1)[:, None], order="C")
    places = _places(powers.shape, labels)
    chosen = powers.reshape(-1)[places]
    np.exp(powers, out=powers)
    # BLAS sums the rows of a wide matrix three times as fast as a reduction does.
    sums = np.dot(powers, np.ones(powers.shape[1], powers.dtype))
    losses = np.log(sums)
    losses -= chosen
    if isinstance(shares, float):
        return np.add.reduce(losses) * shares, (powers, sums, places)
    return np.add.reduce(_weighted(losses, shares)), (powers, sums, places)


@fused(
    backward=lambda gg, saved, wanted, g, _x, labels, shares: _curvature(
        gg, saved, wanted, g, labels, shares
    ),
    formula=lambda g, x, labels, shares: (softmax(x, axis=1) - _one_hot(x, labels)) * _column(g * shares),
)
def cross_entropy_gradient(g: Any, logits: Any, *, labels: Array, shares: Shares) -> tuple[Array, Array]:
    """The backward pass of `cross_entropy`, zᵢ = g sᵢ (pᵢ − one-hot(lᵢ)) with p = softmax(x).

    x̄ᵢ = g sᵢ pᵢ (z̄ᵢ − ⟨z̄ᵢ, pᵢ⟩), the product with the Hessian of the loss; ḡ = Σ sᵢ (⟨z̄ᵢ, pᵢ⟩ − z̄ᵢ[lᵢ]).
    """
    probabilities = softmax(logits, axis=1)
    slope = np.multiply(probabilities, _column(g * shares), order="C")
    slope.reshape(-1)[_places(slope.shape, labels)] -= g * shares
    return slope, probabilities


def _curvature(
    gg: Array, probabilities: Array, wanted: Sequence[bool], g: Array, labels: Array, shares: Shares
) -> list[Array | None]:
    expected = np.vecdot(gg, probabilities)
    found: list[Array | None] = [None, None]
    if wanted[0]:
        own = gg[np.arange(len(labels)), labels]
        found[0] = np.asarray(np.sum((expected - own) * shares), gg.dtype)
    if wanted[1]:
        found[1] = gg - expected[:, None]
        found[1] *= probabilities
        found[1] *= _column(g * shares)
    return found


def _one_hot(x: Any, labels: Array) -> Array:
    return place(np.ones(len(labels), x.dtype), labels=labels, shares=1.0, classes=x.shape[1])


cross_entropy.differentiate(
    lambda g, _y, logits, labels, shares: cross_entropy_gradient(g, logits, labels=labels, shares=shares)
)

# ------------------------------------------------------------------------------ class probabilities


@primitive
def soft_cross_entropy(logits: Any, target: Any) -> Array:
    """ℓᵢ = −Σ tᵢ ln softmax(xᵢ), with a weight t for each class of each row.

    x̄ᵢ = ℓ̄ᵢ (softmax(xᵢ) Σ tᵢ − tᵢ) and t̄ᵢ = −ℓ̄ᵢ ln softmax(xᵢ). Label smoothing and class weights lie in t.
    """
    return -np.vecdot(target, log_softmax(logits, axis=1))


def _soft_slope(g: Any, _y: Any, logits: Any, target: Any) -> Any:
    slope = softmax(logits, axis=1) * target.sum(axis=1, keepdims=True) - target
    return slope * reshape(g, shape=(-1, 1), original=g.shape)


soft_cross_entropy.differentiate(
    _soft_slope,
    lambda g, _y, logits, _target: log_softmax(logits, axis=1) * -reshape(g, shape=(-1, 1), original=g.shape),
)

# ----------------------------------------------------------------------------------------- distances


def _squared_error_backward(
    g: Array, difference: Array, wanted: Sequence[bool], _x: Array, _y: Array, scale: float
) -> list[Array | None]:
    slope = difference * (g * (2.0 * scale))
    return [slope if wanted[0] else None, -slope if wanted[1] else None]


@fused(backward=_squared_error_backward)
def squared_error(x: Any, y: Any, *, scale: float) -> tuple[Array, Array]:
    """ℓ = s Σ (x − y)²; x̄ = 2 s ℓ̄ (x − y) = −ȳ."""
    difference = x - y
    flat = difference.reshape(-1)
    return np.dot(flat, flat) * scale, difference


squared_error.differentiate(
    lambda g, _z, x, y, scale: (x - y) * (g * (2.0 * scale)),
    lambda g, _z, x, y, scale: (y - x) * (g * (2.0 * scale)),
)


@primitive
def huber(x: Any, *, delta: float) -> Array:
    """y = x²/2 where |x| ≤ δ, δ (|x| − δ/2) beyond; x̄ = ȳ x clipped to ±δ."""
    # |x| k − k²/2 with k = min(|x|, δ) in two arrays: new memory costs more than the arithmetic.
    result = np.asarray(np.abs(x))
    inner = np.asarray(np.minimum(result, delta))
    result *= inner
    np.square(inner, out=inner)
    inner *= 0.5
    result -= inner
    return result


@primitive
def clip(x: Any, *, low: float, high: float) -> Array:
    """y = x, no less than ``low`` and no more than ``high``; x̄ = ȳ within (at the bounds too), 0 beyond."""
    return np.clip(x, low, high)


def _within(x: Any, low: float, high: float) -> Array:
    array = np.asarray(x)
    return (low <= array) & (array <= high)


huber.differentiate(lambda g, _y, x, delta: g * clip(x, low=-delta, high=delta))
clip.differentiate(lambda g, _y, x, low, high: g * _within(x, low, high))

# ---------------------------------------------------------------------------------------- yes or no


@primitive
def binary_cross_entropy(x: Any, target: Any) -> Array:
    """ℓ = −t ln x − (1 − t) ln(1 − x), each logarithm no less than −100 as in PyTorch.

    x̄ = ℓ̄ (x − t) / x(1 − x), the divisor no less than 10⁻¹²; t̄ = ℓ̄ (ln(1 − x) − ln x).
    """
    return -(target * clamped_log(x) + (1 - target) * clamped_log(1 - x))


@primitive
def clamped_log(x: Any) -> Array:
    """y = ln x, no less than −100; x̄ = ȳ / x, the divisor no less than 10⁻¹²."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(x), -100.0)


clamped_log.differentiate(lambda g, _y, x: g / clip(x, low=1e-12, high=math.inf))
binary_cross_entropy.differentiate(
    lambda g, _y, x, target: g * (x - target) / clip(x * (1.0 - x), low=1e-12, high=math.inf),
    lambda g, _y, x, _target: g * (clamped_log(1.0 - x) - clamped_log(x)),
)


def _logits_backward(
    g: Array,
    saved: tuple[Array, Array],
    wanted: Sequence[bool],
    x: Array,
    target: Array,
    positive: Array | None,
) -> list[Array | None]:
    power, tail = saved
    found: list[Array | None] = [None, None]
    if wanted[0]:
        # σ(x), in which e^min(x, 0) takes the place of a choice between 1 and e⁻ˡˣˡ.
        slope = np.exp(np.minimum(x, 0))
        slope /= 1 + power
        yes = target if positive is None else target * positive
        found[0] = (slope - yes if positive is None else slope * (1 - target + yes) - yes) * g
    if wanted[1]:
        found[1] = -x if positive is None else positive * (np.maximum(-x, 0) + tail) - np.maximum(x, 0) - tail
        found[1] *= g
    return found


@fused(backward=_logits_backward)
def binary_cross_entropy_with_logits(
    x: Any, target: Any, *, positive: Array | None
) -> tuple[Array, tuple[Array, Array]]:
    """ℓ = −p t ln σ(x) − (1 − t) ln σ(−x), with a weight p of what is positive, which is 1 for None.

    x̄ = ℓ̄ (σ(x) (1 − t + p t) − p t) and t̄ = −ℓ̄ (p ln σ(x) − ln σ(−x)), which is −ℓ̄ x for p = 1.
    """
    power = np.asarray(np.abs(x))
    np.negative(power, out=power)
    np.exp(power, out=power)
    tail = np.log1p(power)
    # A sum and no difference: what is right by far keeps its digits on either side. Only one of the two
    # roofs max(±x, 0) is there at a time, and it is written over, for new memory costs more than arithmetic.
    output = np.asarray(1 - target)
    yes = target if positive is None else target * positive
    roof = np.asarray(np.maximum(x, 0))
    if positive is None:
        output *= roof
        output += tail
    else:
        roof += tail
        output *= roof
    np.minimum(x, 0, out=roof)
    np.negative(roof, out=roof)
    if positive is not None:
        roof += tail
    roof *= yes
    output += roof
    return output, (power, tail)


def _logits_slope(g: Any, _y: Any, x: Any, target: Any, positive: Array | None) -> Any:
    if positive is None:
        return g * (sigmoid(x) - target)
    return g * (sigmoid(x) * (1.0 + target * (positive - 1.0)) - target * positive)


binary_cross_entropy_with_logits.differentiate(
    _logits_slope,
    lambda g, _y, x, _target, positive: (
        -(g * x) if positive is None else g * (log_sigmoid(-x) - log_sigmoid(x) * positive)
    ),
)


@primitive
def x_log_x(x: Any) -> Array:
    """y = x ln x, and 0 at x = 0; x̄ = ȳ (ln x + 1)."""
    return xlogy(x, x)


x_log_x.differentiate(lambda g, _y, x: g * (log(x) + 1.0))

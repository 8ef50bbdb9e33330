"""Elementwise primitives. In the derivations ȳ is the gradient that arrives and x̄ the one that leaves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scratchnet.fused import fused
from scratchnet.tape import Array, primitive

# Elements from which a second small array costs less than what it saves.
LARGE = 8192


@primitive
def add(x: Any, y: Any) -> Array:
    """z = x + y; x̄ = z̄, ȳ = z̄."""
    return x + y


add.differentiate(lambda g, _z, _x, _y: g, lambda g, _z, _x, _y: g)


@primitive
def subtract(x: Any, y: Any) -> Array:
    """z = x − y; x̄ = z̄, ȳ = −z̄."""
    return x - y


subtract.differentiate(lambda g, _z, _x, _y: g, lambda g, _z, _x, _y: -g)


@primitive
def multiply(x: Any, y: Any) -> Array:
    """z = x y; x̄ = z̄ y, ȳ = z̄ x."""
    return x * y


multiply.differentiate(lambda g, _z, _x, y: g * y, lambda g, _z, x, _y: g * x)


@primitive
def scale(x: Any, *, factor: Array) -> Array:
    """y = x m for a constant array m, a mask say; x̄ = ȳ m, and x is not kept."""
    return x * factor


scale.differentiate(lambda g, _y, _x, factor: scale(g, factor=factor))


@primitive
def divide(x: Any, y: Any) -> Array:
    """z = x / y; x̄ = z̄ / y, ȳ = −z̄ z / y."""
    return x / y


divide.differentiate(lambda g, _z, _x, y: g / y, lambda g, z, _x, y: -g * z / y)


@primitive
def negative(x: Any) -> Array:
    """y = −x; x̄ = −ȳ."""
    return -x


negative.differentiate(lambda g, _y, _x: -g)


@primitive
def power(x: Any, *, exponent: float) -> Array:
    """y = xᵏ for a constant k; x̄ = ȳ k xᵏ⁻¹, with 0 for k = 0 even where x = 0."""
    return x**exponent


power.differentiate(lambda g, _y, x, exponent: g * exponent * x ** (exponent - 1) if exponent else g * 0.0)


@primitive
def exp(x: Any) -> Array:
    """y = eˣ; x̄ = ȳ y."""
    return np.exp(x)


exp.differentiate(lambda g, y, _x: g * y)


@primitive
def log(x: Any) -> Array:
    """y = ln x; x̄ = ȳ / x."""
    return np.log(x)


log.differentiate(lambda g, _y, x: g / x)


@primitive
def sqrt(x: Any) -> Array:
    """y = √x; x̄ = ȳ / 2y."""
    return np.sqrt(x)


sqrt.differentiate(lambda g, y, _x: g / (y * 2))


@primitive
def absolute(x: Any) -> Array:
    """y = |x|; x̄ = ȳ sign x, with 0 at x = 0 as PyTorch has it."""
    return np.abs(x)


absolute.differentiate(lambda g, _y, x: g * np.sign(np.asarray(x)))


# The integers as wide as a float, which hold the same bits.
_BITS = {np.dtype(f"f{size}"): np.dtype(f"i{size}") for size in (4, 8)}


def _relu_backward(g: Array, y: Array, _wanted: Sequence[bool], _x: None) -> list[Array]:
    # Among the bits of floats, as among integers, a number above zero is one above zero, and minus it has
    # the top bit, which the shift copies to all others. A product with y > 0 takes half as long again, and
    # makes NaN of an infinite gradient at a dead unit.
    bits = _BITS.get(g.dtype)
    if bits is None:
        return [np.where(y > 0, g, g.dtype.type(0))]
    mask = np.negative(y.view(bits))
    mask >>= 8 * g.itemsize - 1
    mask &= g.view(bits)
    return [mask.view(g.dtype)]


@fused(backward=_relu_backward)
def relu(x: Any) -> tuple[Array, Array]:
    """Rectified linear unit, y = max(x, 0); x̄ = ȳ where y > 0, else 0 (at the kink too, as in PyTorch).

    Its second derivative is zero wherever it exists.
    """
    # In this order, for of two zeros of either sign the second is taken; the backward pass wants that of 0.
    # NumPy compares two arrays in vectors, but an array with a number element by element.
    y = np.maximum(x, np.zeros_like(x[:1]) if np.size(x) > LARGE else 0)
    return y, y


@primitive
def relu_gradient(g: Any, y: Any) -> Array:
    """The backward pass of `relu`: linear in the gradient, constant in y."""
    return _relu_backward(g, y, (True, False), None)[0]


relu.differentiate(lambda g, y, _x: relu_gradient(g, y))
relu_gradient.differentiate(lambda gg, _z, _g, y: relu_gradient(gg, y), None)


@primitive
def tanh(x: Any) -> Array:
    """Hyperbolic tangent, y = tanh x; x̄ = ȳ (1 − y²)."""
    return np.tanh(x)


@primitive
def tanh_gradient(g: Any, y: Any) -> Array:
    """The backward pass of `tanh` in one array: z = g (1 − y²); ḡ = z̄ (1 − y²), ȳ = −2 z̄ g y."""
    # As an array, because `out` takes no scalar, which NumPy makes of 0-d results.
    slope = np.asarray(np.square(y))
    np.subtract(1, slope, out=slope)
    return np.multiply(slope, g, out=slope)


tanh.differentiate(lambda g, y, _x: tanh_gradient(g, y))
tanh_gradient.differentiate(
    lambda gg, _z, _g, y: tanh_gradient(gg, y), lambda gg, _z, g, y: gg * g * y * -2.0
)


@primitive
def sigmoid(x: Any) -> Array:
    """Logistic function, y = 1 / (1 + e⁻ˣ); x̄ = ȳ y (1 − y)."""
    # SciPy's `expit` is not vectorised, and takes three times as long as these four passes.
    y = np.asarray(np.negative(x))
    with np.errstate(over="ignore"):
        np.exp(y, out=y)
    y += 1
    return np.reciprocal(y, out=y)


@primitive
def sigmoid_gradient(g: Any, y: Any) -> Array:
    """The backward pass of `sigmoid` in one array: z = g y (1 − y); ḡ = z̄ y (1 − y), ȳ = z̄ g (1 − 2y)."""
    slope = np.asarray(np.subtract(1, y))
    slope *= y
    return np.multiply(slope, g, out=slope)


sigmoid.differentiate(lambda g, y, _x: sigmoid_gradient(g, y))
sigmoid_gradient.differentiate(
    lambda gg, _z, _g, y: sigmoid_gradient(gg, y), lambda gg, _z, g, y: gg * g * (1.0 - y * 2.0)
)

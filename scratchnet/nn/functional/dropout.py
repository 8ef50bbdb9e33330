"""Dropout as functions."""

from typing import Any

import numpy as np

from scratchnet.nn.functional.activation import SELU_ALPHA, SELU_SCALE
from scratchnet.ops.elementwise import scale
from scratchnet.rng import RNGLike
from scratchnet.tape import Array
from scratchnet.tensor import Tensor, as_tensor

# Where SELU saturates, and hence what a dropped unit is set to by `alpha_dropout`.
SELU_FLOOR = -SELU_SCALE * SELU_ALPHA


def dropout(
    input: Any,  # noqa: A002 - PyTorch's name, here and below
    p: float = 0.5,
    training: bool = True,
    rng: RNGLike = None,
) -> Tensor:
    """Each element is zero with probability p, else x / (1 − p), so that its expectation stays x.

    The gradient passes the same mask, x̄ = ȳ m / (1 − p).

    Args:
        input: Any shape.
        p: Probability of zero, in [0, 1].
        training: If False, the input comes back as it is.
        rng: Where the mask comes from: a generator, a seed, or None for fresh entropy.

    Raises:
        ValueError: If p is no probability.

    Example:
        >>> dropout(np.ones(6), 0.5, rng=0).numpy()
        array([2., 2., 2., 0., 0., 0.])
    """
    x = as_tensor(input)
    return _drop("dropout", x, p, training, x.shape, rng)


def dropout1d(input: Any, p: float = 0.5, training: bool = True, rng: RNGLike = None) -> Tensor:  # noqa: A002
    """As `dropout`, but whole channels of ``(batch, channels, length)`` or ``(channels, length)``."""
    x = as_tensor(input)
    if x.ndim not in (2, 3):
        raise ValueError(
            f"dropout1d needs (batch, channels, length) or (channels, length), got shape {x.shape}; "
            f"dropout takes any shape"
        )
    return _drop("dropout1d", x, p, training, (*x.shape[:-1], 1), rng)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, rng: RNGLike = None) -> Tensor:  # noqa: A002
    """As `dropout`, but whole channels of images ``(batch, channels, height, width)``."""
    x = as_tensor(input)
    if x.ndim != 4:
        raise ValueError(
            f"dropout2d needs (batch, channels, height, width), got shape {x.shape}; "
            f"use dropout1d for (batch, channels, length)"
        )
    return _drop("dropout2d", x, p, training, (*x.shape[:2], 1, 1), rng)


def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, rng: RNGLike = None) -> Tensor:  # noqa: A002
    """Dropout for SELU networks: a dropped element takes SELU's floor, and mean and variance stay 0 and 1.

    With a = ((1 − p)(1 + p α'²))^(−1/2) and b = −a p α', where α' ≈ −1.758 is the floor, y = a x + b where
    the element is kept and a α' + b where it is dropped; x̄ = a ȳ where it is kept.

    As in PyTorch, ``training`` is False unless it is said.

    References:
        Klambauer et al., "Self-Normalizing Neural Networks", 2017, arXiv:1706.02515.
    """
    x = as_tensor(input)
    check_probability("alpha_dropout", p)
    if not training or p == 0:
        return x
    if p == 1:
        return scale(x, factor=np.zeros((), x.dtype))
    p = float(p)
    a = ((1 - p) * (1 + p * SELU_FLOOR**2)) ** -0.5
    kept = _keep(x.shape, p, x.dtype, rng)
    # a α' where dropped, and b everywhere.
    offset = (1 - kept) * (a * SELU_FLOOR) - a * p * SELU_FLOOR
    return scale(x, factor=kept * a) + offset


def _drop(caller: str, x: Tensor, p: float, training: bool, shape: tuple[int, ...], rng: RNGLike) -> Tensor:
    check_probability(caller, p)
    if not training or p == 0:
        return x
    if p == 1:
        return scale(x, factor=np.zeros((), x.dtype))
    mask = _keep(shape, p, x.dtype, rng)
    mask *= 1 / (1 - p)
    return scale(x, factor=mask)


def _keep(shape: tuple[int, ...], p: float, dtype: Any, rng: RNGLike) -> Array:
    """One where an element is kept, zero elsewhere."""
    # Numbers of single precision: half the time of double, and a probability exact to 6e-8.
    numbers = np.random.default_rng(rng).random(shape, dtype=np.float32)
    if dtype != np.float32:
        return (numbers >= p).astype(dtype)
    np.greater_equal(numbers, p, out=numbers)
    return numbers


def check_probability(caller: str, p: float) -> None:
    """Raises ValueError unless p lies in [0, 1]."""
    if not 0 <= p <= 1:
        raise ValueError(f"{caller} needs a probability p in [0, 1], got {p}")

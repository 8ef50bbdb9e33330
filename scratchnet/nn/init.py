"""First values of parameters. Each function fills a tensor's array in place and returns the tensor."""

import math
from typing import Literal

import numpy as np

from scratchnet.rng import RNGLike
from scratchnet.tensor import Tensor

Nonlinearity = Literal["linear", "sigmoid", "tanh", "relu", "leaky_relu"]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *, rng: RNGLike = None) -> Tensor:
    """Fills with numbers uniform in [a, b)."""
    tensor.array[...] = np.random.default_rng(rng).uniform(a, b, tensor.shape)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, rng: RNGLike = None) -> Tensor:
    """Fills with normal numbers."""
    tensor.array[...] = np.random.default_rng(rng).normal(mean, std, tensor.shape)
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills with one value."""
    tensor.array[...] = val
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Fills with zeros."""
    return constant_(tensor, 0.0)


def calculate_gain(nonlinearity: Nonlinearity, param: float | None = None) -> float:
    """Factor on the standard deviation that keeps a signal's size through a nonlinearity.

    Args:
        nonlinearity: What follows the layer.
        param: Negative slope of ``"leaky_relu"``, 0.01 if None.

    Returns:
        √2 for ReLU, √(2 / (1 + slope²)) for leaky ReLU, 5/3 for tanh, else 1.

    Raises:
        ValueError: If the nonlinearity is unknown.
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain needs one of {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, rng: RNGLike = None) -> Tensor:
    """Fills uniformly with variance 2 gain² / (inputs + outputs), which keeps a linear signal both ways.

    References:
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    """
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, rng=rng)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, *, rng: RNGLike = None) -> Tensor:
    """Fills with normal numbers of variance 2 gain² / (inputs + outputs); see `xavier_uniform_`."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), rng=rng)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    *,
    rng: RNGLike = None,
) -> Tensor:
    """Fills uniformly with variance gain² / fan, which keeps the size of a rectified signal.

    Args:
        tensor: At least two axes: outputs, inputs, and any space.
        a: Negative slope of the leaky ReLU that follows; 0 is ReLU.
        mode: ``"fan_in"`` keeps the forward signal, ``"fan_out"`` the backward one.
        nonlinearity: What follows the layer.
        rng: Generator, seed or None.

    References:
        He et al., "Delving Deep into Rectifiers", 2015, arXiv:1502.01852.
    """
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, rng=rng)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    nonlinearity: Nonlinearity = "leaky_relu",
    *,
    rng: RNGLike = None,
) -> Tensor:
    """Fills with normal numbers of variance gain² / fan; see `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), rng=rng)


def _fans(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            f"an initialiser by fan needs at least two axes (outputs, inputs), got shape {tensor.shape}; "
            f"use uniform_ or zeros_ for a bias"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2.0 / sum(_fans(tensor)))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: Nonlinearity) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"a Kaiming initialiser needs mode 'fan_in' or 'fan_out', got {mode!r}")
    fan = _fans(tensor)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)

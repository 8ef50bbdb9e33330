"""First values of parameters. Each function fills a tensor's array in place and returns the tensor.

Numbers are drawn in float64 and rounded to the tensor's dtype, so that a seed gives the same network in
either precision. ``rng`` is a generator, a seed, or None for fresh entropy. An empty tensor stays as it is.
"""

import math
import warnings
from typing import Any, Literal, TypeVar

import numpy as np
from scipy import special

from scratchnet.nn.module import Module
from scratchnet.rng import RNGLike
from scratchnet.tape import Array, no_grad
from scratchnet.tensor import Tensor

Nonlinearity = Literal[
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "selu",
]

_LINEAR = ("linear", *(f"conv{kind}{space}d" for kind in ("", "_transpose") for space in (1, 2, 3)))

AnyModule = TypeVar("AnyModule", bound=Module)


def calculate_gain(nonlinearity: Nonlinearity, param: float | None = None) -> float:
    """Factor on the standard deviation that keeps a signal's size through a nonlinearity.

    Args:
        nonlinearity: What follows the layer, by its name in `scratchnet.nn.functional`.
        param: Negative slope of ``"leaky_relu"``, 0.01 if None.

    Returns:
        √2 for ReLU, √(2 / (1 + slope²)) for leaky ReLU, 5/3 for tanh, 3/4 for SELU (for a network that
        normalises itself take ``"linear"`` instead), else 1.

    Raises:
        ValueError: If the nonlinearity is unknown, or the slope no number.
    """
    slope = 0.01 if param is None else param
    if isinstance(slope, bool) or not isinstance(slope, int | float):
        raise ValueError(f"calculate_gain needs a number as the negative slope, got {slope!r}")
    gains = dict.fromkeys(_LINEAR, 1.0) | {
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain needs one of {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


# ------------------------------------------------------------------------------------ distributions


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, *, rng: RNGLike = None) -> Tensor:
    """Fills with numbers uniform in [a, b)."""
    tensor.array[...] = np.random.default_rng(rng).uniform(a, b, tensor.shape)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *, rng: RNGLike = None) -> Tensor:
    """Fills with normal numbers."""
    tensor.array[...] = np.random.default_rng(rng).normal(mean, std, tensor.shape)
    return tensor


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    *,
    rng: RNGLike = None,
) -> Tensor:
    """Fills with normal numbers of which only those in [a, b] are kept, however far in the tail that is.

    The deviation of what is kept is smaller than ``std``. The bounds are values, not multiples of it.

    Args:
        tensor: What to fill.
        mean: Mean before truncation.
        std: Standard deviation before truncation.
        a: Smallest value.
        b: Largest value.
        rng: Generator, seed or None.

    Raises:
        ValueError: If ``std`` is not positive, or a is not below b.
    """
    if not (std > 0 and a < b):
        raise ValueError(f"trunc_normal_ needs std > 0 and a < b, got std={std}, a={a} and b={b}")
    # The lower tail is the one that logarithms describe well: an interval in the upper one is mirrored.
    sign = -1.0 if a > mean else 1.0
    low, high = sorted((sign * (a - mean) / std, sign * (b - mean) / std))
    drawn = mean + sign * std * _lower_normal(low, high, tensor.shape, rng)
    tensor.array[...] = np.clip(drawn, a, b)
    return tensor


def _lower_normal(low: float, high: float, shape: tuple[int, ...], rng: RNGLike) -> Array:
    """Standard normal numbers in an interval, by the inverse of the distribution's logarithm."""
    log_low, log_high = special.log_ndtr(low), special.log_ndtr(high)
    # In (0, 1], whose logarithm is finite.
    place = 1.0 - np.random.default_rng(rng).random(shape)
    return special.ndtri_exp(log_high + np.log(place + (1 - place) * np.exp(log_low - log_high)))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, *, rng: RNGLike = None) -> Tensor:
    """Fills uniformly with variance 2 gain² / (inputs + outputs), which keeps a linear signal both ways.

    Args:
        tensor: At least two axes: outputs, inputs, and any space. As in PyTorch, the second axis counts
            as inputs in the weight of a transposed convolution too.
        gain: See `calculate_gain`.
        rng: Generator, seed or None.

    Raises:
        ValueError: If there are fewer than two axes.

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
        tensor: At least two axes: outputs, inputs, and any space. As in PyTorch, the second axis counts
            as inputs in the weight of a transposed convolution too.
        a: Negative slope of the leaky ReLU that follows; 0 is ReLU.
        mode: ``"fan_in"`` keeps the forward signal, ``"fan_out"`` the backward one.
        nonlinearity: What follows the layer.
        rng: Generator, seed or None.

    Raises:
        ValueError: If there are fewer than two axes, or the mode or the nonlinearity is unknown.

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


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, *, rng: RNGLike = None) -> Tensor:
    """Fills with normal numbers, then sets the same count of elements to zero in each column.

    Args:
        tensor: Two axes, outputs and inputs: each input reaches a few outputs only.
        sparsity: Share of zeros in a column, rounded up to a whole count.
        std: Standard deviation of the rest.
        rng: Generator, seed or None.

    Raises:
        ValueError: If there are not two axes, or the share is not in [0, 1].

    References:
        Martens, "Deep learning via Hessian-free optimization", 2010.
    """
    _check_matrix("sparse_", tensor)
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_ needs sparsity in [0, 1], got {sparsity}")
    generator = np.random.default_rng(rng)
    normal_(tensor, 0.0, std, rng=generator)
    rank = generator.random(tensor.shape).argsort(axis=0)
    tensor.array[rank < math.ceil(sparsity * len(tensor))] = 0
    return tensor


# --------------------------------------------------------------------------------- fixed structures


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills with one value."""
    tensor.array[...] = val
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    """Fills with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills with zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fills with the identity, so that a linear layer hands on as many inputs as it has room for.

    Raises:
        ValueError: If there are not two axes.
    """
    _check_matrix("eye_", tensor)
    tensor.array[...] = np.eye(len(tensor), tensor.shape[1])
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fills with unit impulses, so that a convolution hands on as many channels as it has room for.

    Args:
        tensor: Outputs, inputs of a group, and one to three axes of space, in whose middle the one stands.
        groups: Groups of the convolution, each of which hands on its own channels.

    Raises:
        ValueError: If there are not three to five axes, or the outputs do not divide into groups.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(
            f"dirac_ needs the weight of a convolution, three to five axes, got shape {tensor.shape}; "
            f"use eye_ for a linear layer"
        )
    outputs, inputs = tensor.shape[:2]
    if groups < 1 or outputs % groups:
        raise ValueError(f"dirac_ needs outputs that divide into groups, got {outputs} and groups={groups}")
    channel = np.arange(min(outputs // groups, inputs))
    first = np.arange(groups)[:, None] * (outputs // groups)
    index: tuple[Any, ...] = (first + channel, channel, *(size // 2 for size in tensor.shape[2:]))
    zeros_(tensor).array[index] = 1
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1.0, *, rng: RNGLike = None) -> Tensor:
    """Fills with a random orthogonal matrix times a gain, which keeps the length of every signal.

    The matrix has one row an output; W Wᵀ = gain² I if it is wide, Wᵀ W = gain² I if it is tall. It is
    uniform over all such matrices (Haar), from the QR decomposition of a normal one.

    Args:
        tensor: At least two axes: outputs, inputs, and any space, which counts as inputs.
        gain: See `calculate_gain`.
        rng: Generator, seed or None.

    Raises:
        ValueError: If there are fewer than two axes.

    References:
        Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
        neural networks", 2014, arXiv:1312.6120.
        Mezzadri, "How to generate random matrices from the classical compact groups", 2007,
        arXiv:math-ph/0609050.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_ needs at least two axes, got shape {tensor.shape}")
    if not tensor.size:
        return tensor
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    normal = np.random.default_rng(rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(normal)
    # LAPACK chooses signs by its own rule; only with those of R's diagonal is Q uniform.
    q *= np.where(np.diag(r) < 0, -gain, gain)
    tensor.array[...] = (q if rows >= columns else q.T).reshape(tensor.shape)
    return tensor


# ------------------------------------------------------------------------------------- by the data


def lsuv_(
    model: AnyModule,
    batch: Any,
    *,
    tolerance: float = 0.1,
    max_iterations: int = 10,
    rng: RNGLike = None,
) -> AnyModule:
    """Orthogonal weights, scaled layer by layer until each layer's output has variance one on a batch.

    It fits the scale to the network at hand, whatever its nonlinearities. Every module with a ``weight``
    of two axes or more is a layer; its bias becomes zero. The layers are taken in their order of
    execution, one used several times where it is used first. Meanwhile the model is in evaluation mode.

    Args:
        model: What to initialise, in place.
        batch: What the model is called with. It should vary: one example may have no variance to scale.
        tolerance: How far from one a variance may stay.
        max_iterations: Scalings of one layer; a warning names a layer that needs more.
        rng: Generator, seed or None.

    Returns:
        The model.

    Raises:
        ValueError: If no layer runs on the batch, or an output's variance is zero or not finite.

    Example:
        >>> from scratchnet import nn
        >>> batch = np.random.default_rng(0).normal(3.0, 5.0, (64, 8))
        >>> model = lsuv_(nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4)), batch, rng=0)
        >>> bool(abs(model(batch).numpy().var() - 1) < 0.1)
        True

    References:
        Mishkin and Matas, "All you need is a good init", 2016, arXiv:1511.06422.
    """
    layers: dict[Any, str] = {module: name for name, module in model.named_modules() if _is_layer(module)}
    modes = [(module, module.training) for module in model.modules()]
    generator = np.random.default_rng(rng)
    for layer in layers:
        orthogonal_(layer.weight, rng=generator)
        if isinstance(getattr(layer, "bias", None), Tensor):
            zeros_(layer.bias)
    model.eval()
    try:
        order = list(_variances(model, batch, layers))
        if not order:
            raise ValueError(
                "lsuv_ needs a model with a layer that runs on the batch, got none with a weight"
            )
        for layer in order:
            _to_unit_variance(model, batch, layer, layers[layer], tolerance, max_iterations)
    finally:
        for module, mode in modes:
            module.training = mode
    return model


def _is_layer(module: Module) -> bool:
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    # A normalisation's weight scales each element by itself, on however many axes.
    return weight is not None and weight.ndim >= 2 and not hasattr(module, "normalized_shape")


def _to_unit_variance(
    model: Module, batch: Any, layer: Any, name: str, tolerance: float, max_iterations: int
) -> None:
    for remaining in range(max_iterations, -1, -1):
        variance = _variances(model, batch, [layer])[layer]
        if not 0 < variance < math.inf:
            raise ValueError(
                f"lsuv_ needs outputs that vary, got variance {variance} in layer {name!r}; "
                f"give it a larger batch, and check that it is finite"
            )
        if abs(variance - 1) <= tolerance:
            return
        if remaining:
            layer.weight.array /= math.sqrt(variance)
    warnings.warn(
        f"lsuv_ has not brought layer {name!r} to variance 1 within {max_iterations} scalings, "
        f"but to {variance:.3g}; raise max_iterations, or look at what the layer does besides its weight",
        stacklevel=3,
    )


def _variances(model: Module, batch: Any, layers: Any) -> dict[Any, float]:
    """Variance of each layer's first output in a forward pass, in their order of execution."""
    heard: dict[Any, float] = {}

    def listen(module: Module, _inputs: Any, output: Any) -> None:
        heard.setdefault(module, float(np.var(output.array, dtype=np.float64)))

    handles = [layer.register_forward_hook(listen) for layer in layers]
    try:
        with no_grad():
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return heard


# --------------------------------------------------------------------------------------------- fans


def _check_matrix(owner: str, tensor: Tensor) -> None:
    if tensor.ndim != 2:
        raise ValueError(f"{owner} needs two axes (outputs, inputs), got shape {tensor.shape}")


def _fans(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            f"an initialiser by fan needs at least two axes (outputs, inputs), got shape {tensor.shape}; "
            f"use uniform_ or zeros_ for a bias"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _xavier_std(tensor: Tensor, gain: float) -> float:
    return gain * math.sqrt(2.0 / max(1, sum(_fans(tensor))))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: Nonlinearity) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"a Kaiming initialiser needs mode 'fan_in' or 'fan_out', got {mode!r}")
    fan = _fans(tensor)[0 if mode == "fan_in" else 1]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))

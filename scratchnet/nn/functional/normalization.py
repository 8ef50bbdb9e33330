"""Batch, group and instance normalisation as functions, and what is divided by its own size."""

import math
from typing import Any

import numpy as np

from scratchnet.axis import axis_of
from scratchnet.ops import activation, linalg, normalization
from scratchnet.tape import Array
from scratchnet.tensor import Tensor, as_tensor


def batch_norm(
    input: Any,  # noqa: A002 - PyTorch's name, here and below
    running_mean: Array | None,
    running_var: Array | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = w x̂ + b with x̂ = (x − μ) / √(σ² + ε), a mean and a variance for each channel.

    With averages ⟨·⟩ over all of a channel, x̄ = w (ȳ − ⟨ȳ⟩ − x̂ ⟨ȳ x̂⟩) / √(σ² + ε), for the statistics are
    made of x too; running ones are not, and leave x̄ = w ȳ / √(σ² + ε). w̄ = Σ ȳ x̂ and b̄ = Σ ȳ.

    Args:
        input: Shape ``(batch, channels, ...)``.
        running_mean: Shape ``(channels,)``, or None.
        running_var: Variances, likewise.
        weight: Shape ``(channels,)``, or None for ones.
        bias: Shape ``(channels,)``, or None for zeros.
        training: If True, μ and σ² are those of the batch, and the running ones are moved towards them,
            in place; else they are the running ones.
        momentum: How far: new = (1 − momentum) · running + momentum · batch, with the unbiased variance.
        eps: ε.

    Raises:
        ValueError: If shapes do not fit, a batch has one value a channel, or there is nothing to use.
    """
    x = _with_channels("batch_norm", input, weight, bias, running_mean, running_var)
    if not training:
        return _by_running_statistics("batch_norm", x, running_mean, running_var, weight, bias, eps)
    count = len(x) * math.prod(x.shape[2:])
    _check_count("batch_norm", "channel", count, x)
    observe = _follower(running_mean, running_var, momentum, count)
    return normalization.normalize(x, weight, bias, groups=None, eps=eps, observe=observe)


def instance_norm(
    input: Any,  # noqa: A002
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As `batch_norm`, but with a mean and a variance for each channel of each example.

    The running ones, if given, follow the average over the batch.

    Args:
        input: Shape ``(batch, channels, *space)``.
        running_mean: Shape ``(channels,)``, or None.
        running_var: Variances, likewise.
        weight: Shape ``(channels,)``, or None for ones.
        bias: Shape ``(channels,)``, or None for zeros.
        use_input_stats: If False, the running statistics take the place of the example's own.
        momentum: As in `batch_norm`.
        eps: ε.

    Raises:
        ValueError: If shapes do not fit, there is one value a channel, or there is nothing to use.
    """
    x = _with_channels("instance_norm", input, weight, bias, running_mean, running_var)
    if not use_input_stats:
        return _by_running_statistics("instance_norm", x, running_mean, running_var, weight, bias, eps)
    count = math.prod(x.shape[2:])
    _check_count("instance_norm", "channel of an example", count, x)
    observe = _follower(running_mean, running_var, momentum, count)
    return normalization.normalize(x, weight, bias, groups=x.shape[1], eps=eps, observe=observe)


def group_norm(
    input: Any,  # noqa: A002
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """As `batch_norm`, but with a mean and a variance for each group of channels of each example.

    As a group's channels have weights of their own, h = w ȳ takes the place of ȳ: with averages ⟨·⟩ over
    the group, x̄ = (h − ⟨h⟩ − x̂ ⟨h x̂⟩) / √(σ² + ε). w̄ = Σ ȳ x̂ and b̄ = Σ ȳ over batch and space.

    Args:
        input: Shape ``(batch, channels, ...)``.
        num_groups: Number of groups of neighbouring channels.
        weight: Shape ``(channels,)``, or None for ones.
        bias: Shape ``(channels,)``, or None for zeros.
        eps: ε.

    Raises:
        ValueError: If shapes do not fit, or a group has one value.
    """
    x = _with_channels("group_norm", input, weight, bias)
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(
            f"group_norm needs a number of groups that divides the {x.shape[1]} channels, got {num_groups}"
        )
    # As in PyTorch, single values pass where there are several examples, or none.
    if x.size == num_groups:
        _check_count("group_norm", "group of an example", 1, x)
    return normalization.normalize(x, weight, bias, groups=num_groups, eps=eps)


def normalize(input: Any, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Tensor:  # noqa: A002
    """y = x / s with s = max(‖x‖, ε) and the p-norm along an axis, ‖x‖ = (Σ |x|ᵖ)^(1/p).

    x̄ = (ȳ − sign(y) |y|^(p−1) Σ ȳ y) / s, the sum along the axis, and ȳ / ε where ‖x‖ < ε. For p = 2 that
    is what of ȳ is perpendicular to y, (ȳ − y Σ ȳ y) / s.

    Args:
        input: Any shape.
        p: A positive number.
        dim: One axis or several.
        eps: ε, against a division by zero.

    Raises:
        ValueError: If p is not positive and finite.
        AxisError: If there is no such axis.
    """
    if not 0 < p < math.inf:
        raise ValueError(f"normalize needs a positive, finite p, got {p}")
    x = as_tensor(input)
    axes = tuple(axis_of("normalize", x.shape, one) for one in ((dim,) if isinstance(dim, int) else dim))
    powers = x * x if p == 2 else x.abs() ** p
    # The bound on the sum and not on its root, whose slope at zero is infinite.
    size = activation.hardtanh(powers.sum(axes, keepdims=True), low=float(eps**p), high=math.inf)
    return x / (size.sqrt() if p == 2 else size ** (1 / p))


def local_response_norm(
    input: Any,  # noqa: A002
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Tensor:
    """y = x / c^β with c = k + α ⟨x²⟩, the average over a window of n neighbouring channels, zero outside.

    x̄ = ȳ / c^β − (2αβ/n) x Σ ȳ y / c, the sum over the channels whose window holds this one.

    Args:
        input: Shape ``(batch, channels, ...)``.
        size: Number of channels in the window, n.
        alpha: α.
        beta: β.
        k: k.

    Raises:
        ValueError: If there is no axis of channels, or the window is empty.
    """
    x = as_tensor(input)
    if x.ndim < 3 or size < 1:
        raise ValueError(
            f"local_response_norm needs (batch, channels, *space) and size >= 1, "
            f"got shape {x.shape} and size {size}"
        )
    channels = x.shape[1]
    offset = np.arange(channels) - np.arange(channels)[:, None]
    window = (offset >= -(size // 2)) & (offset <= (size - 1) // 2)
    squares = (x * x).reshape(len(x), channels, math.prod(x.shape[2:]))
    average = linalg.matmul(window.astype(x.dtype) / size, squares).reshape(x.shape)
    return x * (average * alpha + k) ** -beta


# --------------------------------------------------------------------------------------- the parts


def _with_channels(caller: str, value: Any, *per_channel: Any) -> Tensor:
    """The input as a tensor, if everything fits its channels."""
    # Plain data takes the layer's dtype.
    x = as_tensor(value, next((given.dtype for given in per_channel if given is not None), None))
    if x.ndim < 2:
        raise ValueError(f"{caller} needs an input of shape (batch, channels, ...), got {x.shape}")
    for given in per_channel:
        if given is not None and given.shape != x.shape[1:2]:
            raise ValueError(
                f"{caller} needs weight, bias and statistics of shape {x.shape[1:2]}, a number for each "
                f"channel of the input of shape {x.shape}, got {given.shape}"
            )
    return x


def _check_count(caller: str, owner: str, count: int, x: Tensor) -> None:
    if count < 2:
        raise ValueError(
            f"{caller} needs more than 1 value per {owner} for a variance, got an input of shape {x.shape}; "
            f"use a larger batch, or running statistics (evaluation mode) where there are some"
        )


def _follower(
    mean: Array | None, variance: Array | None, momentum: float, count: int
) -> normalization.Observer | None:
    """Moves running statistics towards those of a batch."""
    if mean is None or variance is None:
        return None

    def follow(new_mean: Array, new_variance: Array) -> None:
        for running, new in (
            (mean, new_mean.mean(axis=0)),
            (variance, new_variance.mean(axis=0) * (count / (count - 1))),
        ):
            running *= 1 - momentum
            running += momentum * new

    return follow


def _by_running_statistics(
    caller: str,
    x: Tensor,
    mean: Array | None,
    variance: Array | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    if mean is None or variance is None:
        raise ValueError(f"{caller} needs running statistics where it does not use the batch's, got None")
    aligned = (-1, *[1] * (x.ndim - 2))
    scale: Any = 1 / np.sqrt(variance + eps)
    if weight is not None:
        scale = weight * scale
    shift: Any = -mean * scale
    if bias is not None:
        shift = shift + bias
    return x * scale.reshape(aligned) + shift.reshape(aligned)

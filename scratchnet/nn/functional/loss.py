"""Losses of numbers and of probabilities, as functions; those of class numbers are in `classification`."""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from scratchnet.nn.functional.reduction import (
    Reduction,
    check_reduction,
    check_same_shape,
    floats,
    like,
    plain,
    reduced,
    share_of,
)
from scratchnet.ops import loss
from scratchnet.tensor import Tensor


def _pair(caller: str, x: Any, target: Any, reduction: str) -> tuple[Tensor, Any]:
    """What is predicted and what is wanted, of one shape and dtype."""
    prediction = floats(caller, x)
    check_reduction(caller, reduction)
    check_same_shape(caller, prediction, target)
    return prediction, like(prediction, target)


# ------------------------------------------------------------------------------------------ distances


def mse_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Tensor:  # noqa: A002 - PyTorch's name, here and below
    """Squared error (x − y)²; its gradient is 2 (x − y), over the number of elements for the mean.

    Args:
        input: Predictions, any shape.
        target: The same shape; nothing is broadcast, for (batch, 1) against (batch,) is a mistake.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the input for ``"none"``.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> mse_loss([1.0, 2.0], [0.0, 4.0]).item()
        2.5
    """
    x, y = _pair("mse_loss", input, target, reduction)
    if reduction == "none":
        return (x - y) ** 2
    return loss.squared_error(x, y, scale=share_of(x.array.size) if reduction == "mean" else 1.0)


def l1_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Tensor:  # noqa: A002
    """Absolute error |x − y|; its gradient is the sign of x − y, and 0 where they are equal.

    Shapes, reductions and errors are those of `mse_loss`.
    """
    x, y = _pair("l1_loss", input, target, reduction)
    return reduced((x - y).abs(), reduction)


def huber_loss(
    input: Any,  # noqa: A002
    target: Any,
    reduction: Reduction = "mean",
    delta: float = 1.0,
) -> Tensor:
    """Squared near zero, absolute beyond: d²/2 where |d| ≤ δ, else δ (|d| − δ/2), for d = x − y.

    The gradient is d, clipped to ±δ: an outlier pulls no harder than any other error of size δ.
    Shapes, reductions and errors are those of `mse_loss`.

    Args:
        input: Predictions, any shape.
        target: The same shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        delta: Where the square ends, > 0.

    References:
        Huber, "Robust Estimation of a Location Parameter", 1964.
    """
    x, y = _pair("huber_loss", input, target, reduction)
    if not delta > 0:
        raise ValueError(f"huber_loss needs delta > 0, got {delta}; use l1_loss for no square at all")
    return reduced(loss.huber(x - y, delta=float(delta)), reduction)


def smooth_l1_loss(
    input: Any,  # noqa: A002
    target: Any,
    reduction: Reduction = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Absolute beyond β, with the corner rounded: d²/2β where |d| ≤ β, else |d| − β/2, for d = x − y.

    It is `huber_loss` with δ = β, divided by β; its gradient is d/β, clipped to ±1. β = 0 gives `l1_loss`.
    Shapes, reductions and errors are those of `mse_loss`.

    Args:
        input: Predictions, any shape.
        target: The same shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        beta: Where the square ends, ≥ 0.

    References:
        Girshick, "Fast R-CNN", 2015.
    """
    x, y = _pair("smooth_l1_loss", input, target, reduction)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss needs beta >= 0, got {beta}")
    if beta == 0:
        return reduced((x - y).abs(), reduction)
    return reduced(loss.huber(x - y, delta=float(beta)) * (1.0 / beta), reduction)


# -------------------------------------------------------------------------------------- probabilities


def binary_cross_entropy(
    input: Any,  # noqa: A002
    target: Any,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of yes-or-no probabilities, −w (t ln x + (1 − t) ln(1 − x)).

    The gradient is w (x − t) / x(1 − x). A logarithm counts as −100 at the least, so that a certain and
    wrong prediction costs 100 and not infinity, and the divisor as 10⁻¹². A network that ends in a
    sigmoid learns better without it, from `binary_cross_entropy_with_logits`.

    Args:
        input: Probabilities, any shape.
        target: Probabilities (or labels 0 and 1), the same shape.
        weight: Weight of each element, of a shape that broadcasts to the input's.
        reduction: ``"mean"`` (over the elements, whatever their weights), ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the input for ``"none"``.

    Raises:
        ValueError: If shapes do not fit or an input is outside [0, 1].
    """
    x, t = _pair("binary_cross_entropy", input, target, reduction)
    if np.any((x.array < 0) | (x.array > 1)):
        raise ValueError(
            f"binary_cross_entropy needs probabilities in [0, 1], got an input in "
            f"[{x.array.min():g}, {x.array.max():g}]; use binary_cross_entropy_with_logits for logits"
        )
    return reduced(
        _times("binary_cross_entropy", "weight", loss.binary_cross_entropy(x, t), weight), reduction
    )


def binary_cross_entropy_with_logits(
    input: Any,  # noqa: A002
    target: Any,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    pos_weight: ArrayLike | None = None,
) -> Tensor:
    """Cross-entropy of yes-or-no logits, −w (p t ln σ(x) + (1 − t) ln σ(−x)), without overflow.

    The gradient is w (σ(x) − t) for p = 1.

    Args:
        input: Logits, any shape.
        target: Probabilities (or labels 0 and 1), the same shape.
        weight: Weight w of each element, of a shape that broadcasts to the input's.
        reduction: ``"mean"`` (over the elements, whatever their weights), ``"sum"`` or ``"none"``.
        pos_weight: Weight p of what is positive, of a shape that broadcasts to the input's.

    Returns:
        A scalar, or the shape of the input for ``"none"``.

    Raises:
        ValueError: If shapes do not fit.

    Example:
        >>> binary_cross_entropy_with_logits([0.0, 1e4], [1.0, 1.0], reduction="none")
        Tensor([0.6931472, 0.       ], dtype=float32)
    """
    caller = "binary_cross_entropy_with_logits"
    x, t = _pair(caller, input, target, reduction)
    positive = None if pos_weight is None else _broadcastable(caller, "pos_weight", x, pos_weight)
    each = loss.binary_cross_entropy_with_logits(x, t, positive=positive)
    return reduced(_times(caller, "weight", each, weight), reduction)


def kl_div(
    input: Any,  # noqa: A002
    target: Any,
    reduction: Reduction | Literal["batchmean"] = "mean",
    log_target: bool = False,
) -> Tensor:
    """Kullback–Leibler divergence t (ln t − x) of probabilities t from log-probabilities x.

    The gradient with respect to x is −t. The divergence of distributions is the sum over their classes:
    ``"batchmean"`` gives its mean over the batch, while ``"mean"`` divides by the classes too.

    Args:
        input: Log-probabilities, any shape.
        target: Probabilities, or their logarithms with ``log_target``, the same shape.
        reduction: ``"batchmean"``, ``"mean"``, ``"sum"`` or ``"none"``.
        log_target: Whether the target holds logarithms.

    Returns:
        A scalar, or the shape of the input for ``"none"``.

    Raises:
        ValueError: If the shapes differ or the reduction is unknown.
    """
    check_reduction("kl_div", reduction, ("batchmean", "mean", "sum", "none"))
    x, t = _pair("kl_div", input, target, "none")
    t = t if isinstance(t, Tensor) else Tensor(t)
    each = t.exp() * (t - x) if log_target else loss.x_log_x(t) - t * x
    if reduction == "batchmean":
        return each.sum() * share_of(x.shape[0] if x.ndim else 1)
    return reduced(each, reduction)


def gaussian_nll_loss(
    input: Any,  # noqa: A002
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> Tensor:
    """Negative log-likelihood of a normal distribution, (ln v + (x − y)²/v)/2, with a predicted variance v.

    The gradients are (x − y)/v for the mean and (1/v − (x − y)²/v²)/2 for the variance. A variance below
    ``eps`` counts as ``eps``, but keeps its gradient, so that it can grow again.

    Args:
        input: Predicted means, any shape.
        target: The same shape.
        var: Predicted variances: the same shape, or one for each example (the last axis 1, or left out),
            or one number.
        full: Adds the constant ln(2π)/2.
        eps: The least variance.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the input for ``"none"``.

    Raises:
        ValueError: If the shapes do not fit, a variance is negative, or eps is not positive.

    References:
        Nix and Weigend, "Estimating the Mean and Variance of the Target Probability Distribution", 1994.
    """
    x, y = _pair("gaussian_nll_loss", input, target, reduction)
    if not eps > 0:
        raise ValueError(f"gaussian_nll_loss needs eps > 0, got {eps}")
    variance = _variance(x, var)
    # Only the value is lifted: a gradient of zero would hold the variance down for ever.
    lift = np.maximum(variance.array, eps) - variance.array
    if lift.any():
        variance = variance + lift
    each = (variance.log() + (x - y) ** 2 / variance) * 0.5
    return reduced(each + 0.5 * math.log(2 * math.pi) if full else each, reduction)


def _variance(x: Tensor, var: Any) -> Tensor:
    given = like(x, var)
    variance = given if isinstance(given, Tensor) else Tensor(given)
    if x.ndim and variance.shape == x.shape[:-1] != x.shape:
        variance = variance.reshape(*variance.shape, 1)
    if variance.shape not in (x.shape, (*x.shape[:-1], 1), ()):
        raise ValueError(
            f"gaussian_nll_loss needs a variance of the input's shape {x.shape}, one for each example "
            f"{x.shape[:-1]}, or one number, got shape {variance.shape}"
        )
    if np.any(variance.array < 0):
        raise ValueError(
            f"gaussian_nll_loss needs variances >= 0, got {variance.array.min():g}; "
            f"let the network give their logarithm and pass its .exp()"
        )
    return variance


def poisson_nll_loss(
    input: Any,  # noqa: A002
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
) -> Tensor:
    """Negative log-likelihood of counts y, λ − y ln λ, with a predicted rate λ or its logarithm x.

    The gradient is eˣ − y for the logarithm, 1 − y/(λ + ε) for the rate.

    Args:
        input: Logarithms of the rates, or the rates themselves without ``log_input``; any shape.
        target: Counts, the same shape.
        log_input: Whether the input holds logarithms.
        full: Adds Stirling's approximation of ln y! where y > 1.
        eps: Is added to a rate before its logarithm is taken.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the input for ``"none"``.

    Raises:
        ValueError: If the shapes differ.
    """
    x, y = _pair("poisson_nll_loss", input, target, reduction)
    each = x.exp() - x * y if log_input else x - (x + eps).log() * y
    return reduced(each + _stirling(y) if full else each, reduction)


def _stirling(counts: Any) -> Tensor:
    """Approximates ln y! by y ln y − y + ln(2πy)/2 where y > 1, and by 0 elsewhere."""
    y = counts if isinstance(counts, Tensor) else Tensor(counts)
    is_large = (y.array > 1).astype(y.dtype)
    # Ones in the place of what does not count: a logarithm of zero is infinite even if multiplied by zero.
    safe = y * is_large + (1 - is_large)
    return (safe * safe.log() - safe + (safe * (2 * math.pi)).log() * 0.5) * is_large


def _times(caller: str, name: str, each: Tensor, weight: ArrayLike | None) -> Tensor:
    return each if weight is None else each * _broadcastable(caller, name, each, weight)


def _broadcastable(caller: str, name: str, x: Tensor, weight: ArrayLike) -> Any:
    weights = np.asarray(plain(weight), x.dtype)
    try:
        fits = np.broadcast_shapes(weights.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{caller} needs a {name} that broadcasts to the input's shape {x.shape}, got {weights.shape}"
        )
    return weights

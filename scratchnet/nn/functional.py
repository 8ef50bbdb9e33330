"""The layers' computations as functions."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from scratchnet.ops import elementwise, linalg, loss
from scratchnet.ops import reduction as reductions
from scratchnet.tape import Array, Variable
from scratchnet.tensor import Tensor

Reduction = Literal["mean", "sum", "none"]


def relu(input: Any) -> Tensor:  # noqa: A002 - PyTorch's name, here and below
    """Rectified linear unit, max(x, 0)."""
    return elementwise.relu(_tensor(input))


def tanh(input: Any) -> Tensor:  # noqa: A002
    """Hyperbolic tangent."""
    return elementwise.tanh(_tensor(input))


def sigmoid(input: Any) -> Tensor:  # noqa: A002
    """Logistic function, 1 / (1 + e⁻ˣ)."""
    return elementwise.sigmoid(_tensor(input))


def softmax(input: Any, dim: int = -1) -> Tensor:  # noqa: A002
    """eˣ / Σ eˣ along an axis."""
    return reductions.softmax(_tensor(input), axis=dim)


def log_softmax(input: Any, dim: int = -1) -> Tensor:  # noqa: A002
    """x − ln Σ eˣ along an axis, without overflow."""
    return reductions.log_softmax(_tensor(input), axis=dim)


def linear(input: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # noqa: A002
    """Affine map of the last axis, x Wᵀ + b.

    Args:
        input: Shape ``(..., inputs)``.
        weight: Shape ``(outputs, inputs)``.
        bias: Shape ``(outputs,)``.

    Raises:
        ValueError: If the shapes do not fit.
    """
    if np.ndim(input) == 0 or np.shape(input)[-1] != weight.shape[1]:
        raise ValueError(
            f"linear needs a last axis of {weight.shape[1]} for its weight of shape {weight.shape}, "
            f"got an input of shape {np.shape(input)}"
        )
    x = input if isinstance(input, Variable) else np.asarray(input)
    if bias is None:
        return linalg.product(x, weight.T)
    if bias.shape != weight.shape[:1]:
        raise ValueError(
            f"linear needs a bias of shape {weight.shape[:1]} for its weight of shape {weight.shape}, "
            f"got {bias.shape}"
        )
    return linalg.linear(x, weight, bias)


def cross_entropy(
    input: Any,  # noqa: A002
    target: Any,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy between logits and class numbers, −w[y] ln softmax(x)[y].

    The gradient with respect to the logits is softmax(x) minus the one-hot target, times the example's
    weight over the sum of weights.

    Args:
        input: Logits, shape ``(batch, classes)``.
        target: Class numbers, integers, shape ``(batch,)``.
        weight: Weight of each class, shape ``(classes,)``.
        ignore_index: Examples with this label count for nothing.
        reduction: ``"mean"`` (over the weights of the examples), ``"sum"`` or ``"none"``.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1].

    Returns:
        A scalar, or shape ``(batch,)`` for ``"none"``.

    Raises:
        ValueError: If shapes do not fit, a label is out of range, or an argument is unknown.
        TypeError: If the labels are not integers.

    Example:
        >>> cross_entropy(np.zeros((2, 10)), np.array([3, 7])).item()  # ln 10
        2.302585092994046
    """
    logits = _tensor(input)
    labels = np.asarray(target)
    _check_labels(logits, labels, ignore_index)
    _check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy needs label_smoothing in [0, 1], got {label_smoothing}")
    weights = None if weight is None else np.asarray(weight, logits.dtype)
    if weights is not None and weights.shape != logits.shape[1:]:
        raise ValueError(
            f"cross_entropy needs a weight for each of {logits.shape[1]} classes, got shape {weights.shape}"
        )
    shares, norm = _target_shares(logits, labels, weights, ignore_index, label_smoothing)
    if reduction == "mean":
        shares /= norm
    return loss.cross_entropy(logits, target=shares, axis=-1 if reduction == "none" else None)


def mse_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Tensor:  # noqa: A002
    """Squared error (x − y)²; its gradient is 2 (x − y), over the number of elements for the mean.

    Args:
        input: Predictions, any shape.
        target: The same shape; nothing is broadcast, for (batch, 1) against (batch,) is a mistake.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the input for ``"none"``.

    Raises:
        ValueError: If the shapes differ.
    """
    prediction = _tensor(input)
    _check_reduction("mse_loss", reduction)
    if np.shape(target) != prediction.shape:
        raise ValueError(
            f"mse_loss needs a target of the input's shape {prediction.shape}, got {np.shape(target)}; "
            f"reshape one of them"
        )
    if reduction == "none":
        return (prediction - target) ** 2
    scale = 1 / prediction.size if reduction == "mean" else 1.0
    return loss.squared_error(prediction, target, scale=scale)


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(value)


def _check_reduction(caller: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{caller} needs reduction 'mean', 'sum' or 'none', got {reduction!r}")


def _check_labels(logits: Variable, labels: Array, ignore_index: int) -> None:
    shape = logits.array.shape
    if len(shape) != 2 or labels.shape != shape[:1]:
        raise ValueError(
            f"cross_entropy needs logits of shape (batch, classes) and labels of shape (batch,), "
            f"got {shape} and {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"cross_entropy needs integer class numbers, got {labels.dtype}; use .astype(int)")
    # One pass finds what is wrong only if something is: negative labels wrap to huge unsigned numbers.
    wrong = labels[(labels.astype(np.uint64) >= shape[1]) & (labels != ignore_index)]
    if wrong.size:
        raise ValueError(
            f"cross_entropy needs labels in 0..{shape[1] - 1} for {shape[1]} classes "
            f"(or ignore_index={ignore_index}), got {int(wrong[0])}"
        )


def _target_shares(
    logits: Variable, labels: Array, weights: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, Any]:
    """Weight of each class of each example, shape (batch, classes), and the sum of the examples' weights."""
    classes = logits.array.shape[1]
    shares = np.zeros_like(logits.array)
    counted = labels != ignore_index
    rows = np.flatnonzero(counted)
    shares[rows, labels[rows]] = 1 - smoothing
    if smoothing:
        shares[rows] += smoothing / classes
    if weights is None:
        return shares, rows.size
    shares *= weights
    return shares, weights[labels[rows]].sum()

"""Losses of class numbers, as functions."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from scratchnet.nn.functional.reduction import Reduction, check_reduction, floats, like, plain, share_of
from scratchnet.ops import loss
from scratchnet.ops import reduction as reductions
from scratchnet.tape import Array
from scratchnet.tensor import Tensor


def cross_entropy(
    input: Any,  # noqa: A002 - PyTorch's name, here and below
    target: Any,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy between logits and class numbers, −w[y] ln softmax(x)[y], or class probabilities.

    The gradient with respect to the logits is softmax(x) minus the one-hot target, times the example's
    weight over the sum of weights. With probabilities t in the place of class numbers the loss is
    −Σ w t ln softmax(x), and its mean is over the examples whatever their weights, as in PyTorch.

    Args:
        input: Logits, shape ``(batch, classes)``, ``(batch, classes, *space)`` or ``(classes,)``.
        target: Class numbers, integers, of the input's shape without the classes; or probabilities,
            floats, of the input's shape.
        weight: Weight of each class, shape ``(classes,)``.
        ignore_index: Examples with this class number count for nothing.
        reduction: ``"mean"`` (over the weights of the examples), ``"sum"`` or ``"none"``.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1].

    Returns:
        A scalar, or a loss for each example for ``"none"``. It is NaN for the mean of no example.

    Raises:
        ValueError: If shapes do not fit, a label is out of range, or an argument is unknown.
        TypeError: If the labels are not integers.

    Example:
        >>> cross_entropy(np.zeros((2, 10)), np.array([3, 7])).item()  # ln 10
        2.302585092994046
    """
    logits = floats("cross_entropy", input)
    check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy needs label_smoothing in [0, 1], got {label_smoothing}")
    weights = class_weights("cross_entropy", logits, weight)
    given = plain(target)
    if given.dtype.kind == "f" and given.shape == logits.array.shape:
        return _of_probabilities(logits, target, weights, reduction, label_smoothing)
    labels = checked_labels("cross_entropy", logits, given, weights, ignore_index)
    rows = _rows(logits)
    if label_smoothing:
        each = loss.soft_cross_entropy(rows, _smoothed(rows, labels, weights, label_smoothing))
    elif reduction == "none":
        each = -loss.pick(reductions.log_softmax(rows, axis=1), labels=labels.flat, shares=labels.weights)
    else:
        return _total(rows, labels, reduction)
    return _reduced(each, labels, reduction)


def nll_loss(
    input: Any,  # noqa: A002
    target: Any,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Negative log-likelihood of class numbers, −w[y] x[y] for log-probabilities x.

    The gradient is −w[y] at the label, over the sum of weights for the mean, and zero elsewhere.

    Args:
        input: Log-probabilities, shape ``(batch, classes)``, ``(batch, classes, *space)`` or ``(classes,)``.
        target: Class numbers, integers, of the input's shape without the classes.
        weight: Weight of each class, shape ``(classes,)``.
        ignore_index: Examples with this class number count for nothing.
        reduction: ``"mean"`` (over the weights of the examples), ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or a loss for each example for ``"none"``. It is NaN for the mean of no example.

    Raises:
        ValueError: If shapes do not fit, a label is out of range, or the reduction is unknown.
        TypeError: If the labels are not integers.
    """
    x = floats("nll_loss", input)
    check_reduction("nll_loss", reduction)
    weights = class_weights("nll_loss", x, weight)
    labels = checked_labels("nll_loss", x, target, weights, ignore_index)
    each = -loss.pick(_rows(x), labels=labels.flat, shares=labels.weights)
    return _reduced(each, labels, reduction)


class Labels(NamedTuple):
    """Class numbers that have been checked, one for each row of logits."""

    flat: Array
    # Of each row: zero where it is ignored; 1.0 where no row is and no class has a weight of its own.
    weights: float | Array
    # Of the rows, or None where all count.
    ignored: Array | None
    shape: tuple[int, ...]

    @property
    def norm(self) -> float:
        """The sum of the rows' weights, over which a mean is taken."""
        return self.flat.size if isinstance(self.weights, float) else float(self.weights.sum())


def _total(rows: Tensor, labels: Labels, reduction: Reduction) -> Tensor:
    """The usual case, in one primitive."""
    share = 1.0 if reduction == "sum" else share_of(labels.norm)
    if math.isnan(share):
        # What no example speaks for has a mean that is no number, and a gradient that is zero.
        return (
            loss.cross_entropy(rows, labels=labels.flat, shares=np.zeros_like(labels.flat, rows.dtype))
            + share
        )
    return loss.cross_entropy(rows, labels=labels.flat, shares=labels.weights * share)


def _reduced(each: Tensor, labels: Labels, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return each.reshape(labels.shape)
    if reduction == "sum":
        return each.sum()
    share = share_of(labels.norm)
    return each.sum() + share if math.isnan(share) else each.sum() * share


def _of_probabilities(
    logits: Tensor, target: Any, weights: Array | None, reduction: Reduction, smoothing: float
) -> Tensor:
    rows = _rows(logits)
    shares = like(logits, target)
    shares = _rows(shares) if isinstance(shares, Tensor) else _rows(Tensor(shares)).array
    if smoothing:
        shares = shares * (1.0 - smoothing) + smoothing / rows.shape[1]
    if weights is not None:
        shares = shares * weights
    each = loss.soft_cross_entropy(rows, shares)
    if reduction == "none":
        return each.reshape(_without_classes(logits.shape))
    return each.sum() if reduction == "sum" else each.sum() * share_of(len(rows))


def _smoothed(rows: Tensor, labels: Labels, weights: Array | None, smoothing: float) -> Array:
    """Weight of each class of each row; those of an ignored row are zero."""
    classes = rows.shape[1]
    shares = np.full_like(rows.array, smoothing / classes)
    shares[np.arange(len(shares)), labels.flat] += 1.0 - smoothing
    if weights is not None:
        shares *= weights
    if labels.ignored is not None:
        shares[labels.ignored] = 0.0
    return shares


def _rows(x: Tensor) -> Tensor:
    """The class axis last, all else laid flat; a matrix as it is."""
    if x.array.ndim == 2:
        return x
    if x.ndim > 2:
        x = x.transpose(0, *range(2, x.ndim), 1)
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _without_classes(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def class_weights(caller: str, x: Tensor, weight: ArrayLike | None) -> Array | None:
    """The weight of each class in x's dtype, its shape checked."""
    if not x.array.ndim:
        raise ValueError(f"{caller} needs an input of shape (batch, classes), got a number")
    if weight is None:
        return None
    weights = np.asarray(weight, x.dtype)
    classes = x.shape[min(x.ndim - 1, 1)]
    if weights.shape != (classes,):
        raise ValueError(f"{caller} needs a weight for each of {classes} classes, got shape {weights.shape}")
    return weights


def checked_labels(
    caller: str, x: Tensor, target: Any, weights: Array | None, ignore_index: int | None = None
) -> Labels:
    """The class numbers of a target: of the right shape, integers, and none out of range but the ignored one."""
    shape, labels = _without_classes(x.array.shape), plain(target)
    if labels.shape != shape:
        raise ValueError(
            f"{caller} needs labels of shape {shape} for its input of shape {x.shape}, got {labels.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{caller} needs integer labels, got {labels.dtype}; use .astype(int)")
    classes = x.array.shape[1 if x.array.ndim > 1 else 0]
    flat = labels.reshape(-1).astype(np.intp, copy=False)
    ignored = None
    # Most often this one look at the labels is all: none is wrong and none is ignored.
    if (ignore_index is not None and 0 <= ignore_index < classes) or not _all_below(classes, flat):
        ignored = flat == ignore_index
        flat = np.where(ignored, 0, flat)
        if not _all_below(classes, flat):
            wrong = flat[(flat < 0) | (flat >= classes)][0]
            raise ValueError(
                f"{caller} needs labels in 0..{classes - 1} for {classes} classes"
                f"{',' if ignore_index is None else f' (or ignore_index={ignore_index}),'} got {wrong}"
            )
    return Labels(flat, _weights_of_rows(x, flat, ignored, weights), ignored, shape)


def _all_below(classes: int, labels: Array) -> bool:
    # Negative numbers look huge without their sign, so that one pass finds both mistakes.
    return not labels.size or bool(np.maximum.reduce(labels.view(np.uintp)) < classes)


def _weights_of_rows(x: Tensor, flat: Array, ignored: Array | None, weights: Array | None) -> float | Array:
    if ignored is None:
        return 1.0 if weights is None else weights[flat]
    counted = (~ignored).astype(x.dtype)
    return counted if weights is None else counted * weights[flat]

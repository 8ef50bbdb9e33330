"""Connectionist temporal classification as a function."""

from typing import Any

import numpy as np

from scratchnet.nn.functional.reduction import Reduction, check_reduction, floats, plain
from scratchnet.ops import ctc as recursion
from scratchnet.tape import Array
from scratchnet.tensor import Tensor


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: Reduction = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Negative log-likelihood of texts that are shorter than their recordings: CTC.

    A path names one class at each step; it reads as the text that is left when repetitions are merged and
    blanks dropped. The loss is −ln of the sum of the probabilities of all paths that read as the target.
    The gradient with respect to ``log_probs[t]`` is minus the posterior probability of each class at
    step t. (PyTorch adds exp(log_probs), which a log-softmax before the loss takes off again: through
    one, the gradients are equal.)

    Args:
        log_probs: Logarithms of probabilities (the output of a log-softmax), shape
            ``(steps, batch, classes)`` or ``(steps, classes)``.
        targets: Class numbers, none of them blank: shape ``(batch, longest)`` with anything behind the
            shorter ones, or all of them one after the other in one row.
        input_lengths: Steps of each example, integers, shape ``(batch,)``.
        target_lengths: Labels of each example, integers, shape ``(batch,)``.
        blank: The class that stands for no label.
        reduction: ``"mean"`` (each loss over the number of its labels, then over the batch), ``"sum"``
            or ``"none"``.
        zero_infinity: Counts an example whose text no path can read (there are too few steps) as zero,
            its gradient too; it is infinite otherwise, and its gradient NaN.

    Returns:
        A scalar, or shape ``(batch,)`` for ``"none"``.

    Raises:
        ValueError: If shapes or lengths do not fit, a label is blank or out of range, or there is no example.
        TypeError: If labels or lengths are not integers.

    Example:
        >>> even = np.log(np.full((2, 1, 3), 1 / 3))  # paths that read "1": 1 1, 1 blank, blank 1
        >>> round(np.exp(-ctc_loss(even, [[1]], [2], [1]).item()) * 9)
        3

    References:
        Graves et al., "Connectionist Temporal Classification", 2006.
    """
    x = floats("ctc_loss", log_probs)
    check_reduction("ctc_loss", reduction)
    if x.ndim not in (2, 3) or not x.array.size:
        raise ValueError(
            f"ctc_loss needs log-probabilities of shape (steps, batch, classes) or (steps, classes), "
            f"at least one of each, got shape {x.shape}"
        )
    batched = x if x.ndim == 3 else x.reshape(x.shape[0], 1, x.shape[1])
    steps, batch, classes = batched.shape
    if not 0 <= blank < classes:
        raise ValueError(f"ctc_loss needs a blank in 0..{classes - 1} for {classes} classes, got {blank}")
    of_inputs = _lengths("input_lengths", input_lengths, batch)
    of_labels = _lengths("target_lengths", target_lengths, batch)
    if of_inputs.max() > steps:
        raise ValueError(
            f"ctc_loss needs input_lengths of at most {steps}, the steps of its log-probabilities of shape "
            f"{x.shape}, got {of_inputs.max()}"
        )
    each = recursion.ctc(
        batched,
        labels=_padded(plain(targets), of_labels, blank, classes),
        input_lengths=of_inputs,
        label_lengths=of_labels,
        blank=blank,
        zero_infinity=zero_infinity,
    )
    if reduction == "none":
        return each if x.ndim == 3 else each.reshape(())
    return (
        each.sum() if reduction == "sum" else (each * (1.0 / np.maximum(of_labels, 1))).sum() * (1.0 / batch)
    )


def _lengths(name: str, given: Any, batch: int) -> Array:
    lengths = np.atleast_1d(plain(given))
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"ctc_loss needs {name} of integers, got {lengths.dtype}; use .astype(int)")
    if lengths.shape != (batch,):
        raise ValueError(
            f"ctc_loss needs {name} for a batch of {batch}, shape ({batch},), got {lengths.shape}"
        )
    if lengths.min() < 0:
        raise ValueError(f"ctc_loss needs {name} >= 0, got {lengths.min()}")
    return lengths.astype(np.intp, copy=False)


def _padded(targets: Array, lengths: Array, blank: int, classes: int) -> Array:
    """Class numbers of shape (batch, longest), the blank behind the shorter ones."""
    if targets.dtype.kind not in "iu" and targets.size:
        raise TypeError(f"ctc_loss needs targets of integers, got {targets.dtype}; use .astype(int)")
    counted = np.arange(lengths.max()) < lengths[:, None]
    labels = np.full(counted.shape, blank, np.intp)
    labels[counted] = _in_a_row(targets, lengths)
    wrong = labels[counted & ((labels < 0) | (labels >= classes) | (labels == blank))]
    if wrong.size:
        raise ValueError(
            f"ctc_loss needs labels in 0..{classes - 1} other than the blank {blank}, got {wrong[0]}"
        )
    return labels


def _in_a_row(targets: Array, lengths: Array) -> Array:
    """The labels of all examples, one after the other."""
    if targets.ndim == 2 and len(targets) == len(lengths) and lengths.max() <= targets.shape[1]:
        return targets[np.arange(targets.shape[1]) < lengths[:, None]]
    if targets.ndim == 1 and targets.size == lengths.sum():
        return targets
    raise ValueError(
        f"ctc_loss needs targets of shape ({len(lengths)}, {lengths.max()} or more), or {lengths.sum()} of them "
        f"in a row, for target_lengths {lengths.tolist()}, got shape {targets.shape}"
    )

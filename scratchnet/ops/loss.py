"""Losses as primitives: each forward pass and each gradient touches its arrays as seldom as it can."""

from typing import Any

import numpy as np

from scratchnet.ops.reduction import log_softmax, softmax
from scratchnet.ops.shape import reshape
from scratchnet.tape import Array, primitive


@primitive
def cross_entropy(logits: Any, *, target: Array, axis: int | None) -> Array:
    """ℓ = −Σ t ln softmax(x), with the weight t of each class of each example given as a matrix.

    x̄ = ℓ̄ (softmax(x) Σ t − t), the sum over classes. Label smoothing, class weights, ignored examples and
    the mean over a batch all lie in t. ``axis`` is None for the sum over the batch, −1 for a loss an example.
    """
    return -np.sum(target * log_softmax(logits, axis=-1), axis=axis)


def _cross_entropy_gradient(g: Any, _y: Any, logits: Any, target: Array, axis: int | None) -> Any:
    slope = softmax(logits, axis=-1) * target.sum(axis=-1, keepdims=True) - target
    return slope * (g if axis is None else reshape(g, shape=(-1, 1), original=g.shape))


cross_entropy.differentiate(_cross_entropy_gradient)


@primitive
def squared_error(x: Any, y: Any, *, scale: float) -> Array:
    """ℓ = s Σ (x − y)²; x̄ = 2 s ℓ̄ (x − y) = −ȳ."""
    difference = (x - y).ravel()
    return np.asarray(np.dot(difference, difference) * scale, dtype=difference.dtype)


squared_error.differentiate(
    lambda g, _z, x, y, scale: (x - y) * (g * (2.0 * scale)),
    lambda g, _z, x, y, scale: (y - x) * (g * (2.0 * scale)),
)

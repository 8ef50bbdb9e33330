"""Losses that want a distance or a difference beyond a margin, as functions; and the distances themselves."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scratchnet.axis import axis_of
from scratchnet.nn.functional.classification import checked_labels, class_weights
from scratchnet.nn.functional.reduction import (
    Reduction,
    check_reduction,
    check_same_shape,
    floats,
    like,
    plain,
    reduced,
)
from scratchnet.ops import loss
from scratchnet.ops.activation import log_sigmoid
from scratchnet.tape import Array
from scratchnet.tensor import Tensor

# ------------------------------------------------------------------------------------------ distances


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """Distance d = ‖z‖ₚ with z = x₁ − x₂ + ε, along the last axis.

    x̄₁ = d̄ sign(z) (|z|/d)^(p−1) = −x̄₂: for p = 1 the sign, for p = 2 the difference over the distance, which
    ε keeps finite where the two are equal, and for p = ∞ the sign at the first of the largest components.

    Args:
        x1: Vectors along the last axis, any shape.
        x2: The same shape.
        p: Which norm, > 0; ``math.inf`` for the largest component.
        eps: Is added to each component of the difference.
        keepdim: Keeps the last axis, of size 1.

    Returns:
        The shape of the inputs without the last axis.

    Raises:
        ValueError: If the shapes differ, or p is not positive.
    """
    x = floats("pairwise_distance", x1)
    if not x.ndim:
        raise ValueError("pairwise_distance needs vectors along the last axis, got a number")
    check_same_shape("pairwise_distance", x, x2, "second input")
    if not p > 0:
        raise ValueError(f"pairwise_distance needs p > 0, got {p}")
    return _norm(x - like(x, x2) + eps, p, keepdim)


def _norm(x: Tensor, p: float, keepdims: bool) -> Tensor:
    if p == 2:
        return (x * x).sum(-1, keepdims).sqrt()
    size = x.abs()
    if p == 1:
        return size.sum(-1, keepdims)
    if p == math.inf:
        largest = np.argmax(size.array, axis=-1).reshape(-1)
        rows = size.reshape(-1, size.shape[-1])
        kept = (*size.shape[:-1], 1) if keepdims else size.shape[:-1]
        return loss.pick(rows, labels=largest, shares=1.0).reshape(kept)
    return (size**p).sum(-1, keepdims) ** (1.0 / p)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine of the angle between vectors, ⟨x₁, x₂⟩ / max(‖x₁‖, ε) max(‖x₂‖, ε).

    The gradient is x₂/‖x₁‖‖x₂‖ − cos · x₁/‖x₁‖², and the other by symmetry.

    Args:
        x1: Vectors along the axis ``dim``, any shape.
        x2: The same shape.
        dim: The axis of the components.
        eps: The least norm.

    Returns:
        The shape of the inputs without the axis.

    Raises:
        ValueError: If the shapes differ.
        AxisError: If there is no such axis.
    """
    x = floats("cosine_similarity", x1)
    check_same_shape("cosine_similarity", x, x2, "second input")
    axis = axis_of("cosine_similarity", x.shape, dim)
    y = floats("cosine_similarity", like(x, x2))
    # Squares are compared with the square: a root has no gradient at zero.
    squares = [loss.clip((z * z).sum(axis), low=float(eps * eps), high=math.inf) for z in (x, y)]
    return (x * y).sum(axis) / (squares[0].sqrt() * squares[1].sqrt())


# ---------------------------------------------------------------------------------------- of two signs


def hinge_embedding_loss(
    input: Any,  # noqa: A002 - PyTorch's name, here and below
    target: Any,
    margin: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Distances of like pairs shall be small, those of unlike ones beyond a margin.

    ℓ = x where y = 1 and max(0, Δ − x) where y = −1; the gradient is 1, and −1 inside the margin.

    Args:
        input: Distances, any shape.
        target: 1 for like and −1 for unlike, the same shape.
        margin: Δ.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the input for ``"none"``.

    Raises:
        ValueError: If shapes do not fit or a label is neither 1 nor −1.
    """
    x = floats("hinge_embedding_loss", input)
    check_reduction("hinge_embedding_loss", reduction)
    check_same_shape("hinge_embedding_loss", x, target)
    is_like = _are_like("hinge_embedding_loss", x, target)
    return reduced(x * is_like + _hinge(margin - x) * (1 - is_like), reduction)


def soft_margin_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Tensor:  # noqa: A002
    """Logistic loss ln(1 + e⁻ʸˣ) of a score x for the label y = ±1; its gradient is −y σ(−y x).

    Args:
        input: Scores, any shape.
        target: 1 or −1, the same shape.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the input for ``"none"``.

    Raises:
        ValueError: If the shapes differ.
    """
    x = floats("soft_margin_loss", input)
    check_reduction("soft_margin_loss", reduction)
    check_same_shape("soft_margin_loss", x, target)
    return reduced(-log_sigmoid(x * like(x, target)), reduction)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """One score shall exceed another by a margin: max(0, Δ − y (x₁ − x₂)), y = 1 if x₁ shall be the higher.

    The gradient is −y for x₁ and y for x₂ where the margin is not reached, else 0.

    Args:
        input1: Scores x₁, any shape.
        input2: Scores x₂, the same shape.
        target: 1 or −1, the same shape, or one number for all.
        margin: Δ.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the inputs for ``"none"``.

    Raises:
        ValueError: If the shapes differ.
    """
    x = floats("margin_ranking_loss", input1)
    check_reduction("margin_ranking_loss", reduction)
    check_same_shape("margin_ranking_loss", x, input2, "second input")
    if np.shape(target):
        check_same_shape("margin_ranking_loss", x, target)
    return reduced(_hinge(margin - (x - like(x, input2)) * like(x, target)), reduction)


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """Like vectors shall point the same way, unlike ones shall not.

    ℓ = 1 − cos(x₁, x₂) where y = 1 and max(0, cos(x₁, x₂) − Δ) where y = −1; `cosine_similarity` has the
    gradient of the cosine, in which 10⁻¹² is added here to both squared norms, as in PyTorch.

    Args:
        input1: Vectors, shape ``(batch, components)`` or ``(components,)``.
        input2: The same shape.
        target: 1 or −1, shape ``(batch,)`` or ``()``.
        margin: Δ, between −1 and 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the target for ``"none"``.

    Raises:
        ValueError: If shapes do not fit or a label is neither 1 nor −1.
    """
    x = floats("cosine_embedding_loss", input1)
    check_reduction("cosine_embedding_loss", reduction)
    check_same_shape("cosine_embedding_loss", x, input2, "second input")
    if x.ndim not in (1, 2) or np.shape(target) != x.shape[:-1]:
        raise ValueError(
            f"cosine_embedding_loss needs inputs of shape (batch, components) and a target of shape (batch,), "
            f"or one vector each and one number, got {x.shape} and {np.shape(target)}"
        )
    is_like = _are_like("cosine_embedding_loss", x, target)
    y = like(x, input2)
    squares = ((x * x).sum(-1) + 1e-12) * ((y * y).sum(-1) + 1e-12)
    cosine = (x * y).sum(-1) / squares.sqrt()
    return reduced((1.0 - cosine) * is_like + _hinge(cosine - margin) * (1 - is_like), reduction)


# ---------------------------------------------------------------------------------------- of more things


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """An anchor shall be nearer to what is like it than to what is not, by a margin.

    ℓ = max(0, d(a, p) − d(a, n) + Δ) with the distances of `pairwise_distance`, whose gradients it passes
    on where the margin is not reached.

    Args:
        anchor: Vectors a along the last axis, any shape.
        positive: Vectors p that are like the anchors, the same shape.
        negative: Vectors n that are not, the same shape.
        margin: Δ, > 0.
        p: Which norm, > 0.
        eps: Is added to each component of a difference.
        swap: Takes the distance of p and n in the place of d(a, n) where it is less.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the inputs without the last axis for ``"none"``.

    Raises:
        ValueError: If the shapes differ, or the margin or p is not positive.

    References:
        Schroff et al., "FaceNet", 2015; for the swap, Balntas et al., "Learning Shallow Convolutional
        Feature Descriptors with Triplet Losses", 2016.
    """
    check_reduction("triplet_margin_loss", reduction)
    if not margin > 0:
        raise ValueError(f"triplet_margin_loss needs margin > 0, got {margin}")
    a = floats("triplet_margin_loss", anchor)
    for name, other in (("positive", positive), ("negative", negative)):
        check_same_shape("triplet_margin_loss", a, other, name)
    near, far = (pairwise_distance(a, like(a, other), p, eps) for other in (positive, negative))
    if swap:
        across = pairwise_distance(floats("triplet_margin_loss", like(a, positive)), negative, p, eps)
        far = far - _hinge(far - across)
    return reduced(_hinge(near - far + margin), reduction)


def multi_margin_loss(
    input: Any,  # noqa: A002
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Multi-class hinge: the score of the right class y shall exceed every other by a margin.

    ℓ = w[y] Σⱼ max(0, Δ − x[y] + x[j])ᵖ / classes over j ≠ y. For p = 1 each class inside the margin gets
    the gradient w[y] / classes, and the right one minus their sum.

    Args:
        input: Scores, shape ``(batch, classes)`` or ``(classes,)``.
        target: Class numbers, integers, shape ``(batch,)`` or ``()``.
        p: 1 or 2.
        margin: Δ.
        weight: Weight of each class, shape ``(classes,)``.
        reduction: ``"mean"`` (over the examples, whatever their weights), ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or the shape of the target for ``"none"``.

    Raises:
        ValueError: If shapes do not fit, a label is out of range, or p is neither 1 nor 2.
        TypeError: If the labels are not integers.

    References:
        Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector
        Machines", 2001.
    """
    x = floats("multi_margin_loss", input)
    check_reduction("multi_margin_loss", reduction)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss needs p = 1 or p = 2, got {p}")
    if x.ndim > 2:
        raise ValueError(f"multi_margin_loss needs an input of shape (batch, classes), got {x.shape}")
    labels = checked_labels("multi_margin_loss", x, target, class_weights("multi_margin_loss", x, weight))
    rows = x.reshape(labels.flat.size, x.shape[-1])
    own = loss.pick(rows, labels=labels.flat, shares=1.0).reshape(-1, 1)
    short = (rows - own + margin).relu()
    counts = np.full_like(rows.array, 1.0 / rows.shape[1])
    counts[np.arange(len(counts)), labels.flat] = 0.0
    each = ((short if p == 1 else short * short) * counts).sum(-1) * labels.weights
    return reduced(each.reshape(labels.shape), reduction)


def _hinge(x: Tensor) -> Tensor:
    """What is positive of x; its derivative is 1 at zero, as PyTorch has it in these losses."""
    return loss.clip(x, low=0.0, high=math.inf)


def _are_like(caller: str, x: Tensor, target: Any) -> Array:
    """1 for the label 1 and 0 for the label −1."""
    labels = plain(target)
    is_like = labels == 1
    if not np.all(is_like | (labels == -1)):
        wrong = labels[~is_like & (labels != -1)].reshape(-1)[0]
        raise ValueError(f"{caller} needs labels 1 and -1, got {wrong}; 2 * y - 1 makes them of 0 and 1")
    return is_like.astype(x.dtype)

"""Losses with a margin, as modules."""

from typing import Any

from numpy.typing import ArrayLike

from scratchnet.nn import functional as F
from scratchnet.nn.functional.reduction import Reduction
from scratchnet.nn.loss import keep_weight
from scratchnet.nn.module import Module
from scratchnet.tape import Array
from scratchnet.tensor import Tensor


class HingeEmbeddingLoss(Module):
    """Distances of like pairs shall be small, those of unlike ones beyond a margin: x, or max(0, Δ − x).

    Args:
        margin: Δ.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.hinge_embedding_loss` for shapes, gradient and errors.
    """

    def __init__(self, margin: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class SoftMarginLoss(Module):
    """Logistic loss ln(1 + e⁻ʸˣ) of a score x for the label y = ±1.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.soft_margin_loss` for shapes, gradient and errors.
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MarginRankingLoss(Module):
    """One score shall exceed another by a margin: max(0, Δ − y (x₁ − x₂)).

    Args:
        margin: Δ.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.margin_ranking_loss` for shapes, gradient and errors.
    """

    def __init__(self, margin: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """See the class."""
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Module):
    """Like vectors shall point the same way, unlike ones not: 1 − cos, or max(0, cos − Δ).

    Args:
        margin: Δ, between −1 and 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.cosine_embedding_loss` for shapes, gradient and errors.
    """

    def __init__(self, margin: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """See the class."""
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class TripletMarginLoss(Module):
    """An anchor shall be nearer to what is like it than to what is not: max(0, d(a, p) − d(a, n) + Δ).

    Args:
        margin: Δ, > 0.
        p: Which norm, > 0.
        eps: Is added to each component of a difference.
        swap: Takes the distance of p and n in the place of d(a, n) where it is less.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.triplet_margin_loss` for shapes, gradient and errors.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap
        self.reduction = reduction

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        """See the class."""
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class MultiMarginLoss(Module):
    """Multi-class hinge: Σⱼ max(0, Δ − x[y] + x[j])ᵖ / classes over the wrong classes j ≠ y.

    Args:
        p: 1 or 2.
        margin: Δ.
        weight: Weight of each class, shape ``(classes,)``; it becomes a buffer.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.multi_margin_loss` for shapes, gradient and errors.
    """

    weight: Array | None

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: ArrayLike | None = None, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.p = p
        self.margin = margin
        keep_weight(self, "weight", weight)
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )

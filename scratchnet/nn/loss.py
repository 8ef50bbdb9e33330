"""Losses as modules, so that a listener can hear them like layers."""

from typing import Any

from numpy.typing import ArrayLike

from scratchnet.nn import functional as F
from scratchnet.nn.functional import Reduction
from scratchnet.nn.module import Module
from scratchnet.tensor import Tensor


class CrossEntropyLoss(Module):
    """Cross-entropy between logits and class numbers: −ln softmax(x)[y], mean over the batch.

    Args:
        weight: Weight of each class, shape ``(classes,)``.
        ignore_index: Examples with this label count for nothing.
        reduction: ``"mean"`` (over the weights of the examples), ``"sum"`` or ``"none"``.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1].

    See `scratchnet.nn.functional.cross_entropy` for shapes, gradient and errors.
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class MSELoss(Module):
    """Squared error (x − y)², mean over all elements.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.mse_loss` for shapes, gradient and errors.
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.mse_loss(input, target, self.reduction)

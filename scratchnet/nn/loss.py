"""Losses of classes, probabilities and numbers as modules, so that a listener can hear them like layers."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from scratchnet.nn import functional as F
from scratchnet.nn.functional.reduction import Reduction
from scratchnet.nn.module import Module
from scratchnet.tape import Array
from scratchnet.tensor import Tensor, as_tensor


class CrossEntropyLoss(Module):
    """Cross-entropy between logits and class numbers (−ln softmax(x)[y]) or class probabilities.

    Args:
        weight: Weight of each class, shape ``(classes,)``; it becomes a buffer.
        ignore_index: Examples with this class number count for nothing.
        reduction: ``"mean"`` (over the weights of the examples), ``"sum"`` or ``"none"``.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1].

    See `scratchnet.nn.functional.cross_entropy` for shapes, gradient and errors.
    """

    weight: Array | None

    def __init__(
        self,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        keep_weight(self, "weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Module):
    """Negative log-likelihood of class numbers, −x[y] for log-probabilities x.

    Args:
        weight: Weight of each class, shape ``(classes,)``; it becomes a buffer.
        ignore_index: Examples with this class number count for nothing.
        reduction: ``"mean"`` (over the weights of the examples), ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.nll_loss` for shapes, gradient and errors.
    """

    weight: Array | None

    def __init__(
        self, weight: ArrayLike | None = None, ignore_index: int = -100, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        keep_weight(self, "weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.nll_loss(
            input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class BCELoss(Module):
    """Cross-entropy of yes-or-no probabilities, −t ln x − (1 − t) ln(1 − x).

    Args:
        weight: Weight of each element, of a shape that broadcasts to the input's; it becomes a buffer.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.binary_cross_entropy` for shapes, gradient and errors.
    """

    weight: Array | None

    def __init__(self, weight: ArrayLike | None = None, reduction: Reduction = "mean") -> None:
        super().__init__()
        keep_weight(self, "weight", weight)
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Module):
    """Cross-entropy of yes-or-no logits, −t ln σ(x) − (1 − t) ln σ(−x), without overflow.

    Args:
        weight: Weight of each element, of a shape that broadcasts to the input's; it becomes a buffer.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        pos_weight: Weight of what is positive, likewise.

    See `scratchnet.nn.functional.binary_cross_entropy_with_logits` for shapes, gradient and errors.
    """

    weight: Array | None
    pos_weight: Array | None

    def __init__(
        self,
        weight: ArrayLike | None = None,
        reduction: Reduction = "mean",
        pos_weight: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        keep_weight(self, "weight", weight)
        self.reduction = reduction
        keep_weight(self, "pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.binary_cross_entropy_with_logits(
            input, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(Module):
    """Kullback–Leibler divergence t (ln t − x) of probabilities t from log-probabilities x.

    Args:
        reduction: ``"batchmean"`` (the divergence proper), ``"mean"`` (over the classes too), ``"sum"`` or ``"none"``.
        log_target: Whether the target holds logarithms.

    See `scratchnet.nn.functional.kl_div` for shapes, gradient and errors.
    """

    def __init__(
        self, reduction: Reduction | Literal["batchmean"] = "mean", log_target: bool = False
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class GaussianNLLLoss(Module):
    """Negative log-likelihood of a normal distribution, (ln v + (x − y)²/v)/2, with a predicted variance v.

    Args:
        full: Adds the constant ln(2π)/2.
        eps: The least variance.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.gaussian_nll_loss` for shapes, gradient and errors.
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.full = full
        self.eps = eps
        self.reduction = reduction

    def forward(self, input: Any, target: Any, var: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class PoissonNLLLoss(Module):
    """Negative log-likelihood of counts y, λ − y ln λ, with a predicted rate λ or its logarithm.

    Args:
        log_input: Whether the input holds logarithms.
        full: Adds Stirling's approximation of ln y! where y > 1.
        eps: Is added to a rate before its logarithm is taken.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.poisson_nll_loss` for shapes, gradient and errors.
    """

    def __init__(
        self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.log_input = log_input
        self.full = full
        self.eps = eps
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.poisson_nll_loss(
            input, target, log_input=self.log_input, full=self.full, eps=self.eps, reduction=self.reduction
        )


class MSELoss(Module):
    """Squared error (x − y)².

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.mse_loss` for shapes, gradient and errors.
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Module):
    """Absolute error |x − y|.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    See `scratchnet.nn.functional.l1_loss` for shapes, gradient and errors.
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Module):
    """Absolute error with its corner rounded: d²/2β where |d| ≤ β, else |d| − β/2, for d = x − y.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        beta: Where the square ends, ≥ 0.

    See `scratchnet.nn.functional.smooth_l1_loss` for shapes, gradient and errors.
    """

    def __init__(self, reduction: Reduction = "mean", beta: float = 1.0) -> None:
        super().__init__()
        self.reduction = reduction
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Module):
    """Squared error near zero, absolute beyond: d²/2 where |d| ≤ δ, else δ (|d| − δ/2), for d = x − y.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        delta: Where the square ends, > 0.

    See `scratchnet.nn.functional.huber_loss` for shapes, gradient and errors.
    """

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        super().__init__()
        self.reduction = reduction
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 - PyTorch's name
        """See the class."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


def keep_weight(module: Module, name: str, weight: ArrayLike | None) -> None:
    """Makes a weight a buffer of floats, so that the state holds it as PyTorch's does; None stays None."""
    if weight is None:
        setattr(module, name, None)
        return
    array = as_tensor(weight).numpy()
    module.register_buffer(name, array if array.dtype.kind == "f" else array.astype(np.float32))

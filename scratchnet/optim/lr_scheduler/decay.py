"""Schedules that bring a rate down, or warm it up: each a function of the step t alone."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from scratchnet.optim.lr_scheduler.scheduler import (
    ClosedFormLR,
    LRScheduler,
    check_increasing,
    check_optimizer,
    check_positive,
)
from scratchnet.optim.optimizer import Optimizer


class LambdaLR(LRScheduler):
    """η(t) = base · λ(t), by any function; what others do to the rate is written over.

    Args:
        optimizer: Whose rates to set.
        lr_lambda: λ, a function of the step, or one for each group. No state holds it.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If there are more or fewer functions than groups.

    Example:
        >>> from scratchnet import nn, optim
        >>> schedule = LambdaLR(optim.SGD([nn.Parameter([0.0])], lr=0.5), lambda step: 1 / (1 + step))
        >>> schedule.step()
        >>> schedule.get_last_lr()
        [0.25]
    """

    _not_state = LRScheduler._not_state | {"lr_lambdas"}

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        count = len(check_optimizer("LambdaLR", optimizer).param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise ValueError(
                f"LambdaLR needs one lr_lambda for each of {count} groups, got {len(self.lr_lambdas)}"
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """See the class."""
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * function(self.last_epoch) for base, function in pairs]


class StepLR(ClosedFormLR):
    """η(t) = base · γ^⌊t / step_size⌋: a stair of equal steps.

    Args:
        optimizer: Whose rates to set.
        step_size: Length of a stair.
        gamma: γ.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If ``step_size`` is not positive.

    Example:
        >>> from scratchnet import nn, optim
        >>> schedule = StepLR(optim.SGD([nn.Parameter([0.0])], lr=0.5), step_size=2, gamma=0.5)
        >>> for _ in range(4):
        ...     schedule.step()
        >>> schedule.get_last_lr()
        [0.125]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        check_positive("StepLR", step_size=step_size)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def share(self, step: int) -> float:
        """See the class."""
        return self.gamma ** (step // self.step_size)


class MultiStepLR(ClosedFormLR):
    """η(t) = base · γⁿ, where n counts the milestones up to t.

    Args:
        optimizer: Whose rates to set.
        milestones: Steps at which the rate falls, increasing.
        gamma: γ.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If the milestones do not increase.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = list(milestones)
        check_increasing("MultiStepLR", self.milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def share(self, step: int) -> float:
        """See the class."""
        return self.gamma ** bisect_right(self.milestones, step)


class ConstantLR(ClosedFormLR):
    """η(t) = base · factor before ``total_iters``, and base from then on.

    Args:
        optimizer: Whose rates to set.
        factor: Share of the rate at first, in [0, 1].
        total_iters: Steps until the rate is whole.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If ``factor`` is out of range or ``total_iters`` is not positive.
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        _check_share("ConstantLR", factor=factor)
        check_positive("ConstantLR", total_iters=total_iters)
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def share(self, step: int) -> float:
        """See the class."""
        return self.factor if step < self.total_iters else 1.0


class LinearLR(ClosedFormLR):
    """η(t) = base · (start + (end − start) · min(t / total_iters, 1)): a linear warm-up, or a decay.

    Args:
        optimizer: Whose rates to set.
        start_factor: Share of the rate at first, in (0, 1].
        end_factor: Share of the rate at last, in [0, 1].
        total_iters: Steps from the one to the other.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If a share is out of range or ``total_iters`` is not positive.

    Example:
        >>> from scratchnet import nn, optim
        >>> schedule = LinearLR(optim.SGD([nn.Parameter([0.0])], lr=0.5), start_factor=0.5, total_iters=2)
        >>> schedule.step()
        >>> schedule.get_last_lr()
        [0.375]

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        _check_share("LinearLR", start_factor=start_factor, end_factor=end_factor)
        # The last share may be zero. From a first of zero PyTorch's rate, a product, could never rise.
        check_positive("LinearLR", start_factor=start_factor, total_iters=total_iters)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def share(self, step: int) -> float:
        """See the class."""
        way = min(step / self.total_iters, 1.0)
        return self.start_factor + (self.end_factor - self.start_factor) * way


class ExponentialLR(ClosedFormLR):
    """η(t) = base · γᵗ.

    Args:
        optimizer: Whose rates to set.
        gamma: γ.
        last_epoch: See `LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def share(self, step: int) -> float:
        """See the class."""
        return self.gamma**step


class PolynomialLR(ClosedFormLR):
    """η(t) = base · (1 − min(t / total_iters, 1))^power, down to zero.

    Args:
        optimizer: Whose rates to set.
        total_iters: Steps until the rate is zero.
        power: 1 is a straight line.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If ``total_iters`` or ``power`` is not positive.
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        check_positive("PolynomialLR", total_iters=total_iters, power=power)
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def share(self, step: int) -> float:
        """See the class."""
        return (1.0 - min(step / self.total_iters, 1.0)) ** self.power


class CosineAnnealingLR(ClosedFormLR):
    """η(t) = η_min + (base − η_min) · (1 + cos(π t / T_max)) / 2: half a wave down, and up again after it.

    Args:
        optimizer: Whose rates to set.
        T_max: Steps down to the minimum.
        eta_min: η_min.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If ``T_max`` is not positive.

    Example:
        >>> from scratchnet import nn, optim
        >>> schedule = CosineAnnealingLR(optim.SGD([nn.Parameter([0.0])], lr=1.0), T_max=2, eta_min=0.5)
        >>> schedule.step()
        >>> schedule.get_last_lr()
        [0.75]

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, arXiv:1608.03983.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,  # noqa: N803 - PyTorch's name
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        check_positive("CosineAnnealingLR", T_max=T_max)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    @property
    def floor(self) -> float:
        """Rate where the share is zero."""
        return self.eta_min

    def share(self, step: int) -> float:
        """See the class."""
        return (1 + math.cos(math.pi * step / self.T_max)) / 2


def _check_share(owner: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{owner} needs {name} in [0, 1], got {name}={value}")

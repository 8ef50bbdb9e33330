"""Adam and its descendants: a step of about η along each coordinate, whatever the gradient's scale."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchnet.optim.optimizer import Optimizer, Run, check_at_least


class Adam(Optimizer):
    """Adam: w ← w − η m̂ / (√v̂ + ε), with running means m of the gradient and v of its square.

    m ← β₁ m + (1 − β₁) g and v ← β₂ v + (1 − β₂) g²; the hats divide by 1 − βᵗ, for both start at zero.
    Weight decay λ adds λ w to the gradient, and so is scaled like it; `AdamW` keeps the two apart.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε, which keeps the step finite where the gradient vanishes.
        weight_decay: λ.
        amsgrad: Divides by the largest v so far, so that the step never grows back.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is out of range.

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, arXiv:1412.6980.
        Reddi et al., "On the Convergence of Adam and Beyond", 2018, arXiv:1904.09237.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        name = type(self).__name__
        check_at_least(name, 0, lr=lr, eps=eps, weight_decay=weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{name} needs both betas in [0, 1), got {betas}")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        gradient = self._decayed(group, run, -run.gradients if group["maximize"] else run.gradients)
        first, second = group["betas"]
        mean, square = run.state("mean"), run.state("square")
        mean += (1 - first) * (gradient - mean)
        square *= second
        square += (1 - second) * np.square(gradient)
        if group["amsgrad"]:
            square = np.maximum(run.state("largest_square"), square, out=run.state("largest_square"))
        scale = np.sqrt(square)
        scale /= math.sqrt(1 - second**run.step)
        scale += group["eps"]
        np.divide(mean, scale, out=scale)
        scale *= group["lr"] / (1 - first**run.step)
        run.weights -= scale

    def _decayed(self, group: Mapping[str, Any], run: Run, gradient: Any) -> Any:
        """The gradient with the pull of weight decay in it."""
        return gradient + group["weight_decay"] * run.weights if group["weight_decay"] else gradient


class AdamW(Adam):
    """Adam with decoupled weight decay: w ← (1 − η λ) w before Adam's own step.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε.
        weight_decay: λ.
        amsgrad: Divides by the largest v so far.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is out of range.

    References:
        Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, arXiv:1711.05101.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def _decayed(self, group: Mapping[str, Any], run: Run, gradient: Any) -> Any:
        run.weights *= 1 - group["lr"] * group["weight_decay"]
        return gradient

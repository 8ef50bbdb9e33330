"""Adam and its descendants: a step of about η along each coordinate, whatever the gradient's scale."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from scratchnet.optim.flat import Numbers, Run
from scratchnet.optim.optimizer import (
    Optimizer,
    average,
    average_square,
    check_at_least,
    check_betas,
    slope,
)
from scratchnet.tape import Array


class Adam(Optimizer):
    """Adam: w ← w − η m̂ / (√v̂ + ε), with running means m of the gradient and v of its square.

    m ← β₁ m + (1 − β₁) g and v ← β₂ v + (1 − β₂) g²; the hats divide by 1 − βᵗ, for both start at zero.
    Weight decay λ adds λ w to the gradient, and so is scaled like it, unless it is decoupled.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε, which keeps the step finite where the gradient vanishes.
        weight_decay: λ.
        amsgrad: Divides by the largest v so far, so that the step never grows back.
        maximize: Climbs instead.
        decoupled_weight_decay: Shrinks the weights, w ← (1 − η λ) w, instead of bending the gradient.

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
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        _check(self, group)

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        mean, square = _moments(group, run, slope(group, run))
        if group["amsgrad"]:
            largest = run.state("max_exp_avg_sq")
            square = np.maximum(square, largest, out=largest)
        first, second = group["betas"]
        # √v̂ + ε = (√v + ε c) / c with c = √(1 − β₂ᵗ): c goes into the factor, which saves a pass.
        correction = math.sqrt(1 - second**run.step)
        scale = _root(square, group["eps"] * correction, run)
        np.divide(mean, scale, out=scale)
        scale *= group["lr"] * correction / (1 - first**run.step)
        run.weights -= scale


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
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True
        )


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead: w ← w − η (a g + b m) / (√v̂ + ε).

    The means m and v are Adam's. The momentum warms up, μₜ = β₁ (1 − ½ · 0.96^(t ψ)), and so
    a = (1 − μₜ) / (1 − μ₁⋯μₜ) and b = μₜ₊₁ / (1 − μ₁⋯μₜ₊₁).

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε.
        weight_decay: λ, added to the gradient as λ w unless it is decoupled.
        momentum_decay: ψ, how fast the momentum warms up.
        decoupled_weight_decay: Shrinks the weights, w ← (1 − η λ) w, instead of bending the gradient.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is out of range.

    References:
        Dozat, "Incorporating Nesterov Momentum into Adam", 2016.
    """

    numbers: ClassVar[Mapping[str, float]] = MappingProxyType({"step": 0, "mu_product": 1.0})

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        _check(self, group)
        check_at_least("NAdam", 0, group, "momentum_decay")

    def advance(self, group: Mapping[str, Any], numbers: Numbers) -> None:
        """See the class."""
        super().advance(group, numbers)
        numbers["mu_product"] *= _warm_momentum(group, numbers["step"])

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        gradient = slope(group, run)
        mean, square = _moments(group, run, gradient)
        correction = math.sqrt(1 - group["betas"][1] ** run.step)
        scale = _root(square, group["eps"] * correction, run)
        now, ahead = _warm_momentum(group, run.step), _warm_momentum(group, run.step + 1)
        product = run.numbers["mu_product"]
        move = np.multiply(gradient, (1 - now) / (1 - product), out=run.scratch("move"))
        move += np.multiply(mean, ahead / (1 - product * ahead), out=run.scratch("pull"))
        move /= scale
        move *= group["lr"] * correction
        run.weights -= move


class RAdam(Optimizer):
    """Adam whose scale waits until it is known: w ← w − η r m̂ / (√v̂ + ε), and − η m̂ at first.

    ρₜ = ρ − 2 t β₂ᵗ / (1 − β₂ᵗ) with ρ = 2 / (1 − β₂) − 1 says how many gradients v has averaged. Above
    five, r² = (ρₜ − 4)(ρₜ − 2) ρ / ((ρ − 4)(ρ − 2) ρₜ) makes up for the variance of 1 / √v̂.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        betas: β₁ and β₂, each in [0, 1).
        eps: ε; it joins √v before the hat's correction, as in PyTorch.
        weight_decay: λ, added to the gradient as λ w unless it is decoupled.
        decoupled_weight_decay: Shrinks the weights, w ← (1 − η λ) w, instead of bending the gradient.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is out of range.

    References:
        Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2020, arXiv:1908.03265.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        _check(self, group)

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        mean, square = _moments(group, run, slope(group, run))
        first, second = group["betas"]
        rate = group["lr"] / (1 - first**run.step)
        rectification = _rectification(second, run.step)
        if rectification is None:
            run.weights -= np.multiply(mean, rate, out=run.scratch("scale"))
            return
        scale = _root(square, group["eps"], run)
        np.divide(mean, scale, out=scale)
        scale *= rate * rectification * math.sqrt(1 - second**run.step)
        run.weights -= scale


def _check(optimizer: Optimizer, group: Mapping[str, Any]) -> None:
    name = type(optimizer).__name__
    check_at_least(name, 0, group, "lr", "eps", "weight_decay")
    check_betas(name, group)


def _moments(group: Mapping[str, Any], run: Run, gradient: Array) -> tuple[Array, Array]:
    first, second = group["betas"]
    mean, square = run.state("exp_avg"), run.state("exp_avg_sq")
    average(mean, gradient, first, run.scratch("scale"))
    average_square(square, gradient, second, run.scratch("scale"))
    return mean, square


def _root(square: Array, eps: float, run: Run) -> Array:
    scale = np.sqrt(square, out=run.scratch("scale"))
    scale += eps
    return scale


def _warm_momentum(group: Mapping[str, Any], step: float) -> float:
    return float(group["betas"][0] * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"])))


def _rectification(second: float, step: int) -> float | None:
    """The r of `RAdam`; None while v has averaged too few gradients."""
    limit = 2 / (1 - second) - 1
    length = limit - 2 * step * second**step / (1 - second**step)
    if length <= 5:
        return None
    ratio = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
    return math.sqrt(ratio)

"""A rate of its own for every weight, from the squares of its gradients: Adagrad, RMSprop, Adadelta."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchnet.optim.flat import Run
from scratchnet.optim.optimizer import (
    Optimizer,
    average,
    average_square,
    check_at_least,
    check_fractions,
    slope,
)
from scratchnet.tape import Array


class Adagrad(Optimizer):
    """Adagrad: w ← w − ηₜ g / (√s + ε), where s is the sum of all g² so far and ηₜ = η / (1 + (t − 1) κ).

    Weights whose gradients are rare or small keep a large rate; none ever grows back.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        lr_decay: κ.
        weight_decay: λ, added to the gradient as λ w.
        initial_accumulator_value: What s starts at.
        eps: ε.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is negative.

    References:
        Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization", 2011.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        check_at_least(
            "Adagrad", 0, group, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"
        )

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        gradient = slope(group, run)
        total = run.state("sum", group["initial_accumulator_value"])
        room = run.scratch("scale")
        total += np.multiply(gradient, gradient, out=room)
        scale = np.sqrt(total, out=room)
        scale += group["eps"]
        np.divide(gradient, scale, out=scale)
        scale *= group["lr"] / (1 + (run.step - 1) * group["lr_decay"])
        run.weights -= scale


class RMSprop(Optimizer):
    """RMSprop: w ← w − η g / (√v + ε), with a running mean v ← α v + (1 − α) g² of the squared gradient.

    Centred, the mean's own square is taken off, v − ḡ², which leaves the variance. With momentum μ the
    steps add up: b ← μ b + g / (√v + ε) and w ← w − η b.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        alpha: α in [0, 1).
        eps: ε.
        weight_decay: λ, added to the gradient as λ w.
        momentum: μ.
        centered: Whether to divide by the standard deviation instead of the root mean square.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is out of range.

    References:
        Tieleman and Hinton, "Lecture 6.5: RMSProp", 2012.
        Graves, "Generating Sequences With Recurrent Neural Networks", 2013, arXiv:1308.0850 (centred).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        check_at_least("RMSprop", 0, group, "lr", "eps", "weight_decay", "momentum")
        check_fractions("RMSprop", group, "alpha")

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        gradient = slope(group, run)
        move = np.divide(gradient, self._scale(group, run, gradient), out=run.scratch("scale"))
        if group["momentum"]:
            momentum = run.state("momentum_buffer")
            momentum *= group["momentum"]
            momentum += move
            move = momentum
        run.weights -= np.multiply(move, group["lr"], out=run.scratch("scale"))

    def _scale(self, group: Mapping[str, Any], run: Run, gradient: Array) -> Array:
        square, room = run.state("square_avg"), run.scratch("scale")
        average_square(square, gradient, group["alpha"], room)
        if group["centered"]:
            mean = run.state("grad_avg")
            average(mean, gradient, group["alpha"], room)
            np.multiply(mean, mean, out=room)
            # Rounding may leave a variance just below zero, of which there is no root.
            square = np.maximum(np.subtract(square, room, out=room), 0, out=room)
        scale = np.sqrt(square, out=room)
        scale += group["eps"]
        return scale


class Adadelta(Optimizer):
    """Adadelta: w ← w − η d with d = g √(u + ε) / √(v + ε): steps in the units of the weights themselves.

    v ← ρ v + (1 − ρ) g² averages squared gradients, u ← ρ u + (1 − ρ) d² squared steps.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η, one in the paper.
        rho: ρ in [0, 1).
        eps: ε, from which the first steps come.
        weight_decay: λ, added to the gradient as λ w.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is out of range.

    References:
        Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, arXiv:1212.5701.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        check_at_least("Adadelta", 0, group, "lr", "eps", "weight_decay")
        check_fractions("Adadelta", group, "rho")

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        gradient = slope(group, run)
        square, moved = run.state("square_avg"), run.state("acc_delta")
        move, room = run.scratch("move"), run.scratch("scale")
        average_square(square, gradient, group["rho"], room)
        np.add(moved, group["eps"], out=move)
        move /= np.add(square, group["eps"], out=room)
        np.sqrt(move, out=move)
        move *= gradient
        average_square(moved, move, group["rho"], room)
        move *= group["lr"]
        run.weights -= move

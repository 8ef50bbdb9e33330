"""Gradient descent, plain, with momentum, and Nesterov's."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchnet.optim.flat import Numbers, Run
from scratchnet.optim.optimizer import Optimizer, check_at_least, slope
from scratchnet.tape import Array


class SGD(Optimizer):
    """Gradient descent: w ← w − η d, where d is the gradient or its running sum.

    With momentum μ the sum is b ← μ b + (1 − τ) g (b starts at the first g), and d = b; Nesterov's
    form looks one step ahead, d = g + μ b. Weight decay λ adds λ w to the gradient first.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        momentum: μ in [0, 1).
        dampening: τ.
        weight_decay: λ.
        nesterov: Whether to look ahead; needs momentum and no dampening.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is negative, or Nesterov has no momentum.

    Example:
        >>> from scratchnet import nn
        >>> weight = nn.Parameter(np.array([1.0]))
        >>> optimizer = SGD([weight], lr=0.1)
        >>> (weight * weight).sum().backward()
        >>> optimizer.step()
        >>> weight.numpy()
        array([0.8])

    References:
        Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        check_at_least("SGD", 0, group, "lr", "momentum", "weight_decay")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD with nesterov=True needs momentum > 0 and no dampening, "
                f"got momentum={group['momentum']} and dampening={group['dampening']}"
            )

    def advance(self, group: Mapping[str, Any], numbers: Numbers) -> None:
        """Counts the steps that the momentum has seen: plain descent remembers nothing."""
        if group["momentum"]:
            numbers["step"] += 1

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        direction = slope(group, run)
        if group["momentum"]:
            direction = _with_momentum(group, run, direction)
        run.weights -= np.multiply(direction, group["lr"], out=run.scratch("move"))


def _with_momentum(group: Mapping[str, Any], run: Run, gradient: Array) -> Array:
    momentum = run.state("momentum_buffer")
    # The first gradient enters whole: dampening applies from the second step on, as in PyTorch.
    share = 1 - group["dampening"] if run.step > 1 else 1
    momentum *= group["momentum"]
    momentum += gradient if share == 1 else np.multiply(gradient, share, out=run.scratch("move"))
    if not group["nesterov"]:
        return momentum
    ahead = np.multiply(momentum, group["momentum"], out=run.scratch("move"))
    ahead += gradient
    return ahead

"""Gradient descent, plain, with momentum, and Nesterov's."""

from collections.abc import Iterable, Mapping
from typing import Any

from scratchnet.optim.optimizer import Optimizer, Run, check_at_least


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
        check_at_least("SGD", 0, lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"SGD with nesterov=True needs momentum > 0 and no dampening, "
                f"got momentum={momentum} and dampening={dampening}"
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        direction = -run.gradients if group["maximize"] else run.gradients
        if group["weight_decay"]:
            direction = direction + group["weight_decay"] * run.weights
        if group["momentum"]:
            direction = _with_momentum(group, run, direction)
        run.weights -= group["lr"] * direction


def _with_momentum(group: Mapping[str, Any], run: Run, gradient: Any) -> Any:
    average = run.state("momentum")
    average *= group["momentum"]
    # The first gradient enters whole: dampening applies from the second step on, as in PyTorch.
    average += gradient if run.step == 1 else gradient * (1 - group["dampening"])
    return gradient + group["momentum"] * average if group["nesterov"] else average

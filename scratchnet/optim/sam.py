"""Sharpness-aware minimisation: the gradient is taken where the loss is worst nearby."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from scratchnet.hooks import Hooks
from scratchnet.optim.flat import Run
from scratchnet.optim.optimizer import Closure, Optimizer, check_at_least


class SAM(Optimizer):
    """Sharpness-aware minimisation: any optimiser, with the gradient at w + ρ g / ‖g‖ in place of that at w.

    A step computes the loss twice: at w, and after a climb of length ρ along the gradient. The
    base optimiser then moves w by the second gradient, which leads away from sharp minima.

    The groups are the base optimiser's, with ``"rho"`` beside the other hyperparameters. Listeners hear
    old weights and the second gradient before the step, new weights and the same gradient after it.

    Args:
        base_optimizer: Made with the parameters and hyperparameters; it belongs to SAM from then on.
        rho: ρ, the radius.

    Raises:
        ValueError: If ρ is negative.
        TypeError: If the base is no optimiser, or needs a closure itself.

    Example:
        >>> from scratchnet import nn
        >>> from scratchnet.optim import SGD
        >>> weight = nn.Parameter(np.array([3.0]))
        >>> optimizer = SAM(SGD([weight], lr=0.1), rho=0.5)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (weight * weight).sum()
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure).item()
        9.0
        >>> weight.numpy()  # 3 − 0.1 · 2 · (3 + 0.5)
        array([2.3])

    References:
        Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021,
        arXiv:2010.01412.
    """

    needs_closure: ClassVar[bool] = True

    def __init__(self, base_optimizer: Optimizer, rho: float = 0.05) -> None:
        if not isinstance(base_optimizer, Optimizer) or base_optimizer.needs_closure:
            raise TypeError(
                f"SAM needs an optimiser that moves once a step, got {type(base_optimizer).__name__}; "
                f"write SAM(optim.SGD(model.parameters(), lr=0.1), rho=0.05)"
            )
        check_at_least("SAM", 0, {"rho": rho}, "rho")
        self.base_optimizer = base_optimizer
        self.defaults = base_optimizer.defaults
        self.param_groups = base_optimizer.param_groups
        self._buffers = base_optimizer._buffers
        self._pre_hooks, self._post_hooks = Hooks(), Hooks()
        for settings in (self.defaults, *self.param_groups):
            settings["rho"] = rho

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """See the base class; ``"rho"`` is one of the hyperparameters."""
        check_at_least("SAM", 0, {**self.defaults, **group}, "rho")
        self.base_optimizer.add_param_group(group)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        check_at_least("SAM", 0, group, "rho")
        self.base_optimizer.check(group)

    def _evaluate(self, closure: Closure | None) -> Any:
        loss = super()._evaluate(closure)
        runs = self._moving()
        kept = [buffer.weights.copy() for buffer in self._buffers]
        _climb(runs)
        try:
            super()._evaluate(closure)
        finally:
            for buffer, weights in zip(self._buffers, kept, strict=True):
                buffer.weights[...] = weights
        return loss

    def _moving(self) -> list[tuple[Mapping[str, Any], Run]]:
        return [
            (group, run)
            for group, buffer in zip(self.param_groups, self._buffers, strict=True)
            for _, pieces in buffer.runs()
            for run in pieces
        ]

    def _move(self) -> None:
        self.base_optimizer.step()


def _climb(runs: list[tuple[Mapping[str, Any], Run]]) -> None:
    """Goes to where the loss is worst, to first order, at the distance ρ."""
    norm = math.sqrt(sum(float(np.vdot(run.gradients, run.gradients)) for _, run in runs))
    for group, run in runs:
        uphill = -1 if group.get("maximize") else 1
        # The small number matters only where every gradient is zero, and there is nowhere to go.
        run.weights += uphill * group["rho"] / (norm + 1e-12) * run.gradients

"""Lion: steps of one size along every coordinate, by the sign of a running mean."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scratchnet.optim.flat import Run
from scratchnet.optim.optimizer import Optimizer, average, check_at_least, check_betas, shrink, turned


class Lion(Optimizer):
    """Lion: w ← w − η (sign(β₁ m + (1 − β₁) g) + λ w), then m ← β₂ m + (1 − β₂) g.

    Only the sign of the mean counts, so η is the step itself: three to ten times smaller than Adam's
    does as well, with λ larger by as much [1]. One vector of state, where Adam has two.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate η.
        betas: β₁ and β₂, each in [0, 1).
        weight_decay: λ, decoupled from the gradient.
        maximize: Climbs instead.

    Raises:
        ValueError: If a hyperparameter is out of range.

    References:
        [1] Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, arXiv:2302.06675.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def check(self, group: Mapping[str, Any]) -> None:
        """See the class."""
        check_at_least("Lion", 0, group, "lr", "weight_decay")
        check_betas("Lion", group)

    def update(self, group: Mapping[str, Any], run: Run) -> None:
        """See the class."""
        shrink(group, run)
        first, second = group["betas"]
        gradient = turned(group, run)
        mean, room = run.state("exp_avg"), run.scratch("room")
        move = np.multiply(mean, first, out=run.scratch("move"))
        move += np.multiply(gradient, 1 - first, out=room)
        np.sign(move, out=move)
        move *= group["lr"]
        run.weights -= move
        average(mean, gradient, second, room)

"""The schedule that looks at a measure instead of counting."""

import math
from collections.abc import Sequence
from typing import Literal, SupportsFloat

from scratchnet.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, per_group
from scratchnet.optim.optimizer import Optimizer


class ReduceLROnPlateau(LRScheduler):
    """η ← max(η · factor, min_lr) once a measure has not improved for more than ``patience`` steps.

    Improvement means beating the best so far by the threshold: ``best · (1 ∓ threshold)`` in mode
    ``"rel"``, ``best ∓ threshold`` in mode ``"abs"``. NaN is no improvement.

    Args:
        optimizer: Whose rates to set.
        mode: ``"min"`` if the measure should fall, ``"max"`` if it should rise.
        factor: What a rate is multiplied by, below 1.
        patience: Steps without improvement that are borne.
        threshold: What counts as improvement.
        threshold_mode: ``"rel"`` or ``"abs"``.
        cooldown: Steps after a reduction in which none is counted.
        min_lr: Smallest rate, one for all groups or one for each.
        eps: A reduction by no more than this is left out.

    Attributes:
        best: Best measure so far.
        num_bad_epochs: Steps since then.

    Raises:
        ValueError: If the factor is out of range or a mode unknown.
        TypeError: If there is no optimiser.

    Example:
        >>> from scratchnet import nn, optim
        >>> schedule = ReduceLROnPlateau(optim.SGD([nn.Parameter([0.0])], lr=0.5), factor=0.5, patience=1)
        >>> for loss in (1.0, 0.9, 0.9, 0.9):
        ...     schedule.step(loss)
        >>> schedule.get_last_lr()
        [0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        groups = check_optimizer("ReduceLROnPlateau", optimizer).param_groups
        if not 0 <= factor < 1:
            raise ValueError(f"ReduceLROnPlateau needs 0 <= factor < 1, got factor={factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau needs mode 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"ReduceLROnPlateau needs threshold_mode 'rel' or 'abs', got {threshold_mode!r}")
        self.optimizer = optimizer
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.factor, self.patience, self.cooldown, self.eps = factor, patience, cooldown, eps
        self.min_lrs = per_group("ReduceLROnPlateau", "min_lr", min_lr, groups)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        """The rates as they stand."""
        return [float(group["lr"]) for group in self._groups]

    def step(self, metrics: SupportsFloat) -> None:  # type: ignore[override] # It looks at a measure.
        """Takes in one value of the measure, and reduces the rates if it is time."""
        self.last_epoch += 1
        self._judge(float(metrics))
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._set_rates([self._reduced(*pair) for pair in zip(self.get_lr(), self.min_lrs, strict=True)])
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self.get_lr()

    def _judge(self, measure: float) -> None:
        if self._is_better(measure):
            self.best = measure
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1

    def _is_better(self, measure: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs":
            bound = self.best + sign * self.threshold
        else:
            bound = self.best * (1 + sign * self.threshold)
        return measure < bound if self.mode == "min" else measure > bound

    def _reduced(self, rate: float, least: float) -> float:
        reduced = max(rate * self.factor, least)
        return reduced if rate - reduced > self.eps else rate

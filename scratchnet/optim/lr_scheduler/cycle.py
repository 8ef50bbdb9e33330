"""Schedules that rise and fall: warm restarts, triangular cycles, the one cycle."""

import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Literal

from scratchnet.optim.lr_scheduler.scheduler import LRScheduler, check_optimizer, check_positive, per_group
from scratchnet.optim.optimizer import Optimizer


class CosineAnnealingWarmRestarts(LRScheduler):
    """η = η_min + (base − η_min) · (1 + cos(π t / Tᵢ)) / 2, t steps into the i-th round of length Tᵢ.

    Each round begins anew at the base, and is ``T_mult`` times as long as the one before.

    Args:
        optimizer: Whose rates to set.
        T_0: Length of the first round.
        T_mult: Growth of the rounds.
        eta_min: η_min.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If ``T_0`` or ``T_mult`` is no integer above zero.

    Example:
        >>> from scratchnet import nn, optim
        >>> schedule = CosineAnnealingWarmRestarts(optim.SGD([nn.Parameter([0.0])], lr=1.0), T_0=2)
        >>> schedule.step(0.5 + 1.5)
        >>> schedule.get_last_lr()
        [1.0]

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, arXiv:1608.03983.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803 - PyTorch's name
        T_mult: int = 1,  # noqa: N803 - PyTorch's name
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        _check_count("CosineAnnealingWarmRestarts", T_0=T_0, T_mult=T_mult)
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """See the class."""
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Goes one step on, or to a fraction of an epoch: ``step(epoch + batch / batches)``.

        Raises:
            ValueError: If ``epoch`` is negative.
        """
        if epoch is not None and epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts needs epoch >= 0, got {epoch}")
        self._move_to(self._epoch + 1 if epoch is None else epoch)

    def _move_to(self, step: float) -> None:
        self._epoch = step
        self.T_cur, self.T_i = self._place(step)
        super()._move_to(math.floor(step))

    def _place(self, epoch: float) -> tuple[float, int]:
        """How far into which round; by subtraction, because a logarithm may miss the very restart."""
        if self.T_mult == 1:
            return epoch % self.T_0, self.T_0
        length = self.T_0
        while epoch >= length:
            epoch, length = epoch - length, length * self.T_mult
        return epoch, length


class MomentumCycle(LRScheduler):
    """A schedule that also moves momentum (Adam's first beta), down while the rate goes up.

    A subclass writes `get_momentum`, one value for each group; ``cycle_momentum`` turns it off.
    """

    cycle_momentum: bool

    def get_momentum(self) -> list[float]:
        """Momenta at ``last_epoch``, one for each group; every subclass writes its own."""
        raise TypeError(f"{type(self).__name__} needs a get_momentum method")

    def _check_momentum(self, groups: Sequence[dict[str, Any]]) -> None:
        if self.cycle_momentum and not all("betas" in group or "momentum" in group for group in groups):
            raise ValueError(
                f"{type(self).__name__} needs an optimiser with momentum or betas, "
                f"got groups without; pass cycle_momentum=False"
            )

    def _move_to(self, step: int) -> None:
        super()._move_to(step)
        if self.cycle_momentum:
            for group, momentum in zip(self._groups, self.get_momentum(), strict=True):
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum


class CyclicLR(MomentumCycle):
    """η = base + (max − base) · h · scale: h climbs from 0 to 1 and falls back, cycle after cycle.

    ``scale`` is 1 (``"triangular"``), ½ to the number of past cycles (``"triangular2"``), or γᵗ
    (``"exp_range"``). Momentum runs against it, from its maximum down and back.

    Args:
        optimizer: Whose rates to set.
        base_lr: Rate at the bottom, one for all groups or one for each.
        max_lr: Rate at the top.
        step_size_up: Steps from bottom to top.
        step_size_down: Steps back, as many as up if None.
        mode: How the cycles shrink.
        gamma: γ.
        scale_fn: A function of one's own instead of ``mode``. No state holds it.
        scale_mode: Whether ``scale_fn`` is given the number of the cycle, from 1, or the step, from 0.
        cycle_momentum: Whether momentum is moved too.
        base_momentum: Momentum at the top of the rate.
        max_momentum: Momentum at its bottom.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If a step size is not positive, the mode is unknown, or there is no momentum to move.

    References:
        Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, arXiv:1506.01186.
    """

    _not_state = LRScheduler._not_state | {"scale_fn"}

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = check_optimizer("CyclicLR", optimizer).param_groups
        self.step_size_up = step_size_up
        self.step_size_down = step_size_up if step_size_down is None else step_size_down
        check_positive("CyclicLR", step_size_up=step_size_up, step_size_down=self.step_size_down)
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"CyclicLR needs mode 'triangular', 'triangular2' or 'exp_range', got {mode!r}; "
                f"pass scale_fn for one of your own"
            )
        self.mode, self.gamma, self.scale_fn, self.scale_mode = mode, gamma, scale_fn, scale_mode
        self.cycle_momentum = cycle_momentum
        self._check_momentum(groups)
        self.max_lrs = per_group("CyclicLR", "max_lr", max_lr, groups)
        self.base_momentums = per_group("CyclicLR", "base_momentum", base_momentum, groups)
        self.max_momentums = per_group("CyclicLR", "max_momentum", max_momentum, groups)
        if last_epoch == -1:
            _set_initial(groups, per_group("CyclicLR", "base_lr", base_lr, groups))
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """See the class."""
        height = self._height()
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def get_momentum(self) -> list[float]:
        """See the class."""
        height = self._height()
        pairs = zip(self.base_momentums, self.max_momentums, strict=True)
        return [high - (high - low) * height for low, high in pairs]

    def _height(self) -> float:
        past, place = divmod(self.last_epoch, self.step_size_up + self.step_size_down)
        up = place / self.step_size_up
        down = 1 - (place - self.step_size_up) / self.step_size_down
        return min(up, down) * self._scale(past + 1)

    def _scale(self, cycle: int) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "exp_range":
            return self.gamma**self.last_epoch
        return 1.0 if self.mode == "triangular" else 0.5 ** (cycle - 1)


class OneCycleLR(MomentumCycle):
    """One rise and one long fall over a whole training, and momentum the other way round.

    The rate goes from max / ``div_factor`` up to max, and down to the first one / ``final_div_factor``,
    each way along half a cosine wave or a line. With ``three_phase`` the fall first mirrors the rise, and
    then goes from the first rate to the last.

    Call `step` after every update; the optimiser makes ``total_steps`` updates.

    Args:
        optimizer: Whose rates to set; its own are not used.
        max_lr: Rate at the top, one for all groups or one for each.
        total_steps: Updates of the whole training; or give the two that follow.
        epochs: Epochs of the training.
        steps_per_epoch: Updates of an epoch.
        pct_start: Share of the updates that the rise takes.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: Whether momentum is moved too.
        base_momentum: Momentum at the top of the rate.
        max_momentum: Momentum at both ends.
        div_factor: What the first rate is smaller by than the top.
        final_div_factor: What the last rate is smaller by than the first.
        three_phase: Whether the fall mirrors the rise first.
        last_epoch: See `LRScheduler`.

    Raises:
        ValueError: If the number of updates is missing or too small for the phases, an option is out of
            range, there is no momentum to move, or `step` is called more than ``total_steps`` times.

    References:
        Smith and Topin, "Super-Convergence", 2019, arXiv:1708.07120.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = check_optimizer("OneCycleLR", optimizer).param_groups
        check_positive("OneCycleLR", div_factor=div_factor, final_div_factor=final_div_factor)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR needs anneal_strategy 'cos' or 'linear', got {anneal_strategy!r}")
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        self.anneal_strategy = anneal_strategy
        self._ends = _phase_ends(self.total_steps, pct_start, three_phase)
        self.cycle_momentum = cycle_momentum
        self._check_momentum(groups)
        self.max_lrs = per_group("OneCycleLR", "max_lr", max_lr, groups)
        self.final_div_factor = final_div_factor
        self.base_momentums = per_group("OneCycleLR", "base_momentum", base_momentum, groups)
        self.max_momentums = per_group("OneCycleLR", "max_momentum", max_momentum, groups)
        if last_epoch == -1:
            _set_initial(groups, [rate / div_factor for rate in self.max_lrs])
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """See the class."""
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [self._anneal(low, high, low / self.final_div_factor) for low, high in pairs]

    def get_momentum(self) -> list[float]:
        """See the class."""
        pairs = zip(self.base_momentums, self.max_momentums, strict=True)
        return [self._anneal(high, low, high) for low, high in pairs]

    def step(self) -> None:
        """Goes one step on and sets the rates.

        The rate after the last update, which no update uses, lies a step further along the last phase.
        """
        if self.last_epoch >= self.total_steps:
            raise ValueError(
                f"OneCycleLR needs at most total_steps={self.total_steps} calls of step, got one more; "
                f"give it the updates of the whole training, or stop there"
            )
        super().step()

    def _anneal(self, first: float, top: float, last: float) -> float:
        """Value at the present step of a path through ``first``, ``top``, (``first`` again and) ``last``."""
        path = [first, top, last] if len(self._ends) == 2 else [first, top, first, last]
        # The last phase has no end, for the last call of `step` lies behind it.
        phase = sum(self.last_epoch > end for end in self._ends[:-1])
        begin = self._ends[phase - 1] if phase else 0.0
        way = (self.last_epoch - begin) / (self._ends[phase] - begin)
        start, end = path[phase], path[phase + 1]
        if self.anneal_strategy == "linear":
            return start + (end - start) * way
        return end + (start - end) / 2 * (1 + math.cos(math.pi * way))


def _total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    if total_steps is not None:
        _check_count("OneCycleLR", total_steps=total_steps)
        return total_steps
    if epochs is None or steps_per_epoch is None:
        raise ValueError(
            "OneCycleLR needs total_steps, or both epochs and steps_per_epoch; "
            f"got epochs={epochs} and steps_per_epoch={steps_per_epoch}"
        )
    _check_count("OneCycleLR", epochs=epochs, steps_per_epoch=steps_per_epoch)
    return epochs * steps_per_epoch


def _phase_ends(total_steps: int, pct_start: float, three_phase: bool) -> list[float]:
    """Last step of each phase, counted as PyTorch does."""
    largest = 0.5 if three_phase else 1.0
    if not 0 <= pct_start <= largest or pct_start == 1:
        raise ValueError(
            f"OneCycleLR needs pct_start in [0, 1), at most 0.5 with three_phase=True, got {pct_start}"
        )
    rise = pct_start * total_steps
    if 0 < rise <= 1:
        raise ValueError(
            f"OneCycleLR needs total_steps * pct_start > 1 to rise at all, "
            f"got total_steps={total_steps} and pct_start={pct_start}; "
            f"count updates, not epochs, or raise pct_start"
        )
    return [rise - 1, 2 * rise - 2, total_steps - 1] if three_phase else [rise - 1, total_steps - 1]


def _set_initial(groups: Sequence[dict[str, Any]], rates: Sequence[float]) -> None:
    for group, rate in zip(groups, rates, strict=True):
        group["initial_lr"] = group["lr"] = rate


def _check_count(owner: str, **values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{owner} needs {name} to be an integer above zero, got {value!r}")

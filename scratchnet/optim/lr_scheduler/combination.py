"""Schedules made of schedules: one after another, or all at once."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from scratchnet.optim.lr_scheduler.plateau import ReduceLROnPlateau
from scratchnet.optim.lr_scheduler.scheduler import LRScheduler, check_increasing, check_optimizer
from scratchnet.optim.optimizer import Optimizer


class Combination(LRScheduler):
    """A schedule made of others, whose states lie in its own."""

    _not_state = LRScheduler._not_state | {"_schedulers"}

    def __init__(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]) -> None:
        self._schedulers = list(schedulers)
        self._check_parts(optimizer)
        self.optimizer = self._schedulers[0].optimizer
        self.base_lrs = [group["initial_lr"] for group in self.optimizer.param_groups]

    def _check_parts(self, optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if not self._schedulers:
            raise ValueError(f"{name} needs at least one schedule, got none")
        for position, scheduler in enumerate(self._schedulers):
            if isinstance(scheduler, ReduceLROnPlateau) or not isinstance(scheduler, LRScheduler):
                raise TypeError(
                    f"{name} needs schedules that count steps, got {type(scheduler).__name__} "
                    f"at position {position}; call a ReduceLROnPlateau's step beside it"
                )
            if scheduler.optimizer is not (optimizer or self._schedulers[0].optimizer):
                raise ValueError(
                    f"{name} needs schedules of one optimiser, got another's at position {position}"
                )

    def _record(self) -> None:
        self._last_lr = [float(group["lr"]) for group in self._groups]

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that this schedule and its parts know, functions excepted."""
        return {**super().state_dict(), "_schedulers": [part.state_dict() for part in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on where another schedule of the same parts stood.

        Args:
            state_dict: What `state_dict` gave there.

        Raises:
            KeyError: If names are missing or unknown.
            ValueError: If there are more or fewer parts.
        """
        own = dict(state_dict)
        parts = own.pop("_schedulers", [])
        if len(parts) != len(self._schedulers):
            raise ValueError(
                f"{type(self).__name__} needs the states of its {len(self._schedulers)} parts, got {len(parts)}"
            )
        super().load_state_dict(own)
        for part, state in zip(self._schedulers, parts, strict=True):
            part.load_state_dict(state)


class SequentialLR(Combination):
    """One schedule after another: each begins at its milestone, from the initial rates.

    Args:
        optimizer: Whose rates to set.
        schedulers: Schedules of this optimiser, in their order.
        milestones: Steps at which the second and those after it begin, increasing.
        last_epoch: See `LRScheduler`; the parts need not be told.

    Raises:
        ValueError: If the milestones do not increase or do not fit, or a part has another optimiser.
        TypeError: If a part does not count steps, as `ReduceLROnPlateau`.

    Example:
        >>> from scratchnet import nn, optim
        >>> optimizer = optim.SGD([nn.Parameter([0.0])], lr=0.4)
        >>> parts = [optim.lr_scheduler.LinearLR(optimizer, 0.5, total_iters=2)]
        >>> parts += [optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]
        >>> schedule = SequentialLR(optimizer, parts, milestones=[2])
        >>> for _ in range(3):
        ...     schedule.step()
        >>> schedule.get_last_lr()
        [0.2]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("SequentialLR", optimizer)
        self._milestones = list(milestones)
        check_increasing("SequentialLR", self._milestones)
        if len(self._milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR needs one milestone between each two schedules, "
                f"got {len(schedulers)} schedules and {len(self._milestones)} milestones"
            )
        super().__init__(optimizer, schedulers)
        self._begin(last_epoch + 1)

    def step(self) -> None:
        """Goes one step on and sets the rates."""
        step = self.last_epoch + 1
        if step in self._milestones:
            self._begin(step)
        else:
            self.last_epoch = step
            self._schedulers[bisect_right(self._milestones, step)].step()
            self._record()

    def _begin(self, step: int) -> None:
        self.last_epoch = step
        index = bisect_right(self._milestones, step)
        begun = self._milestones[index - 1] if index else 0
        self._schedulers[index]._restart(step - begun)
        self._record()


class ChainedScheduler(Combination):
    """Several schedules at once: each goes on from the rate that the one before has set.

    Schedules that multiply a base give the product of their shares. One that sets the rate whatever it
    was (`LambdaLR`, `CosineAnnealingWarmRestarts`, `CyclicLR`, `OneCycleLR`) writes over those before it.

    Args:
        schedulers: Schedules of one optimiser, each made without the others in mind.
        optimizer: Whose rates to set; the parts' own if None.

    Raises:
        ValueError: If there is no part, or they have several optimisers.
        TypeError: If a part does not count steps, as `ReduceLROnPlateau`.

    Example:
        >>> from scratchnet import nn, optim
        >>> optimizer = optim.SGD([nn.Parameter([0.0])], lr=0.4)
        >>> warm_up = optim.lr_scheduler.ConstantLR(optimizer, 0.5, total_iters=2)
        >>> schedule = ChainedScheduler([warm_up, optim.lr_scheduler.ExponentialLR(optimizer, 0.5)])
        >>> schedule.step()
        >>> schedule.get_last_lr()
        [0.1]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        super().__init__(optimizer, schedulers)
        self.last_epoch = self._schedulers[0].last_epoch
        self._record()

    def step(self) -> None:
        """Takes every part one step on."""
        self.last_epoch += 1
        for part in self._schedulers:
            part.step()
        self._record()

    def _begin(self, step: int) -> None:
        self.last_epoch = step
        for part in self._schedulers:
            part._begin(step)
        self._record()

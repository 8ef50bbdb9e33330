"""What all schedules share: whose rates they set, the step that they count, their state.

A schedule's step counts its own calls of `step`, once an epoch or once an update, as its user likes.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from scratchnet.optim.optimizer import Optimizer


class LRScheduler:
    """Sets the learning rate of every group of an optimiser; each subclass says to what.

    A schedule takes hold when it is made. Call `step` after the optimiser's own. A subclass writes
    `get_lr`, one rate for each group at ``last_epoch``.

    Args:
        optimizer: Whose rates to set. Every group gets ``"initial_lr"``, the rate that it came with.
        last_epoch: −1 to begin; k to go on after step k, with an optimiser whose groups have their
            ``"initial_lr"`` from then.

    Attributes:
        base_lrs: Each group's initial rate.
        last_epoch: Steps taken.

    Raises:
        TypeError: If there is no optimiser.
        KeyError: If a schedule is to go on, and a group has no initial rate.

    Example:
        >>> from scratchnet import nn, optim
        >>> class Halving(LRScheduler):
        ...     def get_lr(self):
        ...         return [base / 2**self.last_epoch for base in self.base_lrs]
        >>> schedule = Halving(optim.SGD([nn.Parameter([0.0])], lr=0.8))
        >>> schedule.step()
        >>> schedule.get_last_lr()
        [0.4]
    """

    # What a state dict leaves out, for it cannot be written to a file.
    _not_state = frozenset({"optimizer"})

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = check_optimizer(type(self).__name__, optimizer)
        self.base_lrs = [self._initial_lr(group, last_epoch) for group in optimizer.param_groups]
        if last_epoch == -1:
            self._begin(0)
        else:
            self._resume(last_epoch + 1)

    def _initial_lr(self, group: dict[str, Any], last_epoch: int) -> float:
        if last_epoch != -1 and "initial_lr" not in group:
            raise KeyError(
                f'{type(self).__name__} needs "initial_lr" in every group to go on from '
                f"last_epoch={last_epoch}, got only {sorted(group)}; "
                f"leave last_epoch out to begin, or use load_state_dict"
            )
        return float(group.setdefault("initial_lr", group["lr"]))

    @property
    def _groups(self) -> list[dict[str, Any]]:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise ValueError(
                f"{type(self).__name__} needs the {len(self.base_lrs)} groups that it was made for, "
                f"got {len(groups)}; make the schedule after the last group was added"
            )
        return groups

    def get_lr(self) -> list[float]:
        """Rates at ``last_epoch``, one for each group; every subclass writes its own."""
        raise TypeError(f"{type(self).__name__} needs a get_lr method")

    def get_last_lr(self) -> list[float]:
        """Rates that this schedule has set last, one for each group."""
        return list(self._last_lr)

    def step(self) -> None:
        """Goes one step on and sets the rates."""
        self._move_to(self.last_epoch + 1)

    def _restart(self, step: int) -> None:
        self._set_rates(self.base_lrs)
        self._begin(step)

    def _begin(self, step: int) -> None:
        self._move_to(step)

    def _resume(self, step: int) -> None:
        self._move_to(step)

    def _move_to(self, step: int) -> None:
        self.last_epoch = step
        self._set_rates(self.get_lr())

    def _set_rates(self, rates: Sequence[float]) -> None:
        # Python's own floats: one of NumPy's would widen float32 weights.
        self._last_lr = [float(rate) for rate in rates]
        for group, rate in zip(self._groups, self._last_lr, strict=True):
            group["lr"] = rate

    # ------------------------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the schedule knows, functions excepted; the optimiser has its own state."""
        return {
            name: copy.deepcopy(value) for name, value in vars(self).items() if name not in self._not_state
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on where another schedule of this class stood; the rates are the optimiser's to load.

        Args:
            state_dict: What `state_dict` gave there.

        Raises:
            KeyError: If names are missing or unknown; nothing is changed then.
        """
        known = vars(self).keys() - self._not_state
        missing, unknown = sorted(known - state_dict.keys()), sorted(state_dict.keys() - known)
        if missing or unknown:
            raise KeyError(
                f"{type(self).__name__} needs a state of its own class; "
                f"missing: {missing or 'none'}, unknown: {unknown or 'none'}"
            )
        vars(self).update(copy.deepcopy(dict(state_dict)))


class ClosedFormLR(LRScheduler):
    """Sets η(t) = floor + (base − floor) · share(t), a function of the step t alone.

    PyTorch multiplies the last rate at each step: it keeps what others do to a rate in between, and
    drifts by a rounding error a step. Here nothing drifts, and what others do is kept too: a rate that is
    not the one set last tells from which base it would have come, and the schedule goes on from that.

    A subclass writes `share`, and `floor` where that is not zero.
    """

    @property
    def floor(self) -> float:
        """Rate where the share is zero."""
        return 0.0

    def share(self, step: int) -> float:
        """Share of the way from the floor to the base at a step; every subclass writes its own."""
        raise TypeError(f"{type(self).__name__} needs a share method")

    def get_lr(self) -> list[float]:
        """See the class."""
        floor, share = self.floor, self.share(self.last_epoch)
        return [floor + (base - floor) * share for base in self._bases]

    def step(self) -> None:
        """Goes one step on and sets the rates."""
        self._follow()
        super().step()

    def _begin(self, step: int) -> None:
        # The present rates and not the initial ones: another schedule may have been made before.
        self._bases = [float(group["lr"]) for group in self._groups]
        super()._begin(step)

    def _resume(self, step: int) -> None:
        # The rates stand as they were left, whoever else had a part in them.
        self.last_epoch = step
        self._bases = list(self.base_lrs)
        self._set_rates([group["lr"] for group in self._groups])
        self._bases = self._bases_behind(self._last_lr)

    def _follow(self) -> None:
        rates = [float(group["lr"]) for group in self._groups]
        behind = self._bases_behind(rates)
        for index, (rate, last) in enumerate(zip(rates, self._last_lr, strict=True)):
            if rate != last:
                self._bases[index] = behind[index]

    def _bases_behind(self, rates: Sequence[float]) -> list[float]:
        floor, share = self.floor, self.share(self.last_epoch)
        if share == 0:  # Every base leads to the floor.
            return list(self._bases)
        return [floor + (rate - floor) / share for rate in rates]


def check_optimizer(owner: str, optimizer: Any) -> Optimizer:
    """Refuses anything but an optimiser.

    Raises:
        TypeError: Naming the schedule and what came.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{owner} needs an optimiser, got {type(optimizer).__name__}; make one first, "
            f"for instance optim.SGD(model.parameters(), lr=0.1)"
        )
    return optimizer


def check_positive(owner: str, **values: float) -> None:
    """Refuses numbers that are not above zero.

    Raises:
        ValueError: Naming the schedule, the argument and what came.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{owner} needs {name} > 0, got {name}={value}")


def check_increasing(owner: str, milestones: Sequence[float]) -> None:
    """Refuses milestones that are not each later than the one before, the first after step zero.

    Raises:
        ValueError: Naming the schedule and what came.
    """
    if any(after <= before for before, after in zip([0, *milestones], milestones, strict=False)):
        raise ValueError(f"{owner} needs milestones that increase from above zero, got {list(milestones)}")


def per_group(owner: str, name: str, value: Any, groups: Sequence[Any]) -> list[float]:
    """One number for each group, out of one for all or a sequence of them.

    Raises:
        ValueError: If a sequence has another length.
    """
    if not isinstance(value, list | tuple):
        return [float(value)] * len(groups)
    if len(value) != len(groups):
        raise ValueError(f"{owner} needs one {name} for each of {len(groups)} groups, got {len(value)}")
    return [float(number) for number in value]

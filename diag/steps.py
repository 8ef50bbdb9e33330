"""Steps that have ended, kept until several can be worked out together, which takes hardly longer than one."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from diag.columns import side_by_side
from diag.events import Readings
from diag.plan import Plan, Taken


class Ended(NamedTuple):
    """A step with its readings, and the time when it ended, in seconds since 1970."""

    step: int
    wall_time: float
    readings: Readings


class EndedSteps:
    """Takes in steps one by one, and gives their readings many at a time.

    Args:
        most: Steps that may wait.
        seconds: The longest that a step waits for the next, as long as there is one.
        clock: Seconds, monotonic.

    Example:
        >>> from diag.columns import of_network
        >>> steps, plan = EndedSteps(most=2), Plan([of_network(("learning_rate",)).cells])
        >>> steps.add(0, [Taken(plan, np.array([0.1]))])
        []
        >>> [ended.readings.values.tolist() for ended in steps.add(1, [Taken(plan, np.array([0.2]))])]
        [[0.1], [0.2]]
    """

    def __init__(
        self, *, most: int = 32, seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._since = clock()
        self._plans: list[Plan] = []
        self._waiting: list[tuple[int, float, Sequence[Taken]]] = []

    def add(self, step: int, parts: Sequence[Taken]) -> list[Ended]:
        """Takes in a step; the steps that have waited long enough, in order.

        Args:
            step: Its number.
            parts: Its numbers, in several lots.
        """
        plans = [part.plan for part in parts]
        # Plans are compared as what they are: equal ones would be one and the same.
        ended = [] if plans == self._plans else self.take()
        self._plans = plans
        self._waiting.append((step, time.time(), parts))
        return ended + self.take() if self.are_due else ended

    @property
    def are_due(self) -> bool:
        """Whether steps have waited long enough."""
        return bool(self._waiting) and (
            len(self._waiting) >= self._most or self._clock() - self._since >= self._seconds
        )

    def take(self) -> list[Ended]:
        """The steps that wait, in order; forgets them."""
        waiting, self._waiting = self._waiting, []
        self._since = self._clock()
        if not waiting:
            return []
        lots = zip(*(parts for _, _, parts in waiting), strict=True)
        blocks = [
            plan.block(np.stack([part.numbers for part in lot]))
            for plan, lot in zip(self._plans, lots, strict=True)
        ]
        columns = side_by_side(*(plan.columns for plan in self._plans))
        rows = np.concatenate(blocks, axis=1)
        return [
            Ended(step, wall_time, Readings(columns, row))
            for (step, wall_time, _), row in zip(waiting, rows, strict=True)
        ]

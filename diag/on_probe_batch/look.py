"""What every look at a fixed batch has in common, and when it is taken."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from diag.capture import Capture
from diag.events import Reading

Closure = Callable[[], Any]


class Look(Protocol):
    """Something that is measured on a fixed batch.

    Attributes:
        work: What it is called where it fails.
        is_beside_the_rest: Whether its readings stand in rows with those of recorded steps.
    """

    work: str
    is_beside_the_rest: bool

    def readings(self, capture: Capture) -> Iterator[Reading]:
        """What is read now; without the name of the pair."""


@dataclass
class Regularly:
    """A look at one watched pair every so many steps.

    What stands beside the rest is taken at recorded steps alone, for a row of its own would be a hole in every
    other series.
    """

    look: Look
    capture: Capture
    every: int
    _last: int | None = None

    def __post_init__(self) -> None:
        check_numbers(self.look.work, every=self.every)

    def is_due(self, step: int, is_recorded: bool) -> bool:
        """Whether the look is to be taken before this step."""
        if not self.look.is_beside_the_rest:
            return step % self.every == 0
        return is_recorded and (self._last is None or step - self._last >= self.every)

    def take(self, step: int, guard: Callable[[str, str], AbstractContextManager[None]]) -> list[Reading]:
        """The readings of this step, as far as they could be had."""
        self._last = step
        prefix = f"{self.capture.name}." if self.capture.name else ""
        readings: list[Reading] = []
        with guard(self.look.work, self.capture.name), np.errstate(all="ignore"):
            for each in self.look.readings(self.capture):
                is_of_network = each.axis in ("network", "curvature")
                readings.append(each._replace(name=prefix + each.name) if is_of_network else each)
        return readings


def check_closures(work: str, closures: Sequence[Closure]) -> None:
    """Makes sure that all of them can be called.

    Raises:
        TypeError: If one cannot.
    """
    for closure in closures:
        if not callable(closure):
            raise TypeError(f"{work} needs a closure that returns the loss, got {type(closure).__name__}")


def check_numbers(work: str, **numbers: int) -> None:
    """Makes sure that all of them are at least 1.

    Raises:
        ValueError: If one is not.
    """
    for label, value in numbers.items():
        if value < 1:
            raise ValueError(f"{work} needs {label} >= 1, got {value}")

"""Timing that a shared machine cannot fool too easily: sides take turns, and a ratio is taken turn by turn."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

# After their last task the threads of BLAS and of OpenMP spin for a while, in the way of the other side's.
_REST = 0.1


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table.

    Attributes:
        case: What was measured.
        figure: The ratio that decides, a median over turns.
        unit: Of the figure.
        limit: What the figure must not exceed, or must reach, or None.
        least: The smallest ratio of any turn.
        at_least: Whether the limit is to be reached.
    """

    case: str
    figure: float
    unit: str
    limit: float | None
    least: float
    at_least: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the figure keeps the limit."""
        if self.limit is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "case": self.case,
            "figure": self.figure,
            "unit": self.unit,
            "limit": self.limit,
            "at_least": self.at_least,
            "holds": self.holds,
            "minimum": self.least,
        }


def ratios(
    base: Callable[[], None], others: Mapping[str, Callable[[], None]], *, turns: int, warm_up: int
) -> dict[str, list[float]]:
    """Seconds of each other side over seconds of the base, turn by turn; the first turns count for nothing.

    In each turn the sides come in another order, so that none has the same one before it every time.
    """
    found: dict[str, list[float]] = {name: [] for name in others}
    sides = {"": base, **others}
    order = np.random.default_rng(0)
    for turn in range(warm_up + turns):
        took = {name: seconds(sides[name]) for name in order.permutation(list(sides)).tolist()}
        if turn >= warm_up:
            for name, ratios_so_far in found.items():
                ratios_so_far.append(took[name] / took[""])
    return found


def row(case: str, values: list[float], limit: float | None, *, unit: str, at_least: bool = False) -> Row:
    """The row for the ratios of one side."""
    return Row(case, median(values), unit, limit, min(values), at_least)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "processor": platform.machine(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def seconds(side: Callable[[], None]) -> float:
    """How long one turn takes, after a rest."""
    time.sleep(_REST)
    start = time.perf_counter()
    side()
    return time.perf_counter() - start

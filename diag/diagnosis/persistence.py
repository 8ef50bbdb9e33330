"""When something began, and whether it lasts: what tells a symptom from a flicker."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Spell:
    """A symptom that holds to the end of what was recorded.

    Attributes:
        start: Index of its first reading.
        step: At which that was.
        last_healthy_step: The recorded step before it; None if it began with the first.
        readings: How many there are of it.
    """

    start: int
    step: int
    last_healthy_step: int | None
    readings: int


def lasting(mask: Mask, steps: NDArray[np.int64], least: int = 3) -> Spell | None:
    """The symptom's last spell, if it goes on to the end and has at least so many readings.

    Example:
        >>> lasting(np.array([True, False, True, True, True]), np.arange(0, 50, 10))
        Spell(start=2, step=20, last_healthy_step=10, readings=3)
    """
    start = begins_to_last(mask, least)
    if start is None:
        return None
    return Spell(start, int(steps[start]), last_healthy(steps, start), len(mask) - start)


def first_lasting(masks: Mask, steps: NDArray[np.int64]) -> tuple[Spell, int, int] | None:
    """Of several symptoms, a column each: the spell that began first, its column, and how many last."""
    spells = [(spell, column) for column, mask in enumerate(masks.T) if (spell := lasting(mask, steps))]
    if not spells:
        return None
    return *min(spells, key=lambda each: each[0].step), len(spells)


def begins_to_last(mask: Mask, least: int = 3) -> int | None:
    """Index from which a symptom holds to the end, over at least so many readings; None if it does not.

    Example:
        >>> begins_to_last(np.array([True, False, True, True, True]))
        2
        >>> begins_to_last(np.array([True, True, False])) is None
        True
    """
    healthy = np.flatnonzero(~mask)
    start = int(healthy[-1]) + 1 if healthy.size else 0
    return start if len(mask) - start >= least else None


def last_healthy(steps: NDArray[np.int64], onset: int) -> int | None:
    """The recorded step before the onset (an index); None if it began with the first."""
    return int(steps[onset - 1]) if onset > 0 else None


def smoothed(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Running median over the last ``width`` readings; one outlier in three moves nothing."""
    if width <= 1 or not len(values):
        return values
    padded = np.concatenate([np.repeat(values[:1], width - 1), values])
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)

"""When something began, and whether it lasts: what tells a symptom from a flicker."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


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

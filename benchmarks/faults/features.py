"""A log as a short list of numbers, for whoever learns from logs instead of reading them by rules."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import diag

Values = NDArray[np.float64]

# What the machine did, and not what the network learned.
CLOCKS = frozenset({"wall_time", "recording_seconds"})
# What whoever trains has chosen. Healthy runs are drawn over it and mutants are not, so a detector that knew it would
# learn to tell the two draws apart, and not what is sick from what is well.
CHOICES = frozenset({"learning_rate", "batch_size", "stability_threshold", "gradient_noise_examples"})
# So many-th part of the readings says how a run ended.
LAST_PART = 8
# Beyond it numbers are all alike, and their squares are none.
LARGEST = 1e100


class Course(NamedTuple):
    """What became of one column over a run; the trend is its correlation with time."""

    first: float
    last: float
    least: float
    median: float
    largest: float
    trend: float


def features(log: diag.Log) -> dict[str, float]:
    """Where each series starts and ends, its range, and how it goes along with time.

    Of layers and of parameters the least, the middle and the largest column of each. Left out are `CLOCKS`,
    `CHOICES`, what was recorded for rivals, and what is no number.

    Returns:
        By axis, series and what was made of it, such as ``"layers gradient_norm last least"``; six digits each.
    """
    found: dict[str, float] = {}
    for axis, names in log.names.items():
        for name in names:
            if name not in CLOCKS | CHOICES and not name.startswith("rival_"):
                values = log.series(name, axis).values
                of_series = _of_columns(values) if axis in ("layers", "parameters") else _of_one(values)
                found |= {f"{axis} {name} {what}": float(f"{number:.6g}") for what, number in of_series}
    return found


def course(values: Values) -> Course | None:
    """What became of one column; None where it has no number at all.

    Example:
        >>> course(np.array([4.0, np.nan, 2.0, 1.0]))._asdict()["last"]
        1.0
    """
    steps = np.flatnonzero(~np.isnan(values))
    if not len(steps):
        return None
    told = np.clip(values[steps], -LARGEST, LARGEST)
    end = told[-max(len(told) // LAST_PART, 1) :]
    low, middle, high = told.min(), np.median(told), told.max()
    return Course(*map(float, (told[0], np.median(end), low, middle, high, _trend(steps, told))))


def _trend(steps: NDArray[np.int64], told: Values) -> float:
    if np.ptp(told) == 0:
        return 0.0
    return float(np.corrcoef(steps, told / np.abs(told).max())[0, 1])


def _of_one(values: Values) -> Iterator[tuple[str, float]]:
    # Of eigenvalues the first is the largest.
    told = course(values.reshape(len(values), -1)[:, 0])
    if told is not None:
        yield from told._asdict().items()


def _of_columns(values: Values) -> Iterator[tuple[str, float]]:
    table = np.array([told for column in values.T if (told := course(column)) is not None])
    if len(table):
        for over, of_columns in (("least", np.min), ("median", np.median), ("largest", np.max)):
            for what, number in zip(Course._fields, of_columns(table, axis=0), strict=True):
                yield f"{what} {over}", float(number)

"""One look at each series of a log: what a report says of it is kept, its numbers are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diag.log import HistogramSeries, Log, Series
from diag.reporting.reduction import Array, Blocks, Indices, NumberRow, blocks, number_row

_MOST_ROWS, _MOST_COLUMNS = 120, 400

# The series of layers or parameters that a report draws as a map, and what a block of it becomes.
MAPS: Mapping[tuple[str, str], Literal["maximum", "mean"]] = MappingProxyType(
    {
        ("layers", "gradient_norm"): "maximum",
        ("parameters", "update_ratio"): "maximum",
        ("layers", "dead_unit_rate"): "mean",
        ("layers", "saturation_rate"): "mean",
    }
)


@dataclass(frozen=True)
class Map:
    """A table of layer × step, small enough to draw.

    Attributes:
        names: Of the rows that have a number at all.
        table: Their values, reduced.
        rows: What each row comes to.
    """

    names: tuple[str, ...]
    table: Blocks
    rows: tuple[NumberRow, ...]


@dataclass(frozen=True, eq=False)
class Digest:
    """What a report says of a series.

    Attributes:
        steps: The recorded steps.
        columns: Layers, parameters or indices.
        numbers: How many readings of each column are numbers, shape ``(columns,)``.
        last: The last number of each column, NaN where there is none, shape ``(columns,)``.
        map: The map of it; None where none is drawn, or nothing is a number.
    """

    steps: Indices
    columns: tuple[str, ...]
    numbers: Indices
    last: Array
    map: Map | None


class Survey(Log):
    """A log that keeps a digest of each series when somebody reads it, so that a report need not read it again.

    A long run is larger than memory should be, and reading it takes most of the time of a report: whoever
    diagnoses and reports does both with one survey. Do not refresh the log in between.

    Args:
        log: Of the run.
    """

    def __init__(self, log: Log) -> None:
        self.path, self.run, self.state, self.end_reason = log.path, log.run, log.state, log.end_reason
        self.steps, self.happenings, self.ranks = log.steps, log.happenings, log.ranks
        self.model, self.names = log.model, log.names
        self._log = log
        self._digests: dict[tuple[str, str], Digest] = {}

    @classmethod
    def of(cls, log: Log) -> "Survey":
        """The log itself where it is a survey already."""
        return log if isinstance(log, cls) else cls(log)

    def series(self, name: str, of: str | None = None) -> Series:
        """As `Log.series`; takes note of what is read."""
        series = self._log.series(name, self._table_of(name, of))
        if (series.axis, name) not in self._digests:
            self._digests[series.axis, name] = _digest(series)
        return series

    @property
    def histograms(self) -> tuple[str, ...]:
        """As `Log.histograms`."""
        return self._log.histograms

    def histogram(self, name: str) -> HistogramSeries:
        """As `Log.histogram`."""
        return self._log.histogram(name)

    def rank(self, rank: int) -> Log:
        """As `Log.rank`."""
        return self._log.rank(rank)

    def digest(self, axis: str, name: str) -> Digest:
        """What a report says of a series, which is read only if nobody has before."""
        if (axis, name) not in self._digests:
            self.series(name, of=axis)
        return self._digests[axis, name]


def _digest(series: Series) -> Digest:
    is_number = ~np.isnan(series.values)
    numbers = np.count_nonzero(is_number, axis=0)
    reduce = MAPS.get((series.axis, series.name))
    return Digest(
        series.steps,
        series.columns,
        numbers,
        _last_numbers(series.values, is_number, numbers),
        None if reduce is None or not numbers.any() else _map(series, numbers > 0, reduce),
    )


def _last_numbers(values: Array, is_number: NDArray[np.bool_], numbers: Indices) -> Array:
    if not len(values):
        return np.full(values.shape[1], np.nan)
    last = values[-1].copy()
    # Hardly ever one: a column that fell silent before the end.
    for place in np.flatnonzero(~is_number[-1] & (numbers > 0)):
        last[place] = values[np.flatnonzero(is_number[:, place])[-1], place]
    return last


def _map(series: Series, heard: NDArray[np.bool_], reduce: Literal["maximum", "mean"]) -> Map:
    places = np.flatnonzero(heard)
    names = tuple(series.columns[place] for place in places)
    values = series.values.T if heard.all() else series.values[:, places].T
    rows = tuple(number_row(name, series.steps, row) for name, row in zip(names, values, strict=True))
    return Map(names, blocks(values, _MOST_ROWS, _MOST_COLUMNS, reduce), rows)

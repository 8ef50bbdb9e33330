"""Rows that wait in memory until they are written: one buffer for each table of the log."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diag.events import Axis, Columns, Happening, Reading, Readings
from diag.log.schema import (
    KIND_WIDTH,
    MESSAGE_WIDTH,
    NAME_WIDTH,
    SCALAR_CHUNK,
    TEXT_CHUNK,
    AxisSchema,
    check_reading,
    check_scalar_name,
)
from diag.log.text import cells

# Readings may come by the hundred, and training waits meanwhile: these keep the loop out of Python.
_CELL = attrgetter("name", "subject")
_VALUE = attrgetter("value")

Pending = Mapping[str, Mapping[str, NDArray[Any]]]


def kept(reading: Reading) -> Reading:
    """A reading that may wait: checked, and its value copied.

    Raises:
        ValueError: If the reading has no place in a log, or its value is no number.
    """
    check_reading(reading)
    try:
        return reading._replace(value=np.array(reading.value, np.float64))
    except (TypeError, ValueError) as error:
        raise _no_number(reading) from error


class AxisRows:
    """Rows of one axis: the cells of all its series side by side, NaN where nothing was read.

    Readings of one step share a row, however many calls bring them, and even where a flush falls
    between two calls: the row is then written once more, whole.
    """

    def __init__(self, axis: Axis, schema: AxisSchema, capacity: int):
        self.group: str = axis
        self.count = 0
        self._lengths = schema.lengths
        self._places = self._all_places(schema)
        self._places_of = lru_cache(maxsize=4)(self._find)
        self._width = len(schema.columns)
        self._block = np.full((capacity, len(schema.lengths) * max(1, self._width)), np.nan)
        self._steps = np.zeros(capacity, np.int64)
        self._step: int | None = None
        self._row = 0

    @property
    def is_full(self) -> bool:
        """Whether a whole chunk is waiting."""
        return self.count == len(self._steps)

    def fit(self, readings: Sequence[Reading]) -> bool:
        """Whether the series, subjects and lengths of the readings have a place here."""
        if isinstance(readings, Readings):
            return self._places_of(readings.columns) is not None
        return self._places.keys() >= set(map(_CELL, readings))

    def put(self, step: int, readings: Sequence[Reading]) -> None:
        """Keeps readings of a step; the last one of a cell counts.

        Raises:
            ValueError: If one is no number; none of them is then kept.
        """
        try:
            places, values = self._cells_of(readings)
        except (TypeError, ValueError) as error:
            # All of them are converted in one call, which does not say where it failed.
            for reading in readings:
                kept(reading)
            raise error
        if step != self._step or not self.count:
            self._begin(step)
        self._block[self._row, places] = values

    def put_many(self, steps: Sequence[int], columns: Columns, values: NDArray[np.float64]) -> None:
        """Keeps readings of several steps: `put` of each, done at once where each begins a row of its own.

        Args:
            steps: In the order in which they were read, at most as many as there is `room` for.
            columns: What was read; it fits.
            values: Shape ``(steps, columns)``.
        """
        if not _begin_rows(self._step, steps):
            for step, row in zip(steps, values, strict=True):
                self.put(step, Readings(columns, row))
            return
        rows = slice(self.count, self.count + len(steps))
        self._block[rows] = np.nan
        self._block[rows, self._places_of(columns)] = values
        self._steps[rows] = steps
        self._step, self._row, self.count = steps[-1], rows.stop - 1, rows.stop

    @property
    def room(self) -> int:
        """How many rows there are until a whole chunk is waiting."""
        return len(self._steps) - self.count

    def carry(self, earlier: "AxisRows") -> None:
        """Remembers the last row of an earlier segment, in case there is more to come of its step."""
        self._step = earlier._step
        for cell, place in earlier._places.items():
            self._block[0, self._places[cell]] = earlier._block[earlier._row, place]

    def pending(self) -> Pending:
        """What waits, by the dimension along which it grows."""
        if not self.count:
            return {}
        series = {}
        for index, (name, length) in enumerate(self._lengths.items()):
            start = index * max(1, self._width)
            columns = slice(start, start + self._width) if length else start
            series[name] = self._block[: self.count, columns]
        return {"step": {"step": self._steps[: self.count], **series}}

    def clear(self) -> None:
        """Forgets what waits, except the last row, which its step may still complete."""
        self.count = 0

    def _begin(self, step: int) -> None:
        self._block[self.count] = self._block[self._row] if step == self._step else np.nan
        self._steps[self.count] = step
        self._step, self._row = step, self.count
        self.count += 1

    def _all_places(self, schema: AxisSchema) -> dict[tuple[str, str], int]:
        columns = schema.columns or ("",)
        cells_in_order = ((name, column) for name in schema.lengths for column in columns)
        return {cell: place for place, cell in enumerate(cells_in_order)}

    def _find(self, columns: Columns) -> NDArray[np.intp] | None:
        """The places of all the columns, or None if one has none."""
        found = [self._places.get((cell.name, cell.subject)) for cell in columns.cells]
        return None if None in found else np.array(found, np.intp)

    def _cells_of(self, readings: Sequence[Reading]) -> tuple[Any, NDArray[np.float64]]:
        if isinstance(readings, Readings):
            return self._places_of(readings.columns), readings.values
        places = list(map(self._places.__getitem__, map(_CELL, readings)))
        values = np.array(list(map(_VALUE, readings)), np.float64)
        if values.ndim > 1:
            raise ValueError("a reading of several numbers")
        return places, values


def _begin_rows(last: int | None, steps: Sequence[int]) -> bool:
    """Whether each of the steps is another one than the step before it."""
    return all(before != step for before, step in pairwise([last, *steps]))


class CurvatureRows(AxisRows):
    """Rows of curvature, where a reading without subject may fill several columns."""

    def put_many(self, steps: Sequence[int], columns: Columns, values: NDArray[np.float64]) -> None:
        """Keeps readings of several steps, one after the other; see `AxisRows.put_many`."""
        for step, row in zip(steps, values, strict=True):
            self.put(step, Readings(columns, row))

    def fit(self, readings: Sequence[Reading]) -> bool:
        """Whether the series and lengths of the readings have a place here."""
        return all(self._fits(reading) for reading in readings)

    def _fits(self, reading: Reading) -> bool:
        if reading.subject or reading.name not in self._lengths:
            return False
        return np.ndim(reading.value) == 0 or max(1, np.size(reading.value)) <= self._lengths[reading.name]

    def _all_places(self, schema: AxisSchema) -> dict[tuple[str, str], int]:
        width = max(1, len(schema.columns))
        return {
            (name, str(column)): index * width + column
            for index, (name, length) in enumerate(schema.lengths.items())
            for column in range(max(1, length))
        }

    def _cells_of(self, readings: Sequence[Reading]) -> tuple[Any, NDArray[np.float64]]:
        places, values = [], []
        for name, _, value, _ in readings:
            length = max(1, self._lengths[name])
            row = np.full(length, np.nan)
            row[: np.size(value)] = np.ravel(value)
            places += [self._places[name, str(column)] for column in range(length)]
            values.append(row)
        return places, np.concatenate(values)


class ScalarRows:
    """The long table of scalars, and the names that it has met."""

    group: str = "scalars"

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._committed_names = 0
        self._rows: list[tuple[int, int, float]] = []

    @property
    def count(self) -> int:
        """How many values are waiting."""
        return len(self._rows)

    @property
    def is_full(self) -> bool:
        """Whether a whole chunk is waiting."""
        return len(self._rows) >= SCALAR_CHUNK

    def put(self, step: int, scalars: Mapping[str, float]) -> None:
        """Keeps the scalars of a step: all of them, or none if one has no place in a log."""
        values = {name: _number(name, value) for name, value in scalars.items()}
        for name in scalars:
            check_scalar_name(name)
        for name, value in values.items():
            self._rows.append((step, self._names.setdefault(name, len(self._names)), value))

    def pending(self) -> Pending:
        """What waits, by the dimension along which it grows."""
        if not self._rows:
            return {}
        step, name_index, value = zip(*self._rows, strict=True)
        rows: dict[str, NDArray[Any]] = {
            "step": np.array(step, np.int64),
            "name_index": np.array(name_index, np.int32),
            "value": np.array(value, np.float64),
        }
        new = list(self._names)[self._committed_names :]
        names = {"name": {"name": cells(new, NAME_WIDTH)}} if new else {}
        # Names first, so that their counter is never behind that of the rows that refer to them.
        return {**names, "step": rows}

    def clear(self) -> None:
        """Forgets what waits; names keep their index."""
        self._rows = []
        self._committed_names = len(self._names)


class HappeningRows:
    """Happenings; what is wider than its cell ends in "…"."""

    group: str = "happenings"

    def __init__(self) -> None:
        self._rows: list[Happening] = []

    @property
    def count(self) -> int:
        """How many happenings are waiting."""
        return len(self._rows)

    @property
    def is_full(self) -> bool:
        """Whether a whole chunk is waiting."""
        return len(self._rows) >= TEXT_CHUNK

    def put(self, happening: Happening) -> None:
        """Keeps a happening."""
        self._rows.append(happening)

    def pending(self) -> Pending:
        """What waits, by the dimension along which it grows."""
        if not self._rows:
            return {}
        step, kind, subject, message = zip(*self._rows, strict=True)
        return {
            "step": {
                "step": np.array(step, np.int64),
                "kind": cells(kind, KIND_WIDTH),
                "subject": cells(subject, NAME_WIDTH),
                "message": cells(message, MESSAGE_WIDTH),
            }
        }

    def clear(self) -> None:
        """Forgets what waits."""
        self._rows = []


def _no_number(reading: Reading) -> ValueError:
    return ValueError(
        f'The log needs a number for "{reading.name}" of "{reading.subject}"; got {reading.value!r}; '
        f"a probe that has none returns NaN"
    )


def _number(name: str, value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f'The log needs a number for the scalar "{name}"; got {value!r}') from error

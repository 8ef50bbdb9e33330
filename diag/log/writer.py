"""Writes the log of one process while it trains."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import numpy as np

from diag.events import Axis, Columns, Happening, Histogram, Model, Reading, Readings
from diag.log.compaction import compact
from diag.log.histograms import HistogramRows
from diag.log.live import LiveFile, Rows
from diag.log.rows import AxisRows, CurvatureRows, HappeningRows, ScalarRows, kept
from diag.log.schema import (
    AXES,
    CONTINUED,
    AxisSchema,
    Schema,
    by_axis,
    check_reading,
    extended,
    file_name,
    log_files,
)

# Of the rows that wait in memory.
MOST_BYTES = 1 << 22

# A step and what was read at it.
_Waiting = tuple[int, Readings]


class LogWriteError(OSError):
    """The log can no longer be written; what was flushed before stays readable."""


class LogWriter:
    """Writes the readings, scalars and happenings of a run, so that a kill loses only what was not flushed.

    The first recorded steps wait in memory, because HDF5 allows nothing new in a file that others may
    read: the file is created when a step beyond the warm-up arrives, or on `flush` or `close`, with a
    place for everything that was read until then. A reading that finds no place later, as after a change
    of the model, closes the file and opens the next segment. Rows are written when a chunk of them is
    full or some seconds have passed since the last flush, whichever comes first; this is looked at when
    something is written, so a run that writes nothing flushes nothing.

    Args:
        folder: Of the run; made if it is not there.
        describe: Called whenever a file is created: all that is watched, layers in order of execution.
        rank: Of this process; each has its own files.
        bins: What each bin of a histogram counts, where `write_histograms` is to be called.
        warm_up: How many recorded steps wait in memory for the schema.
        chunk_rows: Rows of a chunk; fewer where there are so many series and layers that they would not fit
            into a few megabytes.
        flush_seconds: The longest that a row waits for its chunk to fill.
        clock: Seconds, monotonic.

    Raises:
        ValueError: If a number makes no sense.
        FileExistsError: If the folder already holds a log of this rank; nothing in it is touched.

    Example:
        >>> from diag.events import Reading
        >>> from diag.log import Log
        >>> folder = Path(getfixture("tmp_path"))
        >>> writer = LogWriter(folder, describe=Model)
        >>> writer.write(0, [Reading("dead_unit_rate", "features.1", 0.71, "layers")])
        >>> writer.close()
        >>> Log(folder).series("dead_unit_rate").values.tolist()
        [[0.71]]
    """

    def __init__(
        self,
        folder: Path,
        *,
        describe: Callable[[], Model],
        rank: int = 0,
        bins: Sequence[str] = (),
        warm_up: int = 2,
        chunk_rows: int = 1024,
        flush_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        if rank < 0 or warm_up < 0 or chunk_rows < 1 or not flush_seconds >= 0:
            raise ValueError(
                f"LogWriter needs rank >= 0, warm_up >= 0, chunk_rows >= 1 and flush_seconds >= 0; "
                f"got {rank=}, {warm_up=}, {chunk_rows=}, {flush_seconds=}"
            )
        _refuse_a_folder_with_a_log(folder, rank)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._describe, self._rank, self._bins = folder, describe, rank, bins
        self._warm_up, self._chunk_rows, self._capacity = warm_up, chunk_rows, chunk_rows
        self._clock, self._flush_seconds, self._flushed_at = clock, flush_seconds, clock()
        self._warm: list[tuple[int, list[Reading]]] = []
        self._waiting: list[_Waiting] = []
        self._checked: Columns | None = None
        self._schema: Schema = {}
        self._rows: dict[Axis, AxisRows] = {}
        self._scalars, self._happenings, self._histograms = ScalarRows(), HappeningRows(), HistogramRows()
        self._file: LiveFile | None = None
        self._paths: list[Path] = []
        self._is_closed = self._is_dead = False

    def write(self, step: int, readings: Sequence[Reading]) -> None:
        """Writes the readings of one recorded step.

        May be called again for the same step, as for curvature: where a cell is read twice, the last
        reading counts.

        Args:
            step: The recorded step.
            readings: Of any axis. An array among them is copied; the vector of `Readings` is kept as it is.

        Raises:
            ValueError: If a reading has no place in a log; see `diag.log.schema.check_reading`.
            LogWriteError: Once, when the file can no longer be written, and after `close`.
        """
        if not self._is_open():
            return
        if self._file is not None and isinstance(readings, Readings):
            self._check(readings)
            # Nothing is done at once that can be done for many steps in a row.
            self._waiting.append((step, readings))
            if len(self._waiting) >= self._capacity:
                self._put_waiting()
        elif self._file is not None:
            self._put_waiting()
            self._put(step, readings)
        else:
            self._warm.append((step, [kept(reading) for reading in readings]))
            if len({warm_step for warm_step, _ in self._warm}) > self._warm_up:
                self._start()
        self._flush_if_due()

    def write_histograms(self, step: int, histograms: Sequence[Histogram]) -> None:
        """Writes the histograms of one recorded step, after its readings.

        Args:
            step: The recorded step.
            histograms: Of the bins that the writer was made with.

        Raises:
            LogWriteError: As for `write`.
        """
        if self._is_open() and histograms:
            has_place = self._file is None or self._histograms.fit(histograms)
            if not has_place:
                # What waits belongs to the file that is there, or to one that it opens itself.
                self._put_waiting()
            self._histograms.put(step, histograms)
            if not has_place:
                self._continue([])
            self._flush_if_due()

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes numbers that the user logs; a new name may come at any time.

        Args:
            step: The step that they belong to.
            scalars: By name; see `diag.log.schema.check_scalar_name`.

        Raises:
            ValueError: If a name or a value has no place in a log; none of the scalars is then kept.
            LogWriteError: As for `write`.
        """
        if self._is_open():
            self._scalars.put(step, scalars)
            self._flush_if_due()

    def write_happening(self, happening: Happening) -> None:
        """Writes what no number can say; a message of more than 512 bytes ends in "…".

        Raises:
            LogWriteError: As for `write`.
        """
        if self._is_open():
            self._happenings.put(happening)
            self._flush_if_due()

    def flush(self) -> None:
        """Makes sure that all rows written so far survive a kill of this process.

        They survive no loss of power: that would take an fsync each time. A flush within the warm-up
        ends it, and what is read for the first time afterwards opens a second segment.

        Raises:
            LogWriteError: Once, when the file can no longer be written, and after `close`.
        """
        if self._is_open():
            self._commit()

    def close(self, reason: str = "finished") -> None:
        """Flushes, says why the log ends, and rewrites its files compressed; closing twice does no harm.

        Args:
            reason: Kept in the end record.

        Raises:
            LogWriteError: If that fails, once. Where only the compression fails, as for want of room
                beside the log, the log is complete all the same.
        """
        if self._is_closed or self._is_dead:
            return
        self._is_closed = True
        if self._file is None:
            self._start()
        self._end_segment(reason)
        try:
            for path in self._paths:
                compact(path)
        except (RuntimeError, OSError) as error:
            raise LogWriteError(
                f"LogWriter needs room beside the log in {self._folder} to compress it; it got {error}; "
                f"the log is complete, only larger than it need be"
            ) from error

    def _is_open(self) -> bool:
        if self._is_closed and not self._is_dead:
            raise LogWriteError(f"The log in {self._folder} is closed; write before LogWriter.close")
        return not self._is_dead

    def _start(self) -> None:
        self._open_segment(*self._plan([reading for _, readings in self._warm for reading in readings]))
        warm, self._warm = self._warm, []
        for step, readings in warm:
            self._put(step, readings)

    def _check(self, readings: Readings) -> None:
        if readings.columns is not self._checked:
            for reading in readings:
                check_reading(reading)
            self._checked = readings.columns

    def _put_waiting(self) -> None:
        # What is put may fill a chunk, which is written at once: nothing must seem to wait meanwhile.
        waiting, self._waiting = self._waiting, []
        try:
            while waiting:
                # Full it may be still, where somebody has interrupted the writing.
                self._commit_if_full()
                if not self._fit(waiting[0][1].by_axis()):
                    self._continue(waiting[0][1])
                run = self._first_run(waiting)
                self._put_run(run)
                del waiting[: len(run)]
                self._commit_if_full()
        finally:
            self._waiting = [*waiting, *self._waiting]

    def _first_run(self, waiting: list[_Waiting]) -> list[_Waiting]:
        """As many as begin with the same columns, and as there is room for before a chunk is full."""
        columns = waiting[0][1].columns
        room = min(rows.room for rows in self._rows.values())
        return list(takewhile(lambda each: each[1].columns is columns, waiting[:room]))

    def _put_run(self, run: list[_Waiting]) -> None:
        steps, values = [step for step, _ in run], np.stack([readings.values for _, readings in run])
        for axis, (columns, positions) in run[0][1].columns.by_axis.items():
            self._rows[axis].put_many(steps, columns, values[:, positions])

    def _put(self, step: int, readings: Sequence[Reading]) -> None:
        self._commit_if_full()
        of_axis = by_axis(readings)
        if not self._fit(of_axis):
            self._continue(readings)
        for axis, some in of_axis.items():
            self._rows[axis].put(step, some)
        self._commit_if_full()

    def _fit(self, of_axis: Mapping[Axis, Sequence[Reading]]) -> bool:
        return all(axis in self._rows and self._rows[axis].fit(some) for axis, some in of_axis.items())

    def _commit_if_full(self) -> None:
        if any(rows.is_full for rows in self._rows.values()):
            self._commit()

    def _continue(self, readings: Sequence[Reading]) -> None:
        plan = self._plan(readings)
        earlier = self._rows
        waiting, self._histograms = self._histograms, HistogramRows()
        self._end_segment(CONTINUED)
        self._histograms = waiting
        self._scalars = ScalarRows()
        self._open_segment(*plan)
        for axis, rows in self._rows.items():
            rows.carry(earlier[axis])

    def _plan(self, readings: Sequence[Reading]) -> tuple[Model, Schema]:
        model = self._describe()
        return model, extended(self._schema, model, readings)

    def _open_segment(self, model: Model, schema: Schema) -> None:
        path = self._folder / file_name(self._rank, len(self._paths) + 1)
        self._histograms.settle(schema)
        self._capacity = _rows_in_memory(schema, self._chunk_rows)
        with self._dying_of_failure("create"):
            self._file = LiveFile(path, schema, model, self._capacity, self._histograms.names, self._bins)
        self._paths.append(path)
        self._schema = schema
        self._rows = {axis: _rows_of(axis, schema[axis], self._capacity) for axis in AXES}

    def _end_segment(self, reason: str) -> None:
        self._commit()
        with self._dying_of_failure("close"):
            if self._file is not None:
                self._file.end(reason)
        self._file = None

    def _flush_if_due(self) -> None:
        buffers = (self._scalars, self._happenings, self._histograms)
        is_full = any(rows.is_full for rows in buffers)
        is_due = self._file is not None and self._clock() - self._flushed_at >= self._flush_seconds
        if is_full or is_due:
            self._commit()

    def _commit(self) -> None:
        waiting = self._scalars.count or self._happenings.count or self._histograms.count
        if self._file is None and (self._warm or waiting):
            self._start()
        self._put_waiting()
        if self._file is not None:
            tables: list[Rows] = [*self._rows.values(), self._scalars, self._happenings, self._histograms]
            with self._dying_of_failure("write"):
                self._file.append(tables)
            for rows in tables:
                rows.clear()
        self._flushed_at = self._clock()

    @contextmanager
    def _dying_of_failure(self, action: str) -> Iterator[None]:
        # HDF5 reports what it cannot write as RuntimeError, and again on every later call.
        try:
            yield
        except (RuntimeError, OSError) as error:
            self._is_dead = True
            if self._file is not None:
                self._file.give_up(f"could not {action} the log: {error}")
            raise LogWriteError(
                f"LogWriter needs room and permission to {action} the log in {self._folder}; "
                f"it got {error}; what was flushed before stays readable, what comes after is not logged"
            ) from error


def _rows_in_memory(schema: Schema, wanted: int) -> int:
    """Rows of a chunk, of which there are two in memory: those that wait and those that are being written."""
    cells = sum(len(axis.lengths) * max(1, len(axis.columns)) for axis in schema.values())
    return max(1, min(wanted, MOST_BYTES // (8 * max(1, cells))))


def _rows_of(axis: Axis, schema: AxisSchema, capacity: int) -> AxisRows:
    return (CurvatureRows if axis == "curvature" else AxisRows)(axis, schema, capacity)


def _refuse_a_folder_with_a_log(folder: Path, rank: int) -> None:
    files = [path.name for path in log_files(folder, rank)]
    if files:
        raise FileExistsError(
            f"LogWriter needs a folder without a log; {folder} holds {', '.join(files)}; "
            f"choose another name for this run, or move the old one away"
        )

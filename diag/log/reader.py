"""Reads a log: live, closed, killed or repaired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diag.events import Happening, Model
from diag.log.environment import process_of
from diag.log.model import read_model
from diag.log.opening import LogError, files_at, opened, read_run
from diag.log.schema import AXES, CONTINUED, COUNTERS, LENGTH, SCALES
from diag.log.text import texts_of

State = Literal["live", "closed", "killed"]

TABLES: tuple[str, ...] = (*AXES, "scalars")


@dataclass(frozen=True, eq=False)
class Series:
    """One measure over a run.

    Attributes:
        name: Of the measure.
        axis: The group that it was read from: ``"layers"``, ``"parameters"``, ``"network"``,
            ``"curvature"`` or ``"scalars"``.
        steps: The recorded steps, shape ``(n,)``, rising. Series of one axis share them, except scalars.
        columns: Layers or parameters by dotted name; the index as text for a curvature vector; the name
            of the series where there is one number a step.
        values: Shape ``(n, columns)``; NaN means "no number".
    """

    name: str
    axis: str
    steps: NDArray[np.int64]
    columns: tuple[str, ...]
    values: NDArray[np.float64]

    def column(self, name: str) -> NDArray[np.float64]:
        """The values of one column.

        Args:
            name: One of ``columns``.

        Returns:
            Shape ``(n,)``.

        Raises:
            LogError: If there is no such column.
        """
        if name not in self.columns:
            raise LogError(f"{self.name} has no column {_unknown(name, self.columns)}")
        return self.values[:, self.columns.index(name)]

    def at(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values at given steps, for a look beside a series of another axis.

        Args:
            steps: Shape ``(m,)``, in any order.

        Returns:
            Shape ``(m, columns)``; NaN at a step that this series does not have.

        Example:
            >>> series = Series("loss", "network", np.array([0, 2]), ("loss",), np.array([[3.0], [1.0]]))
            >>> series.at(np.array([0, 1, 2])).tolist()
            [[3.0], [nan], [1.0]]
        """
        found = np.full((len(steps), len(self.columns)), np.nan)
        has = np.isin(steps, self.steps)
        found[has] = self.values[np.searchsorted(self.steps, steps[has])]
        return found


@dataclass(frozen=True)
class _Table:
    """What a group of one file held when it was looked at."""

    committed: int
    columns: tuple[str, ...]
    lengths: Mapping[str, int]


@dataclass(frozen=True)
class _Segment:
    path: Path
    tables: Mapping[str, _Table]
    scalars: tuple[str, ...]


class Log:
    """The log of a run, as it stood when it was opened or last refreshed.

    Numbers are read when they are asked for, and no file stays open in between, so a log never stands in
    the way of its writer. Of a step that was recorded twice, as by a resumed run, the last row counts.

    Args:
        path: A run folder, of which rank 0 is read with all its segments, or one HDF5 file.

    Attributes:
        path: The same.
        run: What run.json says; empty without one.
        model: All that was watched, layers in order of execution.
        state: ``"closed"`` if the run said that it ended, ``"live"`` if its process still runs on this
            host, otherwise ``"killed"``.
        end_reason: Why it ended; None while it has not said so.
        names: The series of each axis, and under ``"scalars"`` what the user logged.
        steps: All recorded steps of the four axes, rising.
        happenings: What no number can say, as it was written.

    Raises:
        LogError: If there is no log, or none that can be read.

    Example:
        >>> from diag.events import Reading
        >>> from diag.log import LogWriter
        >>> folder = Path(getfixture("tmp_path"))
        >>> writer = LogWriter(folder, describe=Model)
        >>> writer.write(0, [Reading("update_ratio", "fc.weight", 1e-3, "parameters")])
        >>> writer.close()
        >>> log = Log(folder)
        >>> log.state, log.names["parameters"], log.series("update_ratio").columns
        ('closed', ('update_ratio',), ('fc.weight',))
    """

    path: Path
    run: Mapping[str, Any]
    model: Model
    state: State
    end_reason: str | None
    names: Mapping[str, tuple[str, ...]]
    steps: NDArray[np.int64]
    happenings: tuple[Happening, ...]

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.refresh()

    def refresh(self) -> None:
        """Looks at the files again: what a live run has flushed since comes into sight.

        Raises:
            LogError: If the log can no longer be read.
        """
        files = files_at(self.path)
        self.run = read_run(self.path)
        steps: list[NDArray[np.int64]] = []
        happenings: list[Happening] = []
        self._segments: list[_Segment] = []
        for file_path in files:
            with opened(file_path) as file:
                segment = _look_at(file_path, file)
                self._segments.append(segment)
                steps += [_rows(file[axis], "step", segment.tables[axis].committed) for axis in AXES]
                happenings += _happenings(file["happenings"])
                if file_path == files[-1]:
                    self.model = read_model(file["model"])
                    self._set_state(file["end/reason"][()].decode())
        self.steps = np.unique(np.concatenate(steps))
        self.happenings = tuple(happenings)
        self.names = {table: self._names_of(table) for table in TABLES}

    def series(self, name: str, of: str | None = None) -> Series:
        """One measure over the whole run, all segments together.

        Args:
            name: One of ``names``.
            of: The axis, or ``"scalars"``; without it the first that has the name, in the order layers,
                parameters, network, curvature, scalars.

        Returns:
            Columns that a segment lacks are NaN there.

        Raises:
            LogError: If there is no such series, with what there is.
        """
        table = self._table_of(name, of)
        read = _read_scalar if table == "scalars" else _read_series
        return _joined(name, table, [read(segment, table, name) for segment in self._segments])

    def __contains__(self, name: object) -> bool:
        return any(name in names for names in self.names.values())

    def __repr__(self) -> str:
        return f'Log("{self.path}", {self.state}, {len(self.steps)} steps)'

    def _set_state(self, reason: str) -> None:
        # A segment that says it is continued ends the run only if it was asked for by itself.
        has_ended = bool(reason) and not (reason == CONTINUED and self.path.is_dir())
        self.end_reason = reason if has_ended else None
        self.state = "closed" if has_ended else "live" if process_of(self.run) == "running" else "killed"

    def _names_of(self, table: str) -> tuple[str, ...]:
        names = (
            segment.scalars if table == "scalars" else segment.tables[table].lengths
            for segment in self._segments
        )
        return tuple(dict.fromkeys(name for segment in names for name in segment))

    def _table_of(self, name: str, of: str | None) -> str:
        if of is not None and of not in TABLES:
            raise LogError(f"Log.series needs of= to be one of {', '.join(TABLES)}; got {of!r}")
        places = TABLES if of is None else (of,)
        for table in places:
            if name in self.names[table]:
                return table
        known = [known for table in places for known in self.names[table]]
        where = f" in {of}" if of else ""
        raise LogError(f"{self.path} has no series{where} {_unknown(name, known)}")


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f' (did you mean "{near[0]}"?)' if near else ""
    return f'"{name}"{hint}; there is: {", ".join(known) or "nothing"}'


def _look_at(path: Path, file: Any) -> _Segment:
    tables: dict[str, _Table] = {axis: _look_at_axis(file[axis], axis) for axis in AXES}
    # Before the names: whatever these rows refer to has a name by then.
    tables["scalars"] = _Table(int(file["scalars/committed"][()]), (), {})
    names = _rows(file["scalars"], "name", int(file["scalars/committed_names"][()]))
    return _Segment(path, tables, texts_of(names))


def _look_at_axis(group: Any, axis: str) -> _Table:
    # Before anything else: HDF5 keeps the shapes that it has seen, and a writer may add rows meanwhile.
    committed = int(group[COUNTERS["step"]][()])
    scale = SCALES.get(axis)
    columns = texts_of(group[scale][()]) if scale else ()
    others = {"step", COUNTERS["step"], scale}
    lengths = {name: _length(dataset) for name, dataset in group.items() if name not in others}
    return _Table(committed, columns, lengths)


def _length(dataset: Any) -> int:
    if dataset.ndim == 1:
        return 0
    return int(dataset.attrs.get(LENGTH, dataset.shape[1]))


def _rows(group: Any, name: str, committed: int) -> NDArray[Any]:
    rows: NDArray[Any] = group[name][:committed]
    if len(rows) < committed:
        raise OSError(f"{group[name].name} holds {len(rows)} of {committed} rows")
    return rows


def _happenings(group: Any) -> list[Happening]:
    committed = int(group[COUNTERS["step"]][()])
    steps = _rows(group, "step", committed).tolist()
    texts = (texts_of(_rows(group, name, committed)) for name in ("kind", "subject", "message"))
    return [Happening(*happening) for happening in zip(steps, *texts, strict=True)]


def _read_series(segment: _Segment, axis: str, name: str) -> Series:
    table = segment.tables[axis]
    with opened(segment.path) as file:
        steps = _rows(file[axis], "step", table.committed)
        if name not in table.lengths:
            return Series(name, axis, steps, (), np.empty((len(steps), 0)))
        values = _rows(file[axis], name, table.committed)
    if length := table.lengths[name]:
        return Series(name, axis, steps, table.columns[:length], values[:, :length])
    return Series(name, axis, steps, (name,), values[:, np.newaxis])


def _read_scalar(segment: _Segment, table: str, name: str) -> Series:
    if name not in segment.scalars:
        return Series(name, table, np.empty(0, np.int64), (name,), np.empty((0, 1)))
    committed = segment.tables[table].committed
    with opened(segment.path) as file:
        group = file[table]
        is_named = _rows(group, "name_index", committed) == segment.scalars.index(name)
        steps, values = _rows(group, "step", committed), _rows(group, "value", committed)
    return Series(name, table, steps[is_named], (name,), values[is_named, np.newaxis])


def _joined(name: str, axis: str, parts: Sequence[Series]) -> Series:
    columns = tuple(dict.fromkeys(column for part in parts for column in part.columns))
    steps = np.concatenate([part.steps for part in parts])
    values = np.full((len(steps), len(columns)), np.nan)
    start = 0
    for part in parts:
        end = start + len(part.steps)
        values[start:end, [columns.index(column) for column in part.columns]] = part.values
        start = end
    last = _last_of_each(steps)
    return Series(name, axis, steps[last], columns, values[last])


def _last_of_each(steps: NDArray[np.int64]) -> NDArray[np.intp]:
    # np.unique finds the first of each; turned round, that is the last.
    _, first = np.unique(steps[::-1], return_index=True)
    return len(steps) - 1 - first

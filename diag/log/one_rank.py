"""The files of one rank, as they stood when they were looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diag.events import Happening, Model
from diag.log.model import read_model
from diag.log.opening import opened
from diag.log.schema import AXES, COUNTERS, LENGTH, SCALES
from diag.log.series import Series, joined
from diag.log.text import texts_of
from diag.log.unpacking import first_rows

TABLES: tuple[str, ...] = (*AXES, "scalars")


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


@dataclass(frozen=True)
class RankLog:
    """What one rank wrote; numbers are read when they are asked for.

    Attributes:
        segments: Its files, in the order in which they were written.
        model: As its last segment describes it.
        end_reason: As that says it; empty while it says nothing.
        steps: The recorded steps of the four axes, rising.
        happenings: As they were written.
        names: Series of each table.
    """

    segments: tuple[_Segment, ...]
    model: Model
    end_reason: str
    steps: NDArray[np.int64]
    happenings: tuple[Happening, ...]
    names: Mapping[str, tuple[str, ...]]

    def series(self, name: str, table: str) -> Series:
        """A series of all segments together.

        Raises:
            LogError: If a file can no longer be read.
        """
        read = _read_scalar if table == "scalars" else _read_series
        return joined(name, table, [read(segment, table, name) for segment in self.segments])


def side_by_side(ranks: Sequence[RankLog], first: Series) -> Any:
    """The values of several ranks at the steps and columns of the first one's series.

    Returns:
        A masked array of shape ``(ranks, n, columns)``, masked where a rank has no such step or column.
    """
    values = np.full((len(ranks), *first.values.shape), np.nan)
    is_absent = np.ones(values.shape, np.bool_)
    values[0], is_absent[0] = first.values, False
    for place, rank in enumerate(ranks[1:], 1):
        other = rank.series(first.name, first.axis)
        found = other.at(first.steps)
        has_step = np.isin(first.steps, other.steps)
        for here, column in enumerate(first.columns):
            if column in other.columns:
                values[place, :, here] = found[:, other.columns.index(column)]
                is_absent[place, :, here] = ~has_step
    return np.ma.array(values, mask=is_absent)


def look_at(files: Sequence[Path]) -> RankLog:
    """What the segments of one rank hold by now; there is at least one.

    Raises:
        LogError: If one of them cannot be read.
    """
    segments: list[_Segment] = []
    steps: list[NDArray[np.int64]] = []
    happenings: list[Happening] = []
    for path in files:
        with opened(path) as file:
            segment = _look_at(path, file)
            segments.append(segment)
            steps += [_rows(file[axis], "step", segment.tables[axis].committed) for axis in AXES]
            happenings += _happenings(file["happenings"])
            model, reason = read_model(file["model"]), file["end/reason"][()].decode()
    names = {table: _names_of(segments, table) for table in TABLES}
    return RankLog(tuple(segments), model, reason, np.unique(np.concatenate(steps)), tuple(happenings), names)


def _names_of(segments: Sequence[_Segment], table: str) -> tuple[str, ...]:
    names = (segment.scalars if table == "scalars" else segment.tables[table].lengths for segment in segments)
    return tuple(dict.fromkeys(name for segment in names for name in segment))


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
    rows = first_rows(group[name], committed)
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

"""Histograms in a log: how their group is created, filled and read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from diag.events import Axis, Histogram
from diag.log.opening import LogError, opened
from diag.log.rows import Pending
from diag.log.schema import CHUNK_BYTES, COUNTERS, SCALES, Schema, add, add_group
from diag.log.series import unknown
from diag.log.text import cells, texts_of

GROUP: Final = "histograms"
_COUNT: Final = np.dtype(np.uint32)
# A step of a hundred layers is half a megabyte.
_MOST_WAITING: Final = 16

# Name of each histogram and the axis that its columns are of.
HistogramSchema = Mapping[str, Axis]


@dataclass(frozen=True, eq=False)
class HistogramSeries:
    """Histograms of one kind over a run.

    Attributes:
        name: Such as ``"activation_histogram"``.
        steps: Those at which they were taken, shape ``(n,)``, rising.
        columns: Layers or parameters by dotted name.
        bins: What each bin counts, as `probes.histogram_bins` names them.
        counts: Shape ``(n, columns, bins)``; zero everywhere where none was taken.
    """

    name: str
    steps: NDArray[np.int64]
    columns: tuple[str, ...]
    bins: tuple[str, ...]
    counts: NDArray[np.uint32]

    def column(self, name: str) -> NDArray[np.uint32]:
        """The counts of one layer or parameter, shape ``(n, bins)``.

        Raises:
            LogError: If there is no such column.
        """
        if name not in self.columns:
            raise LogError(f"{self.name} has no column {unknown(name, self.columns)}")
        return self.counts[:, self.columns.index(name)]


class HistogramRows:
    """Histograms that wait until they are written: one row for each step."""

    group: str = GROUP

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._waiting: list[dict[str, Histogram]] = []
        self._schema: HistogramSchema = {}
        self._columns: Mapping[Axis, tuple[str, ...]] = {}

    @property
    def count(self) -> int:
        """How many steps are waiting."""
        return len(self._steps)

    @property
    def is_full(self) -> bool:
        """Whether so many wait that memory would feel it."""
        return len(self._steps) >= _MOST_WAITING

    @property
    def names(self) -> dict[str, Axis]:
        """What waits and what has a place already."""
        waiting = {name: of.axis for some in self._waiting for name, of in some.items()}
        return {**self._schema, **waiting}

    def fit(self, histograms: Iterable[Histogram]) -> bool:
        """Whether the file has a place for all of them."""
        return all(
            self._schema.get(of.name) == of.axis and set(of.columns) <= set(self._columns[of.axis])
            for of in histograms
        )

    def settle(self, schema: Schema) -> None:
        """Takes note of the columns of a file that is about to be created, with a place for `names`."""
        self._schema = self.names
        self._columns = {axis: of.columns for axis, of in schema.items()}

    def put(self, step: int, histograms: Iterable[Histogram]) -> None:
        """Keeps the histograms of a step."""
        self._steps.append(step)
        self._waiting.append({of.name: of for of in histograms})

    def pending(self) -> Pending:
        """What waits, by the dimension along which it grows."""
        if not self._steps:
            return {}
        tables: dict[str, NDArray[Any]] = {"step": np.array(self._steps, np.int64)}
        for name, axis in self._schema.items():
            tables[name] = np.stack([self._row(some.get(name), axis) for some in self._waiting])
        return {"step": tables}

    def clear(self) -> None:
        """Forgets what waits."""
        self._steps, self._waiting = [], []

    def _row(self, histogram: Histogram | None, axis: Axis) -> NDArray[np.uint32]:
        columns = self._columns[axis]
        row = np.zeros((len(columns), _bins_of(self._waiting)), _COUNT)
        if histogram is not None:
            row[[columns.index(column) for column in histogram.columns]] = histogram.counts
        return row


def create_histograms(file: Any, names: HistogramSchema, schema: Schema, bins: Sequence[str]) -> None:
    """The group with a data set for each of the names, empty; none where there are no names."""
    if not names:
        return
    group = add_group(file, GROUP)
    storage = {"maxshape": (None,), "chunks": (64,), "dtype": np.dtype(np.int64)}
    add(group, "step", np.empty(0, np.int64), ("step",), **storage)
    add(group, "bin", cells(bins), ("bin",))
    for axis in dict.fromkeys(names.values()):
        add(group, SCALES[axis], cells(schema[axis].columns), (SCALES[axis],))
    for name, axis in names.items():
        columns = len(schema[axis].columns)
        widest = max(1, CHUNK_BYTES // (len(bins) * _COUNT.itemsize))
        add(
            group,
            name,
            np.empty((0, columns, len(bins)), _COUNT),
            ("step", SCALES[axis], "bin"),
            maxshape=(None, columns, len(bins)),
            chunks=(1, min(max(columns, 1), widest), len(bins)),
            dtype=_COUNT,
        )
    add(group, COUNTERS["step"], np.int64(0))


def histogram_names(files: Sequence[Path]) -> tuple[str, ...]:
    """Names of the histograms that the segments of a log hold."""
    found: dict[str, None] = {}
    for path in files:
        with opened(path) as file:
            group = file.get(GROUP, {})
            others = {"step", "bin", COUNTERS["step"], *SCALES.values()}
            found |= dict.fromkeys(name for name in group if name not in others)
    return tuple(found)


def read_histogram(files: Sequence[Path], name: str) -> HistogramSeries:
    """The histograms of one name, all segments together; a later row of a step counts.

    Raises:
        LogError: If there are none of that name, with what there is.
    """
    parts = [part for path in files if (part := _read(path, name)) is not None]
    if not parts:
        raise LogError(f"the log has no histogram {unknown(name, histogram_names(files))}")
    columns = tuple(dict.fromkeys(column for part in parts for column in part.columns))
    rows: dict[int, NDArray[np.uint32]] = {}
    for part in parts:
        places = [columns.index(column) for column in part.columns]
        for step, counts in zip(part.steps.tolist(), part.counts, strict=True):
            rows[step] = np.zeros((len(columns), len(part.bins)), _COUNT)
            rows[step][places] = counts
    steps = np.array(sorted(rows), np.int64)
    empty = np.empty((0, len(columns), len(parts[0].bins)), _COUNT)
    whole = np.stack([rows[step] for step in steps.tolist()]) if rows else empty
    return HistogramSeries(name, steps, columns, parts[0].bins, whole)


def _read(path: Path, name: str) -> HistogramSeries | None:
    with opened(path) as file:
        group = file.get(GROUP)
        if group is None or name not in group:
            return None
        # Before anything else: HDF5 keeps the shapes that it has seen, and a writer may add rows meanwhile.
        committed = int(group[COUNTERS["step"]][()])
        scale = group[name].dims[1][0]
        return HistogramSeries(
            name,
            group["step"][:committed],
            texts_of(scale[()]),
            texts_of(group["bin"][()]),
            group[name][:committed],
        )


def _bins_of(waiting: Sequence[Mapping[str, Histogram]]) -> int:
    return next(of.counts.shape[1] for some in waiting for of in some.values())

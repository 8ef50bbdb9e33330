"""What stands where in a log: file names, groups, data sets, widths, and how each is created.

Every data set has a dimension scale on each of its dimensions, so that xarray and netCDF open any
group of a closed file. Text has a fixed width and nothing is created once SWMR has started: a process
killed in the middle of a flush then leaves a readable file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, get_args

import h5py
import numpy as np
from numpy.typing import ArrayLike

from diag.events import Axis, Model, Reading, Readings
from diag.log.text import cells

FORMAT: Final = "scratchdiag"
VERSION: Final = 1
# SWMR needs superblock 3; what is newer than v110 only shuts out older readers.
LIBVER: Final = ("v110", "v110")

AXES: Final[tuple[Axis, ...]] = get_args(Axis)
SCALES: Final[Mapping[str, str]] = {"layers": "layer", "parameters": "parameter", "curvature": "index"}
# A dimension that grows, and the data set that says how many of its rows may be trusted.
COUNTERS: Final[Mapping[str, str]] = {"step": "committed", "name": "committed_names"}
# How many of the group's columns a series fills, where the others of that group have more.
LENGTH: Final = "length"

NAME_WIDTH: Final = 256
KIND_WIDTH: Final = 64
MESSAGE_WIDTH: Final = 512
REASON_WIDTH: Final = 256
TIME_WIDTH: Final = 40

SCALAR_CHUNK: Final = 1024
TEXT_CHUNK: Final = 16
CHUNK_BYTES: Final = 2**20

# The end record of a file that another segment follows.
CONTINUED: Final = "continued"

_FILE_NAME = re.compile(r"log(?:\.rank(?P<rank>\d+))?(?:\.segment(?P<segment>\d+))?\.h5")


def file_name(rank: int = 0, segment: int = 1) -> str:
    """The name of one file of a log.

    Args:
        rank: Of the process that writes it.
        segment: Counts from 1; a model that changes while it trains opens the next one.

    Returns:
        A name without folder; rank 0 and segment 1 go without saying.

    Example:
        >>> file_name(), file_name(rank=1, segment=2)
        ('log.h5', 'log.rank1.segment2.h5')
    """
    return f"log{f'.rank{rank}' if rank else ''}{f'.segment{segment}' if segment > 1 else ''}.h5"


def log_files(folder: Path, rank: int | None = None) -> tuple[Path, ...]:
    """The files of a log in a folder, by rank and then by segment; only those of one rank if it is given."""
    found = []
    for path in folder.glob("log*.h5"):
        if match := _FILE_NAME.fullmatch(path.name):
            place = int(match["rank"] or 0), int(match["segment"] or 1)
            if rank is None or rank == place[0]:
                found.append((place, path))
    return tuple(path for _, path in sorted(found))


def rank_of(path: Path) -> int:
    """The rank whose file it is; 0 for a file of any other name."""
    match = _FILE_NAME.fullmatch(path.name)
    return int(match["rank"] or 0) if match else 0


def partial_of(path: Path) -> Path:
    """Where a file is written until it is whole; no reader takes this name for a log."""
    return path.with_name(f"{path.name}.partial")


@dataclass(frozen=True)
class AxisSchema:
    """The columns and the series of one group.

    Attributes:
        columns: Names along the second dimension, in order; none in ``/network``.
        lengths: Series to the number of columns that it fills; 0 means one number a step, ``[step]``.
    """

    columns: tuple[str, ...] = ()
    lengths: Mapping[str, int] = field(default_factory=dict)


Schema = Mapping[Axis, AxisSchema]


def extended(schema: Schema, model: Model, readings: Sequence[Reading]) -> Schema:
    """The smallest schema that holds what ``schema`` holds, the model, and these readings.

    Args:
        schema: What there is already; ``{}`` for a first segment.
        model: Its layers and parameters come first among the columns, in their own order.
        readings: What has to find a place; see `check_reading`.

    Returns:
        A schema with an entry for every axis.

    Raises:
        ValueError: If a reading belongs nowhere.

    Example:
        >>> grown = extended({}, Model(), [Reading("gradient_norm", "fc", 0.1, "layers")])
        >>> grown["layers"]
        AxisSchema(columns=('fc',), lengths={'gradient_norm': 1})
    """
    for reading in readings:
        check_reading(reading)
    of_axis = by_axis(readings)
    described = {
        "layers": [layer.name for layer in model.layers],
        "parameters": [parameter.name for parameter in model.parameters],
    }
    return {
        axis: _extended_axis(
            axis, schema.get(axis, AxisSchema()), described.get(axis, []), of_axis.get(axis, [])
        )
        for axis in AXES
    }


def by_axis(readings: Sequence[Reading]) -> Mapping[Axis, Sequence[Reading]]:
    """The readings of each axis that there are any of, in their order."""
    if isinstance(readings, Readings):
        return readings.by_axis()
    of_axis: dict[Axis, list[Reading]] = {}
    # Readings come in long runs of one axis, several hundred a step.
    for axis, run in groupby(readings, key=attrgetter("axis")):
        of_axis.setdefault(axis, []).extend(run)
    return of_axis


def check_reading(reading: Reading) -> None:
    """Makes sure that a reading has a place in some log.

    Raises:
        ValueError: If its axis is unknown, its name cannot be a data set's, a subject stands where there
            is none (network, curvature), or its value has more dimensions than its axis.
    """
    if reading.axis not in AXES:
        raise ValueError(
            f"The log needs an axis out of {', '.join(AXES)}; "
            f'the reading "{reading.name}" came with "{reading.axis}"'
        )
    check_series_name(reading.name, reading.axis)
    if reading.axis in ("network", "curvature") and reading.subject:
        raise ValueError(
            f'The log needs readings of the {reading.axis} without a subject; "{reading.name}" came with '
            f'"{reading.subject}"; put it into the name, or read along the axis "layers" or "parameters"'
        )
    allowed = 1 if reading.axis == "curvature" else 0
    if np.ndim(reading.value) > allowed:
        raise ValueError(
            f"The log needs {'a number or a vector' if allowed else 'one number'} a reading; "
            f'"{reading.name}" of the {reading.axis} came with shape {np.shape(reading.value)}; '
            f"only curvature quantities may have an index"
        )


def check_series_name(name: str, axis: str) -> None:
    """Makes sure that a name can be that of a data set in the group of an axis.

    Raises:
        ValueError: If HDF5 would read it as a path, or if the group keeps the name for itself.
    """
    reserved = {".", *COUNTERS, *COUNTERS.values(), SCALES.get(axis, ".")}
    if not name or "/" in name or "\0" in name or name in reserved:
        raise ValueError(
            f'The log needs series names without "/" other than {", ".join(sorted(reserved))}; '
            f'got "{name}" for {axis}; give the probe another name'
        )


def check_scalar_name(name: str) -> None:
    """Makes sure that the log can keep the name of a scalar whole.

    Raises:
        ValueError: If it is empty, holds a NUL, or takes more than 256 bytes of UTF-8: names are not cut,
            because two long ones could become the same.

    Example:
        >>> check_scalar_name("validation/loss")
    """
    encoded = name.encode(errors="replace")
    if not 0 < len(encoded) <= NAME_WIDTH or b"\0" in encoded or encoded.decode() != name:
        shown = name if len(encoded) <= NAME_WIDTH else f"{name[:40]}…"
        raise ValueError(
            f"The log needs scalar names of 1 to {NAME_WIDTH} bytes of UTF-8 without NUL; "
            f"got {len(encoded)} bytes: {shown!r}; shorten the name"
        )


def add_group(parent: Any, name: str) -> Any:
    """A new group, unless SWMR has started.

    Raises:
        RuntimeError: If SWMR has started.
    """
    _forbid_under_swmr(parent, name)
    return parent.create_group(name)


def add(group: Any, name: str, values: ArrayLike | None, dims: Sequence[str] = (), **storage: Any) -> Any:
    """A new data set with a scale on every dimension, unless SWMR has started.

    HDF5 creates objects under SWMR without a word, and a process killed in its next flush then leaves
    a file that nobody can open: that is why this says no.

    Args:
        group: The HDF5 group.
        name: Of the data set; where ``dims == (name,)`` it becomes the scale itself.
        values: What it holds at first; None where ``storage`` says its shape.
        dims: Name of a scale of the same group for each dimension.
        **storage: How it is stored, as `h5py.Group.create_dataset` takes it.

    Returns:
        The h5py data set.

    Raises:
        RuntimeError: If SWMR has started.
    """
    _forbid_under_swmr(group, name)
    dataset = group.create_dataset(name, data=values, **storage)
    if tuple(dims) == (name,):
        dataset.make_scale(name)
        return dataset
    for dimension, scale in zip(dataset.dims, dims, strict=True):
        dimension.attach_scale(group[scale])
    return dataset


def create_tables(file: Any, schema: Schema, chunk_rows: int) -> None:
    """Everything that is written while the run lasts, empty: axes, scalars, happenings, end record."""
    for axis in AXES:
        _create_axis(add_group(file, axis), axis, schema[axis], chunk_rows)
    _create_scalars(add_group(file, "scalars"))
    _create_happenings(add_group(file, "happenings"))
    end = add_group(file, "end")
    add(end, "reason", cells([""], REASON_WIDTH)[0], dtype=h5py.string_dtype("utf-8", REASON_WIDTH))
    add(end, "time", cells([""], TIME_WIDTH)[0], dtype=h5py.string_dtype("utf-8", TIME_WIDTH))


def mark(file: Any) -> None:
    """Says on the root what the file is; fixed width here too, as h5py would write vlen text."""
    file.attrs["format"] = np.bytes_(FORMAT)
    file.attrs["version"] = VERSION


def _extended_axis(
    axis: Axis, before: AxisSchema, described: Sequence[str], readings: Sequence[Reading]
) -> AxisSchema:
    names = dict.fromkeys([*before.lengths, *(reading.name for reading in readings)])
    if axis in ("layers", "parameters"):
        subjects = (reading.subject for reading in readings)
        columns = tuple(dict.fromkeys([*described, *before.columns, *subjects]))
        return AxisSchema(columns, dict.fromkeys(names, len(columns)))
    lengths = {name: before.lengths.get(name, 0) for name in names}
    for reading in readings:
        if np.ndim(reading.value):
            lengths[reading.name] = max(lengths[reading.name], np.size(reading.value), 1)
    return AxisSchema(tuple(map(str, range(max(lengths.values(), default=0)))), lengths)


def _create_axis(group: Any, axis: str, schema: AxisSchema, chunk_rows: int) -> None:
    _add_growing(group, "step", np.empty(0, np.int64), ("step",), chunk_rows)
    if axis in SCALES:
        add(group, SCALES[axis], cells(schema.columns), (SCALES[axis],))
    for name, length in schema.lengths.items():
        shape, dims = ((0, len(schema.columns)), ("step", SCALES[axis])) if length else ((0,), ("step",))
        # Rows that a kill leaves without their data then read as "no number", not as zero.
        dataset = _add_growing(group, name, np.empty(shape), dims, chunk_rows, fillvalue=np.nan)
        if axis == "curvature":
            dataset.attrs[LENGTH] = length
    _add_counters(group, "step")


def _create_scalars(group: Any) -> None:
    _add_growing(group, "step", np.empty(0, np.int64), ("step",), SCALAR_CHUNK)
    _add_growing(group, "name_index", np.empty(0, np.int32), ("step",), SCALAR_CHUNK)
    _add_growing(group, "value", np.empty(0), ("step",), SCALAR_CHUNK, fillvalue=np.nan)
    _add_growing(group, "name", cells([], NAME_WIDTH), ("name",), TEXT_CHUNK)
    _add_counters(group, "step", "name")


def _create_happenings(group: Any) -> None:
    _add_growing(group, "step", np.empty(0, np.int64), ("step",), TEXT_CHUNK)
    for name, width in (("kind", KIND_WIDTH), ("subject", NAME_WIDTH), ("message", MESSAGE_WIDTH)):
        _add_growing(group, name, cells([], width), ("step",), TEXT_CHUNK)
    _add_counters(group, "step")


def _add_counters(group: Any, *dims: str) -> None:
    for dim in dims:
        add(group, COUNTERS[dim], np.int64(0))


def _add_growing(
    group: Any, name: str, empty: Any, dims: Sequence[str], rows: int, fillvalue: float | None = None
) -> Any:
    columns = empty.shape[1:]
    # Within one chunk cache, so that a chunk which is filled in several flushes is not read back each time.
    widest = max(1, CHUNK_BYTES // (rows * empty.dtype.itemsize))
    chunks = (rows, *(min(count, widest) for count in columns))
    return add(
        group,
        name,
        empty,
        dims,
        dtype=empty.dtype,
        maxshape=(None, *columns),
        chunks=chunks,
        fillvalue=fillvalue,
    )


def _forbid_under_swmr(group: Any, name: str) -> None:
    if group.file.swmr_mode:
        raise RuntimeError(
            f'The log needs "{name}" in {group.name} before SWMR starts; it came after, when creating it '
            f"could make the file unreadable; open a new segment"
        )

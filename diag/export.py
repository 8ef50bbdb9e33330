"""A run's numbers for other programs: one long table as CSV or Parquet, or netCDF with a group an axis.

CSV needs nothing. Parquet needs pyarrow, netCDF xarray with h5netcdf: the extra ``export`` has them.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from diag.log import Log, Series
from diag.log.schema import AXES, SCALES

COLUMNS: Final = ("axis", "name", "subject", "step", "value")


def export(log: Log, to: str, path: Path | None = None) -> Path:
    """Writes all the numbers of a run for another program; the file appears whole or not at all.

    ``csv`` and ``parquet`` hold one long table, a row a number: axis (or ``scalars``), name of the series,
    subject (layer, parameter or index; empty for the network and for scalars), step, value. ``netcdf``
    holds a group for each axis with the dimensions of the log, and ``scalars`` as step × name.
    NaN means "no number"; a subject that has none at all, as a linear layer has no dead units, is left
    out of the tables.

    Args:
        log: In any state; of a live run, what had been flushed when it was opened.
        to: ``"csv"``, ``"parquet"`` or ``"netcdf"``.
        path: Of the file; ``export.csv``, ``.parquet`` or ``.nc`` in the run's folder without it.
            Missing folders are made, a file that is there is replaced.

    Returns:
        The path.

    Raises:
        ValueError: If the form is none of the three, or the path is a folder.
        ModuleNotFoundError: If what the form needs is not installed.
        OSError: If the file cannot be written.

    Example:
        >>> from diag.events import Model, Reading
        >>> from diag.log import LogWriter
        >>> folder = Path(getfixture("tmp_path"))
        >>> writer = LogWriter(folder, describe=Model)
        >>> writer.write(0, [Reading("dead_unit_rate", "features.1", 0.25, "layers")])
        >>> writer.close()
        >>> print(export(Log(folder), "csv").read_text().strip())
        axis,name,subject,step,value
        layers,dead_unit_rate,features.1,0,0.25
    """
    if to not in _FORMS:
        raise ValueError(f"export knows {', '.join(_FORMS)}; it got {to!r}; choose one of these")
    suffix, write = _FORMS[to]
    folder = log.path if log.path.is_dir() else log.path.parent
    path = folder / f"export{suffix}" if path is None else path
    if path.is_dir():
        raise ValueError(f"export needs the name of a file; {path} is a folder; add /export{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _appearing_whole(path) as partial:
        write(log, partial)
    return path


@contextmanager
def _appearing_whole(path: Path) -> Iterator[Path]:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _all_series(log: Log) -> Iterator[Series]:
    for axis, names in log.names.items():
        for name in names:
            yield log.series(name, of=axis)


def _is_single(series: Series) -> bool:
    """Whether it is one number a step; a layer may be called like a series and is none the less one of many."""
    return series.columns == (series.name,) and series.axis not in ("layers", "parameters")


def _columns(series: Series) -> Iterator[tuple[str, Any]]:
    """Subject and values of every column that has a number."""
    is_single = _is_single(series)
    for subject, values in zip(series.columns, series.values.T, strict=True):
        if not np.isnan(values).all():
            yield "" if is_single else subject, values


def _write_csv(log: Log, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for series in _all_series(log):
            steps = series.steps.tolist()
            for subject, values in _columns(series):
                # As repr writes them, numbers come back to the last bit.
                table.writerows(
                    (series.axis, series.name, subject, step, value)
                    for step, value in zip(steps, values.tolist(), strict=True)
                )


def _write_parquet(log: Log, path: Path) -> None:
    arrow, parquet = _needed("pyarrow", "parquet"), _needed("pyarrow.parquet", "parquet")
    # A word for each of a few names, instead of the name in every row.
    word = arrow.dictionary(arrow.int32(), arrow.string())
    types = (word, word, word, arrow.int64(), arrow.float64())
    schema = arrow.schema(list(zip(COLUMNS, types, strict=True)))
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for series in _all_series(log):
            if tables := [_arrow_table(arrow, schema, series, *column) for column in _columns(series)]:
                writer.write_table(arrow.concat_tables(tables).unify_dictionaries())


def _arrow_table(arrow: ModuleType, schema: Any, series: Series, subject: str, values: Any) -> Any:
    def repeated(text: str) -> Any:
        words = np.zeros(len(values), np.int32)
        return arrow.DictionaryArray.from_arrays(words, arrow.array([text], arrow.string()))

    words = [repeated(text) for text in (series.axis, series.name, subject)]
    # NaN stays NaN: a null would be "not recorded", which is another thing.
    columns = [*words, arrow.array(series.steps), arrow.array(np.ascontiguousarray(values))]
    return arrow.Table.from_arrays(columns, schema=schema)


def _write_netcdf(log: Log, path: Path) -> None:
    xarray = _needed("xarray", "netcdf")
    _needed("h5netcdf", "netcdf")
    groups = {f"/{axis}": _dataset(xarray, log, axis) for axis in AXES if log.names[axis]}
    if log.names["scalars"]:
        groups["/scalars"] = _scalars(xarray, log)
    root = xarray.Dataset(attrs={"state": log.state, "run": json.dumps(log.run)})
    xarray.DataTree.from_dict({"/": root, **groups}).to_netcdf(path, engine="h5netcdf")


def _dataset(xarray: ModuleType, log: Log, axis: str) -> Any:
    found = [log.series(name, of=axis) for name in log.names[axis]]
    arrays = {}
    for series in found:
        is_single = _is_single(series)
        over = {"step": series.steps} | ({} if is_single else {SCALES[axis]: list(series.columns)})
        values = series.values[:, 0] if is_single else series.values
        arrays[series.name] = xarray.DataArray(values, over, tuple(over))
    return xarray.Dataset(arrays)


def _scalars(xarray: ModuleType, log: Log) -> Any:
    """A table and not a variable each: a user's name may hold what netCDF allows in none, such as ``/``."""
    found = [log.series(name, of="scalars") for name in log.names["scalars"]]
    steps = np.unique(np.concatenate([series.steps for series in found]))
    values = np.concatenate([series.at(steps) for series in found], axis=1)
    over = {"step": steps, "name": [series.name for series in found]}
    return xarray.Dataset({"value": xarray.DataArray(values, over, tuple(over))})


def _needed(module: str, form: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"export to {form} needs {module.partition('.')[0]}, which is not installed; "
            f'install it with `pip install "scratchdiag[export]"`, or export to csv, which needs nothing',
            name=error.name,
        ) from error


_FORMS: Final[Mapping[str, tuple[str, Callable[[Log, Path], None]]]] = {
    "csv": (".csv", _write_csv),
    "parquet": (".parquet", _write_parquet),
    "netcdf": (".nc", _write_netcdf),
}

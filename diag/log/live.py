"""One HDF5 file of a log while the run lasts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import h5py
from numpy.typing import NDArray

from diag.events import Model
from diag.log.histograms import HistogramSchema, create_histograms
from diag.log.model import write_model
from diag.log.room import growth, image_of, reserve
from diag.log.rows import Pending
from diag.log.schema import (
    COUNTERS,
    LIBVER,
    REASON_WIDTH,
    TIME_WIDTH,
    Schema,
    add_group,
    create_tables,
    mark,
    partial_of,
)
from diag.log.superblock import trim
from diag.log.text import cells


class Rows(Protocol):
    """A buffer of rows of one table."""

    group: str

    def pending(self) -> Pending:
        """What waits, by the dimension along which it grows."""

    def clear(self) -> None:
        """Forgets what waits."""


class LiveFile:
    """A file under SWMR: created whole, then only appended to.

    It appears under its name once everything in it has been created. From then on a reader may open it
    at any time, and a kill at any time leaves it readable up to its counters.

    Args:
        path: Where; nothing may be there yet.
        schema: The series and columns of every axis.
        model: What ``/model`` says.
        chunk_rows: Rows of a chunk.
        histograms: Which there are, and of which axis.
        bins: What each of their bins counts.

    Raises:
        FileExistsError: If another process wrote a log here in the meantime.
        OSError: If the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        model: Model,
        chunk_rows: int,
        histograms: HistogramSchema = MappingProxyType({}),
        bins: Sequence[str] = (),
    ):
        self._path = path

        def build(file: Any) -> None:
            mark(file)
            write_model(add_group(file, "model"), model)
            create_tables(file, schema, chunk_rows)
            create_histograms(file, histograms, schema, bins)

        self._counts: dict[tuple[str, str], int] = {}
        self._file = _open_whole(path, image_of(build))

    def append(self, tables: Iterable[Rows]) -> None:
        """Everything that waits reaches the file; the counters that vouch for it follow in a second flush.

        Raises:
            OSError: If there is no room; nothing was written then.
            RuntimeError: If HDF5 cannot write for another reason; the counters then say what they said.
        """
        counts = dict(self._counts)
        writes = [write for rows in tables for write in self._writes_of(rows, counts)]
        needed = sum(growth(dataset, start, start + len(values)) for dataset, start, values in writes)
        reserve(self._file, needed)
        for dataset, start, values in writes:
            dataset.resize(start + len(values), axis=0)
            dataset[start:] = values
        self._file.flush()
        for (group, dimension), total in counts.items():
            if total != self._counts.get((group, dimension), 0):
                self._file[group][COUNTERS[dimension]][()] = total
        self._file.flush()
        self._counts = counts

    def end(self, reason: str) -> None:
        """Writes the end record and closes."""
        write_end(self._file, reason, datetime.now(UTC))
        self._file.flush()
        self._file.close()
        trim(self._path)

    def give_up(self, reason: str) -> None:
        """Ends as well as it can be done after a failure."""
        # Where it was HDF5 that failed, it fails here for the same reason, which the caller tells already.
        with suppress(RuntimeError, OSError):
            if self._file:
                self.end(reason)

    def _writes_of(
        self, rows: Rows, counts: dict[tuple[str, str], int]
    ) -> Iterator[tuple[Any, int, NDArray[Any]]]:
        for dimension, columns in rows.pending().items():
            group = self._file[rows.group]
            start = counts.get((rows.group, dimension), 0)
            counts[rows.group, dimension] = start + len(columns[dimension])
            for name, values in columns.items():
                yield group[name], start, values


def _open_whole(path: Path, content: bytes) -> Any:
    partial = partial_of(path)
    try:
        partial.write_bytes(content)
        file = h5py.File(partial, "r+", libver=LIBVER)
        file.swmr_mode = True
        if path.exists():
            file.close()
            raise FileExistsError(f"another process has written {path} since this run began")
        # It gets its name last: the lock of a reader who came first would keep HDF5 from opening it to write.
        partial.replace(path)
        return file
    finally:
        partial.unlink(missing_ok=True)


def write_end(file: Any, reason: str, time: datetime) -> None:
    """Says in the file why and when it ended."""
    file["end/reason"][()] = cells([reason], REASON_WIDTH)[0]
    file["end/time"][()] = cells([time.isoformat()], TIME_WIDTH)[0]

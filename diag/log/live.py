"""One HDF5 file of a log while the run lasts."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import h5py

from diag.events import Model
from diag.log.model import write_model
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

    Raises:
        FileExistsError: If another process wrote a log here in the meantime.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: Path, schema: Schema, model: Model, chunk_rows: int):
        self.path = path
        self._counts: dict[tuple[str, str], int] = {}
        partial = partial_of(path)
        try:
            with h5py.File(partial, "w", libver=LIBVER) as file:
                mark(file)
                write_model(add_group(file, "model"), model)
                create_tables(file, schema, chunk_rows)
            if path.exists():
                raise FileExistsError(f"another process has written {path} since this run began")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        self._file: Any = h5py.File(path, "r+", libver=LIBVER)
        self._file.swmr_mode = True

    def append(self, tables: Iterable[Rows]) -> None:
        """Everything that waits reaches the file; the counters that vouch for it follow in a second flush.

        Raises:
            RuntimeError: If HDF5 cannot write it, as on a full disk; the counters then say what they said.
            OSError: Likewise.
        """
        counters = {}
        for rows in tables:
            for dimension, columns in rows.pending().items():
                total = self._extend(rows.group, dimension, columns)
                counters[rows.group, dimension] = total
        self._file.flush()
        for (group, dimension), total in counters.items():
            self._file[group][COUNTERS[dimension]][()] = total
        self._file.flush()
        self._counts.update(counters)

    def end(self, reason: str) -> None:
        """Writes the end record and closes."""
        write_end(self._file, reason, datetime.now(UTC))
        self._file.flush()
        self._file.close()

    def abandon(self) -> None:
        """Lets go of a file that can no longer be written."""
        # HDF5 tries to write what it still holds and says once more why it cannot.
        with suppress(RuntimeError, OSError):
            self._file.close()

    def _extend(self, group: str, dimension: str, columns: Any) -> int:
        start = self._counts.get((group, dimension), 0)
        total = start + len(columns[dimension])
        stored = self._file[group]
        for name, values in columns.items():
            dataset = stored[name]
            dataset.resize(total, axis=0)
            dataset[start:] = values
        return total


def write_end(file: Any, reason: str, time: datetime) -> None:
    """Says in the file why and when it ended."""
    file["end/reason"][()] = cells([reason], REASON_WIDTH)[0]
    file["end/time"][()] = cells([time.isoformat()], TIME_WIDTH)[0]

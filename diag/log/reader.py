"""Reads a log: live, closed, killed or repaired; of one process, or of many that trained together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diag.events import Happening, Model
from diag.log.environment import process_of
from diag.log.histograms import HistogramSeries, histogram_names, read_histogram
from diag.log.one_rank import TABLES, RankLog, look_at
from diag.log.opening import LogError, files_at, read_run
from diag.log.ranks import happenings_of, look_at_ranks, read_as_one
from diag.log.schema import CONTINUED, rank_of
from diag.log.series import Series, unknown

__all__ = ["Log", "LogError", "Series", "State"]

State = Literal["live", "closed", "killed"]


class Log:
    """The log of a run, as it stood when it was opened or last refreshed.

    Where several ranks trained together, the log reads them as one, and `rank` each by itself. Gradients, weights,
    updates and learning rates are the same on all ranks, and are those of rank 0; so are the clocks, curvature and
    scalars, which `rank` gives for each. What a rank measures of its own examples is pooled: means over the
    ranks (root mean squares for RMS and spread, sums for counts, the extremes for extremes). Of the dead
    units the pooled rate is the smallest of the ranks': a unit that is dead on all ranks is dead on each,
    so this is the most that such units can be. Norms of a parameter that is spread over the ranks are
    those of the whole, and NaN where a rank is missing. A rank that died, or whose file cannot be read, is
    told among the happenings under the kind ``"rank"``, and the others are read.

    Numbers are read when they are asked for, and no file stays open in between, so a log never stands in
    the way of its writer. Of a step that was recorded twice, as by a resumed run, the last row counts.

    Args:
        path: A run folder, or one HDF5 file.
        rank: Of the run folder, this rank alone.

    Attributes:
        path: The same.
        ranks: Those that can be read, rising; ``(0,)`` where one process trained by itself.
        run: What run.json says; empty without one.
        model: All that was watched, layers in order of execution.
        state: ``"closed"`` if the run said that it ended, ``"live"`` if its process still runs on this
            host, otherwise ``"killed"``.
        end_reason: Why it ended; None while it has not said so.
        names: The series of each axis, and under ``"scalars"`` what the user logged.
        steps: All recorded steps of the four axes, rising.
        happenings: What no number can say, of all ranks.

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
    ranks: tuple[int, ...]
    run: Mapping[str, Any]
    model: Model
    state: State
    end_reason: str | None
    names: Mapping[str, tuple[str, ...]]
    steps: NDArray[np.int64]
    happenings: tuple[Happening, ...]

    def __init__(self, path: str | Path, *, rank: int | None = None):
        self.path = Path(path)
        self._asked = rank
        self.refresh()

    def refresh(self) -> None:
        """Looks at the files again: what a live run has flushed since comes into sight.

        Raises:
            LogError: If the log can no longer be read.
        """
        self.run = read_run(self.path)
        self._by_rank, of_ranks = self._look()
        self.ranks = tuple(self._by_rank)
        first = self._by_rank[self.ranks[0]]
        self.model, self.steps, self.names = first.model, first.steps, first.names
        self.happenings = (*of_ranks, *happenings_of(self._by_rank))
        self._set_state(first.end_reason)

    def rank(self, rank: int) -> "Log":
        """What one rank measured, as its own file has it.

        Args:
            rank: One of ``ranks``.

        Raises:
            LogError: If there is none, or none that can be read.
        """
        if rank not in self.ranks:
            there = ", ".join(map(str, self.ranks))
            raise LogError(f"{self.path} has no log of rank {rank} that can be read; there is: {there}")
        return Log(self.path, rank=rank if self.path.is_dir() else None)

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
        if not self._is_whole:
            return self._by_rank[self.ranks[0]].series(name, table)
        return read_as_one(list(self._by_rank.values()), name, table, self._world_size)

    @property
    def histograms(self) -> tuple[str, ...]:
        """Names of the histograms that were recorded; of the first rank where there are several."""
        return histogram_names(self._files)

    def histogram(self, name: str) -> HistogramSeries:
        """Histograms of one kind over the whole run; of the first rank where there are several.

        Args:
            name: One of ``histograms``, such as ``"activation_histogram"``.

        Raises:
            LogError: If there are none of that name, with what there is.
        """
        return read_histogram(self._files, name)

    def __contains__(self, name: object) -> bool:
        return any(name in names for names in self.names.values())

    def __repr__(self) -> str:
        return f'Log("{self.path}", {self.state}, {len(self.steps)} steps)'

    @property
    def _files(self) -> tuple[Path, ...]:
        return tuple(segment.path for segment in self._by_rank[self.ranks[0]].segments)

    @property
    def _is_whole(self) -> bool:
        """Whether it is a run that was asked for, and not one rank or one file of it."""
        return self._asked is None and self.path.is_dir()

    @property
    def _world_size(self) -> int:
        said = self.run.get("world_size")
        return max(said if isinstance(said, int) else 1, self.ranks[-1] + 1)

    def _look(self) -> tuple[dict[int, RankLog], tuple[Happening, ...]]:
        if self._is_whole:
            said = self.run.get("world_size")
            return look_at_ranks(self.path, said if isinstance(said, int) else 1)
        rank = rank_of(self.path) if self._asked is None else self._asked
        return {rank: look_at(files_at(self.path, rank))}, ()

    def _set_state(self, reason: str) -> None:
        # A segment that says it is continued ends the run only if it was asked for by itself.
        has_ended = bool(reason) and not (reason == CONTINUED and self.path.is_dir())
        self.end_reason = reason if has_ended else None
        self.state = "closed" if has_ended else "live" if process_of(self.run) == "running" else "killed"

    def _table_of(self, name: str, of: str | None) -> str:
        if of is not None and of not in TABLES:
            raise LogError(f"Log.series needs of= to be one of {', '.join(TABLES)}; got {of!r}")
        places = TABLES if of is None else (of,)
        for table in places:
            if name in self.names[table]:
                return table
        known = [known for table in places for known in self.names[table]]
        where = f" in {of}" if of else ""
        raise LogError(f"{self.path} has no series{where} {unknown(name, known)}")

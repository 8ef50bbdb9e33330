"""A log as one watched pair sees it: a rule reads "gradient_norm", whatever name the pair goes by."""

from collections.abc import Collection

from diag.events import Model
from diag.log import HistogramSeries, Log, Series

# A rule reads what others read before it; more than this much is read again rather than kept.
MOST_BYTES = 2**28


class PairLog(Log):
    """What a log holds of one watched pair, under the names that it would have were the pair alone.

    Layers and parameters keep their full names. What the user logged without a pair's name belongs to the
    pair without a name, or to the only one.

    Args:
        log: Of the whole run.
        name: Of the pair.
        others: Names of the other pairs.
    """

    def __init__(self, log: Log, name: str = "", others: Collection[str] = ()) -> None:
        self.name = name
        self.has_others = bool(others)
        self.path, self.run, self.state, self.end_reason = log.path, log.run, log.state, log.end_reason
        self.steps, self.happenings, self.ranks = log.steps, log.happenings, log.ranks
        self._log = log
        self._all_others = tuple(others)
        self._others = tuple(f"{other}." for other in others if other)
        self._read: dict[tuple[str, str], Series] = {}
        self.model = self._part_of(log.model)
        self._full_names = {
            axis: {short: full for full in names if (short := self._short(axis, full)) is not None}
            for axis, names in log.names.items()
        }
        self.names = {axis: tuple(names) for axis, names in self._full_names.items()}

    def series(self, name: str, of: str | None = None) -> Series:
        """As `Log.series`, with the pair's own columns only."""
        table = self._table_of(name, of)
        if (table, name) not in self._read:
            self._keep(table, name, self._log.series(self._full_names[table][name], table))
        return self._read[table, name]

    @property
    def histograms(self) -> tuple[str, ...]:
        """As `Log.histograms`."""
        return self._log.histograms

    def histogram(self, name: str) -> HistogramSeries:
        """As `Log.histogram`."""
        return self._log.histogram(name)

    def rank(self, rank: int) -> "PairLog":
        """As `Log.rank`, with the pair's own part only."""
        return PairLog(self._log.rank(rank), self.name, self._all_others)

    def full_name(self, series: str, layer: str | None = None) -> str:
        """The name under which the whole log has a series that speaks of this pair, or of a layer of it."""
        if layer is not None and any(series in self.names[axis] for axis in ("layers", "parameters")):
            return series
        places = (self._full_names[axis] for axis in ("network", "curvature", "scalars"))
        return next((names[series] for names in places if series in names), series)

    def _keep(self, table: str, name: str, series: Series) -> None:
        own = [index for index, column in enumerate(series.columns) if self._owns(column)]
        if table in ("layers", "parameters") and len(own) < len(series.columns):
            columns = tuple(series.columns[index] for index in own)
            series = Series(name, table, series.steps, columns, series.values[:, own])
        self._read[table, name] = series
        while len(self._read) > 1 and sum(kept.values.nbytes for kept in self._read.values()) > MOST_BYTES:
            del self._read[next(iter(self._read))]

    def _owns(self, name: str) -> bool:
        """Whether a layer or a parameter is this pair's."""
        if not self.name:
            return not f"{name}.".startswith(self._others) if self._others else True
        return f"{name}.".startswith(f"{self.name}.")

    def _short(self, axis: str, full: str) -> str | None:
        """A series' name without that of the pair; None if it is another pair's."""
        if axis in ("layers", "parameters") or not self.name:
            return full if axis in ("layers", "parameters") or self._owns(full) else None
        prefix = f"{self.name}."
        if full.startswith(prefix):
            return full.removeprefix(prefix)
        return full if not self.has_others else None

    def _part_of(self, model: Model) -> Model:
        return Model(
            tuple(layer for layer in model.layers if self._owns(layer.name)),
            tuple(parameter for parameter in model.parameters if self._owns(parameter.name)),
            tuple(optimizer for optimizer in model.optimizers if optimizer.name == self.name),
            tuple(criterion for criterion in model.criteria if criterion.name == self.name),
        )


def pairs_of(log: Log) -> tuple[PairLog, ...]:
    """The watched pairs of a run, in the order in which they were watched."""
    names = tuple(dict.fromkeys(optimizer.name for optimizer in log.model.optimizers)) or ("",)
    return tuple(PairLog(log, name, [other for other in names if other != name]) for name in names)

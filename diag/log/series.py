"""One measure over a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from diag.log.opening import LogError


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
            raise LogError(f"{self.name} has no column {unknown(name, self.columns)}")
        return self.values[:, self.columns.index(name)]

    def known(self) -> "Series":
        """The rows that hold a number at all; what is looked at now and then has none at the other steps.

        Example:
            >>> values = np.array([[0.5], [np.nan], [0.2]])
            >>> series = Series("probe_loss", "network", np.arange(3), ("probe_loss",), values)
            >>> series.known().steps.tolist()
            [0, 2]
        """
        has_number = np.isfinite(self.values).any(axis=1)
        return Series(self.name, self.axis, self.steps[has_number], self.columns, self.values[has_number])

    def at(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values at given steps, for a look beside a series of another axis.

        Args:
            steps: Shape ``(m,)``, in any order.

        Returns:
            Shape ``(m, columns)``; NaN at a step that this series does not have. Where the steps are this
            series' own, its ``values`` themselves.

        Example:
            >>> series = Series("loss", "network", np.array([0, 2]), ("loss",), np.array([[3.0], [1.0]]))
            >>> series.at(np.array([0, 1, 2])).tolist()
            [[3.0], [nan], [1.0]]
        """
        # Series of one axis share their steps: what would be a copy of everything is not made.
        if np.array_equal(steps, self.steps):
            return self.values
        found = np.full((len(steps), len(self.columns)), np.nan)
        has = np.isin(steps, self.steps)
        found[has] = self.values[np.searchsorted(self.steps, steps[has])]
        return found


def joined(name: str, axis: str, parts: Sequence[Series]) -> Series:
    """One series of several, the later after the earlier; columns that a part lacks are NaN there."""
    # A long run is hundreds of megabytes: what is whole and in order already is not copied.
    if len(parts) == 1 and _is_rising(parts[0].steps):
        return parts[0]
    columns = tuple(dict.fromkeys(column for part in parts for column in part.columns))
    steps = np.concatenate([part.steps for part in parts])
    values = np.full((len(steps), len(columns)), np.nan)
    start = 0
    for part in parts:
        end = start + len(part.steps)
        values[start:end, [columns.index(column) for column in part.columns]] = part.values
        start = end
    if _is_rising(steps):
        return Series(name, axis, steps, columns, values)
    last = _last_of_each(steps)
    return Series(name, axis, steps[last], columns, values[last])


def _is_rising(steps: NDArray[np.int64]) -> bool:
    return bool(np.all(steps[1:] > steps[:-1]))


def _last_of_each(steps: NDArray[np.int64]) -> NDArray[np.intp]:
    # np.unique finds the first of each; turned round, that is the last.
    _, first = np.unique(steps[::-1], return_index=True)
    return len(steps) - 1 - first


def unknown(name: str, known: Sequence[str]) -> str:
    """A name that is not there, with the nearest that is, and all there are."""
    near = get_close_matches(name, known, n=1)
    hint = f' (did you mean "{near[0]}"?)' if near else ""
    return f'"{name}"{hint}; there is: {", ".join(known) or "nothing"}'

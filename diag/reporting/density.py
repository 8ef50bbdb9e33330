"""How the Hessian's eigenvalues are spread, over time, as a figure."""

import math
from collections.abc import Iterator

import numpy as np

from diag.log import Log
from diag.reporting.exhibit import Exhibit
from diag.reporting.figures import Caption, heat_map
from diag.reporting.reduction import Array, Indices, NumberRow, blocks, number_row
from diag.reporting.words import count, number

_MEASURE = "spectral_density"
_MOST_NAMES, _ROWS_A_NAME, _MOST_COLUMNS = 12, 5, 400
# A density so much smaller than the largest is the tail of a Gaussian and no eigenvalue.
_FLOOR = 1e-6
_QUANTILES = (0.05, 0.5, 0.95)


def densities(log: Log) -> Iterator[Exhibit]:
    """One figure for each watched pair whose spectral density was recorded.

    Args:
        log: A run.

    Yields:
        Eigenvalue × step; the largest eigenvalue on top.
    """
    for name in log.names.get("curvature", ()):
        if name.endswith(_MEASURE):
            series, grid = log.series(name, of="curvature"), log.series(f"{name}_grid", of="curvature")
            kept = np.isfinite(series.values).all(axis=1) & np.isfinite(grid.values).all(axis=1)
            if kept.any():
                yield _exhibit(
                    name.removesuffix(_MEASURE), series.steps[kept], grid.values[kept], series.values[kept]
                )


def _exhibit(pair: str, steps: Indices, grids: Array, values: Array) -> Exhibit:
    eigenvalues, names = _round_numbers(float(grids.min()), float(grids.max()))
    table = np.array([np.interp(eigenvalues, *at, left=0, right=0) for at in zip(grids, values, strict=True)])
    table[table < _FLOOR * table.max()] = 0
    rows = _number_rows(steps, grids, values)
    key = f"{pair}spectral-density".replace(".", "-")
    title = f"Eigenvalues of the Hessian over time{f' ({pair[:-1]})' if pair else ''}"
    description = (
        f"Map of the density of eigenvalues between {number(eigenvalues[-1])} and {number(eigenvalues[0])} "
        f"over {count(len(steps), 'reading')}. "
        + " ".join(f"{row.label} goes from {number(row.first)} to {number(row.last)}." for row in rows)
    )
    return Exhibit(
        key,
        title,
        "How many of the eigenvalues lie where: the bulk about zero, above it the few that a step feels, below zero "
        "directions that lead down from a saddle. The colours are logarithmic; a single eigenvalue of a large "
        "network is a faint line.",
        "Zero, in white, is less than a millionth of the largest density.",
        heat_map(
            Caption(key, title, description),
            blocks(table.T, len(names), _MOST_COLUMNS, "mean"),
            names,
            steps,
            "log",
        ),
        rows,
        0,
    )


def _round_numbers(low: float, high: float) -> tuple[Array, list[str]]:
    """Eigenvalues from the highest down, as a map's rows are drawn, and the names of those that are round."""
    exact = max(high - low, 1e-30) / _MOST_NAMES
    decade = 10.0 ** np.floor(np.log10(exact))
    spacing = decade * next(factor for factor in (1, 2, 5, 10) if factor * decade >= exact)
    top, bottom = math.ceil(high / spacing), math.floor(low / spacing)
    places = np.arange(top * _ROWS_A_NAME, bottom * _ROWS_A_NAME - 1, -1)
    names = ["" if place % _ROWS_A_NAME else number(place / _ROWS_A_NAME * spacing) for place in places]
    return places / _ROWS_A_NAME * spacing, names


def _number_rows(steps: Indices, grids: Array, values: Array) -> tuple[NumberRow, ...]:
    """Quantiles of the eigenvalues, and the share that is below zero, as lines over the steps."""
    shares = np.cumsum(values, axis=1)
    shares /= shares[:, -1:]
    pairs = list(zip(shares, grids, strict=True))
    quantiles = np.array([np.interp(_QUANTILES, share, grid) for share, grid in pairs])
    negative = np.array([np.interp(0.0, grid, share) for share, grid in pairs])
    lines = {
        f"{quantile:.0%} lie below": line for quantile, line in zip(_QUANTILES, quantiles.T, strict=True)
    }
    lines["share below zero"] = negative
    return tuple(number_row(label, steps, line) for label, line in lines.items())

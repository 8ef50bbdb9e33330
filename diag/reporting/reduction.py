"""Fewer points that show the same picture: envelopes for lines, blocks for maps."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def envelope(steps: Indices, values: Array, points: int = 1000) -> tuple[Indices, Array]:
    """The lowest and the highest value of each bucket of a line, in the order in which they came.

    Taking every k-th value loses spikes; this keeps each of them and draws the same outline. What lies
    between the two within a bucket is lost, so the result is for drawing and not for statistics.

    Args:
        steps: Shape ``(n,)``.
        values: Shape ``(n,)``; NaN is passed over where its bucket has a number.
        points: The most points to return, at least 2.

    Returns:
        Steps and values of the kept points; the arrays themselves where they are short enough.

    Example:
        >>> kept, values = envelope(np.arange(6), np.array([0.0, 9.0, 1.0, 2.0, -5.0, 3.0]), points=4)
        >>> kept.tolist(), values.tolist()
        ([0, 1, 4, 5], [0.0, 9.0, -5.0, 3.0])
    """
    if len(values) <= points:
        return steps, values
    edges = np.linspace(0, len(values), points // 2 + 1).astype(np.int64)
    lowest = _positions(np.where(np.isnan(values), np.inf, values), edges, np.argmin)
    highest = _positions(np.where(np.isnan(values), -np.inf, values), edges, np.argmax)
    kept = np.unique(np.concatenate([lowest, highest]))
    return steps[kept], values[kept]


def _positions(values: Array, edges: Indices, extreme: Callable[[Array], np.intp]) -> Indices:
    starts, stops = edges[:-1], edges[1:]
    return np.array([start + extreme(values[start:stop]) for start, stop in zip(starts, stops, strict=True)])


class NumberRow(NamedTuple):
    """What a line or a row of a map comes to: how many numbers, the first, lowest, highest and last."""

    label: str
    readings: int
    first: float
    lowest: float
    lowest_step: int
    highest: float
    highest_step: int
    last: float


def number_row(label: str, steps: Indices, values: Array) -> NumberRow:
    """What a line comes to.

    Args:
        label: Its name.
        steps: Shape ``(n,)``.
        values: Shape ``(n,)``, at least one of them a number; NaN is passed over.

    Returns:
        The numbers that stand beside a figure.

    Example:
        >>> row = number_row("loss", np.array([0, 10, 20]), np.array([2.0, np.nan, 1.0]))
        >>> row.readings, row.first, row.lowest_step
        (2, 2.0, 20)
    """
    kept = np.flatnonzero(~np.isnan(values))
    steps, values = steps[kept], values[kept]
    lowest, highest = int(np.argmin(values)), int(np.argmax(values))
    return NumberRow(
        label,
        len(values),
        float(values[0]),
        float(values[lowest]),
        int(steps[lowest]),
        float(values[highest]),
        int(steps[highest]),
        float(values[-1]),
    )


class Blocks(NamedTuple):
    """A table made smaller.

    Attributes:
        values: Shape ``(rows, columns)``.
        row_size: How many of the original rows are one row; the last may hold fewer.
        column_size: How many of the original columns are one column; the last may hold fewer.
    """

    values: Array
    row_size: int
    column_size: int


def blocks(values: Array, rows: int, columns: int, reduce: Literal["maximum", "mean"]) -> Blocks:
    """Reduce a table to at most so many rows and columns, block by block.

    A maximum keeps a spike of one step visible and hides a dip of one step; a mean hides both.

    Args:
        values: Shape ``(n, m)``; NaN is passed over.
        rows: The most rows to return.
        columns: The most columns to return.
        reduce: What to take of a block. One without a number is NaN.

    Returns:
        The smaller table and the size of its blocks.

    Example:
        >>> blocks(np.array([[1.0, 2.0, np.nan, np.nan, 5.0]]), 1, 3, "maximum").values.tolist()
        [[2.0, nan, 5.0]]
    """
    row_size = max(math.ceil(values.shape[0] / rows), 1)
    column_size = max(math.ceil(values.shape[1] / columns), 1)
    # Where each block begins: so that nothing is padded or copied, be it hundreds of megabytes.
    starts = [np.arange(0, values.shape[0], row_size), np.arange(0, values.shape[1], column_size)]
    return Blocks({"maximum": _maximum, "mean": _mean}[reduce](values, *starts), row_size, column_size)


def _maximum(values: Array, rows: Indices, columns: Indices) -> Array:
    # fmax and not maximum, which a NaN would win.
    return np.fmax.reduceat(np.fmax.reduceat(values, columns, axis=1), rows, axis=0)


def _mean(values: Array, rows: Indices, columns: Indices) -> Array:
    def total(table: NDArray[Any]) -> Array:
        return np.add.reduceat(np.add.reduceat(table, columns, axis=1, dtype=np.float64), rows, axis=0)

    missing = np.isnan(values)
    numbers = total(~missing)
    sums = total(np.where(missing, 0.0, values))
    return np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)

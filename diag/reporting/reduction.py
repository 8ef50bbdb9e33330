"""Fewer points that show the same picture: envelopes for lines, blocks for maps."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

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
    missing = (-values.shape[0] % row_size, -values.shape[1] % column_size)
    padded = np.pad(values, ((0, missing[0]), (0, missing[1])), constant_values=np.nan)
    tiles = padded.reshape(padded.shape[0] // row_size, row_size, padded.shape[1] // column_size, column_size)
    return Blocks({"maximum": _maximum, "mean": _mean}[reduce](tiles), row_size, column_size)


def _maximum(tiles: Array) -> Array:
    # fmax and not nanmax, which warns of a block without a number.
    return np.asarray(np.fmax.reduce(np.fmax.reduce(tiles, axis=3), axis=1))


def _mean(tiles: Array) -> Array:
    numbers = np.sum(~np.isnan(tiles), axis=(1, 3))
    total = np.nansum(tiles, axis=(1, 3))
    return np.divide(total, numbers, out=np.full(total.shape, np.nan), where=numbers > 0)

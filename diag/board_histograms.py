"""Histograms for TensorBoard: counts by powers of two, and densities, as its own buckets."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.histogram import metadata

from diag.events import Histogram, Reading

Numbers = NDArray[np.float64]
DENSITY, GRID = "spectral_density", "spectral_density_grid"


def histogram_values(histograms: Sequence[Histogram], edges: Numbers) -> Iterator[Any]:
    """One value for each layer or parameter, with the tag ``NAME/SUBJECT``.

    What is infinite or NaN has no place on an axis: the log counts it, and so do the series
    ``activation_non_finite_count`` and ``gradient_non_finite_count``.

    Args:
        histograms: Counts by the bins of `probes.magnitude_histogram`.
        edges: The powers of two between the bins of either sign.

    Yields:
        Protocol buffers; none where nothing was counted.
    """
    borders = _borders(edges)
    for histogram in histograms:
        for subject, counts in zip(histogram.columns, histogram.counts, strict=True):
            # Between the bins for −∞ and for +∞ and NaN.
            finite = counts[1:-2].astype(np.float64)
            seen = np.flatnonzero(finite)
            if seen.size:
                kept = slice(seen[0], seen[-1] + 1)
                buckets = np.column_stack([borders[:-1][kept], borders[1:][kept], finite[kept]])
                yield _value(f"{histogram.name}/{subject}", buckets)


def without_densities(readings: Sequence[Reading]) -> tuple[list[Reading], list[Any]]:
    """Readings that are shown as scalars, and the values of those that are shown as histograms."""
    by_name = {reading.name: reading for reading in readings}
    values = []
    for name, reading in by_name.items():
        grid = by_name.get(f"{name}_grid")
        if name.endswith(DENSITY) and grid is not None and np.isfinite(reading.value).all():
            values.append(_value(name, _buckets(np.asarray(grid.value), np.asarray(reading.value))))
    return [reading for reading in readings if not reading.name.endswith((DENSITY, GRID))], values


def _buckets(grid: Numbers, density: Numbers) -> Numbers:
    half = np.diff(grid).mean() / 2
    return np.column_stack([grid - half, grid + half, density * 2 * half])


def _borders(edges: Numbers) -> Numbers:
    """Of all finite bins, from the most negative to the largest; zero's own bin has no width."""
    # Beyond the largest power, and below the smallest: normal numbers, then subnormal ones.
    positive = np.concatenate([[0.0, edges[0] / 2], edges, [edges[-1] * 2]])
    return np.concatenate([-positive[::-1], positive])


def _value(tag: str, buckets: Numbers) -> Any:
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_DOUBLE,
        tensor_content=np.ascontiguousarray(buckets, "<f8").tobytes(),
        tensor_shape=tensor_shape_pb2.TensorShapeProto(
            dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in buckets.shape]
        ),
    )
    return summary_pb2.Summary.Value(
        tag=tag, metadata=metadata.create_summary_metadata(display_name="", description=""), tensor=tensor
    )

"""The figures of a report: which series, how to read them, and their numbers beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from diag.diagnosis.findings import Diagnosis
from diag.log import Log, Series
from diag.reporting.facts import find
from diag.reporting.figures import Caption, Line, Mark, Panel, heat_map, heat_map_png, line_chart
from diag.reporting.reduction import Array, Blocks, Indices, blocks
from diag.reporting.words import count, number

_MOST_ROWS, _MOST_COLUMNS = 120, 400
_MOST_LINES = 6
_MOST_NUMBER_ROWS = 120


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


@dataclass(frozen=True)
class Exhibit:
    """One figure of the report.

    Attributes:
        key: Unique on the page.
        title: Of the figure.
        reading: How to read it.
        note: What is left out or reduced; empty where nothing is.
        svg: The figure.
        numbers: At most 120 rows.
        more_numbers: How many rows are left out of ``numbers``.
    """

    key: str
    title: str
    reading: str
    note: str
    svg: str
    numbers: tuple[NumberRow, ...]
    more_numbers: int


@dataclass(frozen=True)
class _Map:
    key: str
    axis: str
    name: str
    scale: Literal["log", "share"]
    reduce: Literal["maximum", "mean"]
    title: str
    reading: str


_MAPS = (
    _Map(
        "gradients",
        "layers",
        "gradient_norm",
        "log",
        "maximum",
        "Gradient norm by depth",
        "One row for each layer, the first on top; one column for each recorded step. Rows that darken "
        "towards the top mean a gradient that vanishes on its way back; rows that brighten, one that "
        "explodes.",
    ),
    _Map(
        "updates",
        "parameters",
        "update_ratio",
        "log",
        "maximum",
        "Update ratio by parameter",
        "Norm of a step's update over the norm of the weight. About 10⁻³ is usual; near 10⁻¹ a step "
        "overwrites what was learnt, below 10⁻⁵ a parameter hardly moves.",
    ),
    _Map(
        "dead-units",
        "layers",
        "dead_unit_rate",
        "share",
        "mean",
        "Dead units by depth",
        "Share of a rectifying layer's units that are zero on every example of that step's batch: 0 is none, "
        "1 is all. A single batch overstates it, so the rules read the rate that is pooled over many.",
    ),
)


def exhibits(log: Log, diagnosis: Diagnosis) -> tuple[Exhibit, ...]:
    """The figures that this log has the series for.

    Args:
        log: A run.
        diagnosis: Of the same run; its onsets are marked, numbered as its findings.

    Returns:
        In the order of the report; a figure that would have no number to show is left out.
    """
    found = [
        _losses(log, diagnosis),
        *(_map(log, diagnosis, of) for of in _MAPS),
        _eigenvalues(log),
        _gradient_norm_ratio(log, diagnosis),
        _learning_rate(log),
    ]
    return tuple(exhibit for exhibit in found if exhibit is not None)


def maps_as_png(log: Log, diagnosis: Diagnosis) -> Iterator[tuple[str, bytes]]:
    """The maps of layer × step as pictures.

    Args:
        log: A run.
        diagnosis: Of the same run; its onsets are marked.

    Yields:
        Name of the series, and a PNG.
    """
    for of in _MAPS:
        found = _heard(log, of)
        if found is not None:
            names, values, steps, _ = found
            reduced = blocks(values, _MOST_ROWS, _MOST_COLUMNS, of.reduce)
            yield of.name, heat_map_png(reduced, names, steps, of.scale, _marks(diagnosis, of.name, names))


def _heard(log: Log, of: _Map) -> tuple[list[str], Array, Indices, int] | None:
    """Names and values of what has a number, the steps, and how many have none; None where all have none."""
    series = find(log, of.axis, of.name)
    if series is None or np.isnan(series.values).all():
        return None
    heard = np.flatnonzero(~np.isnan(series.values).all(axis=0))
    names = [series.columns[index] for index in heard]
    return names, series.values[:, heard].T, series.steps, len(series.columns) - len(names)


def _losses(log: Log, diagnosis: Diagnosis) -> Exhibit | None:
    marks = _marks(diagnosis)
    reading = "The loss that is optimised, and what the run logged beside it."
    if marks:
        reading += " A numbered line stands where the finding of that number begins."
    panels = [Panel(_plain_lines(log, "loss")), Panel(_plain_lines(log, "acc"))]
    return chart("loss", "Loss", reading, panels, marks)


def _eigenvalues(log: Log) -> Exhibit | None:
    measure = "top_eigenvalues"
    pairs = [name.removesuffix(measure) for name in log.names["curvature"] if name.endswith(measure)]
    return chart(
        "curvature",
        "Largest curvatures of the loss",
        "The largest eigenvalues of the Hessian, and the curvature above which this optimiser's steps "
        "overshoot. To hover at the threshold is common and no fault; to stay above it while the loss grows "
        "is one.",
        [Panel(tuple(_eigenvalue_lines(log, pair))) for pair in pairs],
    )


def _eigenvalue_lines(log: Log, pair: str) -> list[Line]:
    """Of one watched pair, whose name goes before those of its series."""
    eigenvalues = _to_lines(find(log, "curvature", f"{pair}top_eigenvalues"), f"{pair}eigenvalue")
    threshold = _to_lines(find(log, "curvature", f"{pair}stability_threshold"), f"{pair}stability threshold")
    return eigenvalues[: _MOST_LINES - 1] + threshold


def _gradient_norm_ratio(log: Log, diagnosis: Diagnosis) -> Exhibit | None:
    marks = _marks(diagnosis, "gradient_norm_ratio")
    return chart(
        "gradient-ratio",
        "First layer's gradient over the last's",
        "1 (dashed) is level. Far below it the gradient vanishes on its way back, far above it explodes.",
        [Panel(_plain_lines(log, "gradient_norm_ratio"), reference=1.0)],
        marks,
    )


def _learning_rate(log: Log) -> Exhibit | None:
    return chart(
        "learning-rate",
        "Learning rate",
        "As the optimiser used it at each recorded step: it should follow the schedule that was meant.",
        [Panel(_plain_lines(log, "learning_rate"))],
    )


def _plain_lines(log: Log, word: str) -> tuple[Line, ...]:
    """The network's and the user's series whose names hold the word."""
    lines = [
        line
        for axis in ("network", "scalars")
        for name in log.names.get(axis, ())
        if word in name
        for line in _to_lines(log.series(name, of=axis), name)
    ]
    return tuple(lines[:_MOST_LINES])


def _to_lines(series: Series | None, label: str) -> list[Line]:
    if series is None:
        return []
    is_single = len(series.columns) == 1
    return [
        Line(label if is_single else f"{label} {index}", series.steps, values)
        for index, values in enumerate(series.values.T, start=1)
        if np.isfinite(values).any()
    ]


def chart(
    key: str, title: str, reading: str, panels: Sequence[Panel], marks: Sequence[Mark] = ()
) -> Exhibit | None:
    """Lines over the steps, with their numbers.

    Args:
        key: Unique on the page.
        title: Of the figure.
        reading: How to read it.
        panels: One above the other; those without lines are left out.
        marks: Steps to point at.

    Returns:
        The figure; None where no panel has a line.
    """
    filled = [panel for panel in panels if panel.lines]
    if not filled:
        return None
    rows = tuple(_number_row(line.label, line.steps, line.values) for panel in filled for line in panel.lines)
    description = " ".join(
        f"{row.label} goes from {number(row.first)} to {number(row.last)}; its highest value is "
        f"{number(row.highest)} at step {row.highest_step:,}."
        for row in rows
    )
    svg = line_chart(Caption(key, title, description), filled, marks)
    return Exhibit(key, title, reading, _gaps(filled), svg, rows, 0)


def _gaps(panels: Sequence[Panel]) -> str:
    """Says which lines have gaps: a loss that is NaN leaves one."""
    missing = [(line, int(np.sum(~np.isfinite(line.values)))) for panel in panels for line in panel.lines]
    return " ".join(
        f"{line.label} is no finite number in {amount:,} of {count(len(line.values), 'reading')}."
        for line, amount in missing
        if amount
    )


def _map(log: Log, diagnosis: Diagnosis, of: _Map) -> Exhibit | None:
    found = _heard(log, of)
    if found is None:
        return None
    names, values, steps, silent = found
    reduced = blocks(values, _MOST_ROWS, _MOST_COLUMNS, of.reduce)
    rows = tuple(_number_row(name, steps, row) for name, row in zip(names, values, strict=True))
    caption = Caption(of.key, of.title, _describe_map(of, rows, len(steps)))
    marks = _marks(diagnosis, of.name, names)
    return Exhibit(
        of.key,
        of.title,
        of.reading,
        _note(reduced, of, silent),
        heat_map(caption, reduced, names, steps, of.scale, marks),
        rows[:_MOST_NUMBER_ROWS],
        max(len(rows) - _MOST_NUMBER_ROWS, 0),
    )


def _describe_map(of: _Map, rows: Sequence[NumberRow], steps: int) -> str:
    lowest, highest = min(row.lowest for row in rows), max(row.highest for row in rows)
    return (
        f"Map of {of.name} for {count(len(rows), of.axis[:-1])} over {count(steps, 'recorded step')}; "
        f"its values lie between {number(lowest)} and {number(highest)}."
    )


def _note(reduced: Blocks, of: _Map, left_out: int) -> str:
    noun = of.axis[:-1]
    sentences = []
    if reduced.column_size > 1:
        sentences.append(f"Each column is the {of.reduce} of {reduced.column_size} recorded steps.")
    if reduced.row_size > 1:
        sentences.append(
            f"Each row is the {of.reduce} of {count(reduced.row_size, noun)}, named after the first."
        )
    if left_out:
        sentences.append(
            f"{count(left_out, noun)} without any number {'is' if left_out == 1 else 'are'} left out."
        )
    return " ".join(sentences)


def _marks(diagnosis: Diagnosis, series: str = "", names: Sequence[str] = ()) -> list[Mark]:
    return [
        Mark(finding.onset_step, str(index), _row(finding.layer, names))
        for index, finding in enumerate(diagnosis.findings, start=1)
        if finding.onset_step is not None and finding.evidence.series.startswith(series)
    ]


def _row(layer: str | None, names: Sequence[str]) -> int | None:
    """The row of a layer, or of the first of its parameters."""
    of_layer = (index for index, name in enumerate(names) if name == layer or name.startswith(f"{layer}."))
    return next(of_layer, None)


def _number_row(label: str, steps: Indices, values: Array) -> NumberRow:
    kept = ~np.isnan(values)
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

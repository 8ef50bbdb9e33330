"""The figures of a report: which series, how to read them, and their numbers beside them."""

from collections.abc import Sequence

import numpy as np

from diag.diagnosis.findings import Diagnosis
from diag.log import Log, Series
from diag.reporting.exhibit import Exhibit, marks
from diag.reporting.facts import find
from diag.reporting.figures import Caption, Line, Mark, Panel, line_chart
from diag.reporting.maps import maps
from diag.reporting.reduction import number_row
from diag.reporting.survey import Survey
from diag.reporting.words import count, number

_MOST_LINES = 6


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
        *maps(Survey.of(log), diagnosis),
        _eigenvalues(log),
        _gradient_norm_ratio(log, diagnosis),
        _learning_rate(log),
    ]
    return tuple(exhibit for exhibit in found if exhibit is not None)


def _losses(log: Log, diagnosis: Diagnosis) -> Exhibit | None:
    onsets = marks(diagnosis)
    reading = "The loss that is optimised, and what the run logged beside it."
    if onsets:
        reading += " A numbered line stands where the finding of that number begins."
    panels = [Panel(_plain_lines(log, "loss")), Panel(_plain_lines(log, "acc"))]
    return chart("loss", "Loss", reading, panels, onsets)


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
    return chart(
        "gradient-ratio",
        "First layer's gradient over the last's",
        "1 (dashed) is level. Far below it the gradient vanishes on its way back, far above it explodes.",
        [Panel(_plain_lines(log, "gradient_norm_ratio"), reference=1.0)],
        marks(diagnosis, "gradient_norm_ratio"),
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
    key: str, title: str, reading: str, panels: Sequence[Panel], onsets: Sequence[Mark] = ()
) -> Exhibit | None:
    """Lines over the steps, with their numbers.

    Args:
        key: Unique on the page.
        title: Of the figure.
        reading: How to read it.
        panels: One above the other; those without lines are left out.
        onsets: Steps to point at.

    Returns:
        The figure; None where no panel has a line.
    """
    filled = [panel for panel in panels if panel.lines]
    if not filled:
        return None
    rows = tuple(number_row(line.label, line.steps, line.values) for panel in filled for line in panel.lines)
    description = " ".join(
        f"{row.label} goes from {number(row.first)} to {number(row.last)}; its highest value is "
        f"{number(row.highest)} at step {row.highest_step:,}."
        for row in rows
    )
    svg = line_chart(Caption(key, title, description), filled, onsets)
    return Exhibit(key, title, reading, _gaps(filled), svg, rows, 0)


def _gaps(panels: Sequence[Panel]) -> str:
    """Says which lines have gaps: a loss that is NaN leaves one."""
    missing = [(line, int(np.sum(~np.isfinite(line.values)))) for panel in panels for line in panel.lines]
    return " ".join(
        f"{line.label} is no finite number in {amount:,} of {count(len(line.values), 'reading')}."
        for line, amount in missing
        if amount
    )

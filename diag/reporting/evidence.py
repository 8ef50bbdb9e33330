"""The figures of a report: which series, how to read them, and their numbers beside them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diag.diagnosis.findings import Diagnosis
from diag.log import Log, Series
from diag.reporting.density import densities
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
        *densities(log),
        _noise_scale(log, diagnosis),
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
        "is one. Adam and its kin have theirs for the eigenvalue of the Hessian as they scale it.",
        [panel for pair in pairs for panel in _eigenvalue_panels(log, pair)],
    )


def _eigenvalue_panels(log: Log, pair: str) -> list[Panel]:
    """Of one watched pair, whose name goes before those of its series."""
    plain, seen, threshold = (
        _to_lines(find(log, "curvature", f"{pair}{name}"), f"{pair}{label}")
        for name, label in (
            ("top_eigenvalues", "eigenvalue"),
            ("preconditioned_top_eigenvalue", "eigenvalue that the optimiser sees"),
            ("stability_threshold", "stability threshold"),
        )
    )
    plain = plain[: _MOST_LINES - 1]
    # An optimiser that divides by its own measure of the gradient has its threshold in those units.
    return [Panel((*plain,)), Panel((*seen, *threshold))] if seen else [Panel((*plain, *threshold))]


def _noise_scale(log: Log, diagnosis: Diagnosis) -> Exhibit | None:
    measured = [_without_gaps(line) for line in _plain_lines(log, "gradient_noise_scale")]
    return chart(
        "noise-scale",
        "Gradient noise scale",
        "The batch size at which noise and signal in the gradient are as large as each other, beside the one that "
        "was used. Far above it a larger batch makes steps better in proportion; far below it, hardly at all. "
        "Each reading is a rough estimate.",
        [Panel((*measured, *_plain_lines(log, "batch_size")) if measured else ())],
        marks(diagnosis, "gradient_noise_scale"),
    )


def _without_gaps(line: Line) -> Line:
    """What is not measured at every recorded step, joined from reading to reading."""
    kept = np.isfinite(line.values)
    return replace(line, steps=line.steps[kept], values=line.values[kept])


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

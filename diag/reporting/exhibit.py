"""A figure of the report, and the findings that are marked in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from diag.diagnosis.findings import Diagnosis
from diag.reporting.figures import Mark
from diag.reporting.reduction import NumberRow


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


def marks(diagnosis: Diagnosis, series: str = "", names: Sequence[str] = ()) -> list[Mark]:
    """The onsets of the findings that rest on a series.

    Args:
        diagnosis: Its findings give the marks their numbers.
        series: What the evidence's series begins with; all findings where it is empty.
        names: The rows of a map, where a mark points at a layer's.

    Returns:
        One mark for each finding that has an onset.
    """
    return [
        Mark(finding.onset_step, str(index), _row(finding.layer, names))
        for index, finding in enumerate(diagnosis.findings, start=1)
        if finding.onset_step is not None and finding.evidence.series.startswith(series)
    ]


def _row(layer: str | None, names: Sequence[str]) -> int | None:
    """The row of a layer, or of the first of its parameters."""
    of_layer = (index for index, name in enumerate(names) if name == layer or name.startswith(f"{layer}."))
    return next(of_layer, None)

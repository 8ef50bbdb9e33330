"""Maps of layer × step: which there are, and how to read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from diag.diagnosis.findings import Diagnosis
from diag.reporting.exhibit import Exhibit, marks
from diag.reporting.figures import Caption, heat_map, heat_map_png
from diag.reporting.reduction import NumberRow
from diag.reporting.survey import MAPS, Digest, Map, Survey
from diag.reporting.words import count, number

_MOST_NUMBER_ROWS = 120


@dataclass(frozen=True)
class _Map:
    key: str
    axis: str
    name: str
    scale: Literal["log", "share"]
    title: str
    reading: str


_MAPS = (
    _Map(
        "gradients",
        "layers",
        "gradient_norm",
        "log",
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
        "Update ratio by parameter",
        "Norm of a step's update over the norm of the weight. About 10⁻³ is usual; near 10⁻¹ a step "
        "overwrites what was learnt, below 10⁻⁵ a parameter hardly moves.",
    ),
    _Map(
        "dead-units",
        "layers",
        "dead_unit_rate",
        "share",
        "Dead units by depth",
        "Share of a rectifying layer's units that are zero on every example of that step's batch: 0 is none, "
        "1 is all. A single batch overstates it, so the rules read the rate that is pooled over many.",
    ),
    _Map(
        "saturated-units",
        "layers",
        "saturation_rate",
        "share",
        "Saturated units by depth",
        "Share of a tanh or sigmoid layer's outputs that lie so close to an end that hardly any gradient comes "
        "through: 0 is none, 1 is all.",
    ),
)


def maps(log: Survey, diagnosis: Diagnosis) -> Iterator[Exhibit]:
    """The maps of what this log has.

    Args:
        log: A run.
        diagnosis: Of the same run; its onsets are marked, numbered as its findings.

    Yields:
        In the order of the report.
    """
    for of, digest, found in _found(log):
        yield _exhibit(of, digest, found, diagnosis)


def maps_as_png(log: Survey, diagnosis: Diagnosis) -> Iterator[tuple[str, bytes]]:
    """The maps of layer × step as pictures.

    Args:
        log: A run.
        diagnosis: Of the same run; its onsets are marked.

    Yields:
        Name of the series, and a PNG.
    """
    for of, digest, found in _found(log):
        marked = marks(diagnosis, of.name, found.names)
        yield of.name, heat_map_png(found.table, found.names, digest.steps, of.scale, marked)


def _found(log: Survey) -> Iterator[tuple[_Map, Digest, Map]]:
    for of in _MAPS:
        if of.name in log.names.get(of.axis, ()):
            digest = log.digest(of.axis, of.name)
            if digest.map is not None:
                yield of, digest, digest.map


def _exhibit(of: _Map, digest: Digest, found: Map, diagnosis: Diagnosis) -> Exhibit:
    caption = Caption(of.key, of.title, _describe(of, found.rows, len(digest.steps)))
    marked = marks(diagnosis, of.name, found.names)
    return Exhibit(
        of.key,
        of.title,
        of.reading,
        _note(found, of, len(digest.columns) - len(found.names)),
        heat_map(caption, found.table, found.names, digest.steps, of.scale, marked),
        found.rows[:_MOST_NUMBER_ROWS],
        max(len(found.rows) - _MOST_NUMBER_ROWS, 0),
    )


def _describe(of: _Map, rows: Sequence[NumberRow], steps: int) -> str:
    lowest, highest = min(row.lowest for row in rows), max(row.highest for row in rows)
    return (
        f"Map of {of.name} for {count(len(rows), of.axis[:-1])} over {count(steps, 'recorded step')}; "
        f"its values lie between {number(lowest)} and {number(highest)}."
    )


def _note(found: Map, of: _Map, left_out: int) -> str:
    noun, reduced = of.axis[:-1], MAPS[of.axis, of.name]
    sentences = []
    if found.table.column_size > 1:
        sentences.append(f"Each column is the {reduced} of {found.table.column_size} recorded steps.")
    if found.table.row_size > 1:
        sentences.append(
            f"Each row is the {reduced} of {count(found.table.row_size, noun)}, named after the first."
        )
    if left_out:
        sentences.append(
            f"{count(left_out, noun)} without any number {'is' if left_out == 1 else 'are'} left out."
        )
    return " ".join(sentences)

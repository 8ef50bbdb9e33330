"""The three forms of a comparison, and the one that a file's suffix asks for."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from diag.comparison.parting import CRITERION
from diag.comparison.runs import Comparison, Entry, Outcome
from diag.curves import Measure
from diag.reporting.evidence import chart
from diag.reporting.exhibit import Exhibit
from diag.reporting.facts import STATUS_WORDS
from diag.reporting.figures import Line, Panel
from diag.reporting.forms import ENVIRONMENT, write_whole
from diag.reporting.words import count, enumeration, number

# Beyond these nobody follows a line or a row; the tables of numbers and the JSON have all.
_MOST_LINES, _MOST_ROWS, _MOST_NAMED = 12, 300, 4


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Writes the comparison of several runs; the suffix of the file decides its form.

    Args:
        comparison: Of the runs.
        path: Ends in ``.html``, ``.md`` or ``.json``. Missing folders are made.

    Returns:
        The path.

    Raises:
        ValueError: If the suffix is another.
        OSError: If the file cannot be written.
    """
    forms = {".html": to_html, ".md": to_markdown, ".json": to_json}
    if path.suffix not in forms:
        raise ValueError(
            f"compare needs a file that ends in {', '.join(forms)}; it got {path.name!r}; rename it"
        )
    text = forms[path.suffix](comparison)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path


def to_html(comparison: Comparison) -> str:
    """One self-contained page that loads nothing and runs nothing."""
    drawn = comparison.entries[:_MOST_LINES]
    figures = [_overlay(f"measure-{at}", of, drawn) for at, of in enumerate(comparison.measures)]
    return _render("comparison.html.jinja", comparison, exhibits=[figure for figure in figures if figure])


def to_markdown(comparison: Comparison) -> str:
    """The comparison without its figures. Text of the logs cannot become HTML in it."""
    return re.sub(r"\n{3,}", "\n\n", _render("comparison.md.jinja", comparison))


def to_json(comparison: Comparison) -> str:
    """The comparison as data; its keys stand with `Comparison.to_json`."""
    return json.dumps(comparison.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def summary(comparison: Comparison) -> str:
    """What is to be said first: how the runs stand, and where their losses part from the first's."""
    statuses = [run.diagnosis.status for run in comparison.runs]
    amounts = [
        f"{statuses.count(status)} {word.lower()}"
        for status, word in STATUS_WORDS.items()
        if status in statuses
    ]
    return (
        f"{count(len(statuses), 'run')}: {enumeration(amounts)}. {_partings_of_the_loss(comparison)}".strip()
    )


def _partings_of_the_loss(comparison: Comparison) -> str:
    partings = [parting for parting in comparison.partings if parting.measure == "loss"]
    parted = [f"{of.run} at step {of.apart_from:,}" for of in partings if of.apart_from is not None]
    baseline = comparison.runs[0].name
    if not partings:
        return ""
    if not parted:
        return f"In the loss none parts for good from {baseline}."
    if len(parted) > _MOST_NAMED:
        parted[_MOST_NAMED:] = [f"{len(parted) - _MOST_NAMED} more"]
    return f"In the loss they part for good from {baseline}: {enumeration(parted)}."


def spelled(outcome: Outcome | None) -> tuple[str, str]:
    """The last value of an entry, and its interval; empty where there is none."""
    if outcome is None:
        return "–", ""
    value = number(outcome.mean)
    if outcome.n == 1:
        return value, ""
    return value, f"{number(outcome.low)} to {number(outcome.high)}, n = {outcome.n}"


def outcome_rows(comparison: Comparison) -> list[tuple[Measure, list[tuple[str, str]]]]:
    """Each measure, and its last value in each entry with its interval."""
    found = {(outcome.measure, outcome.entry): outcome for outcome in comparison.outcomes}
    return [
        (measure, [spelled(found.get((measure.name, entry.label))) for entry in comparison.entries])
        for measure in comparison.measures
    ]


def _overlay(key: str, measure: Measure, entries: Sequence[Entry]) -> Exhibit | None:
    lines = [line for look, entry in enumerate(entries) if (line := _line(entry, measure, look)) is not None]
    reading = [measure.reading] if measure.reading else []
    if any(line.band is not None for line in lines):
        reading.append("A shaded band is the 95 % interval of the mean over seeds; it may leave the figure.")
    return chart(key, measure.title, " ".join(reading), [Panel(tuple(lines), reference=measure.reference)])


def _line(entry: Entry, measure: Measure, look: int) -> Line | None:
    found = entry.curve(measure)
    if found is None or not len(found[0].steps):
        return None
    curve, half = found
    band = None if half is None else (curve.values - half, curve.values + half)
    return Line(entry.label, curve.steps, curve.values, band, look)


def _render(template: str, comparison: Comparison, **more: object) -> str:
    return ENVIRONMENT.get_template(template).render(
        comparison=comparison,
        summary=summary(comparison),
        status_words=STATUS_WORDS,
        outcomes=outcome_rows(comparison),
        criterion=CRITERION,
        most_lines=_MOST_LINES,
        most_rows=_MOST_ROWS,
        **more,
    )

"""What a comparison looks like in a terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from diag.cli.terminal import COLOURS, WORDS
from diag.comparison import ComparedRun, Comparison
from diag.comparison.forms import outcome_rows, summary

_LONGEST, _MOST_SETTINGS = 60, 20


def side_by_side(comparison: Comparison) -> RenderableType:
    """Verdicts, settings that differ, outcomes, and where the runs part."""
    tables = [_verdicts(comparison.runs), _settings(comparison), _outcomes(comparison), _partings(comparison)]
    return Group(Text(summary(comparison), style="bold"), *(table for table in tables if table.row_count))


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table


def _verdicts(runs: Sequence[ComparedRun]) -> Table:
    table = _table("Verdicts", "run", "state", "steps", "verdict", "first finding")
    for run in runs:
        status, findings = run.diagnosis.status, run.diagnosis.findings
        verdict = Text(WORDS[status], style=f"bold {COLOURS[status]}")
        first = f"{findings[0].rule} ({findings[0].severity})" if findings else ""
        table.add_row(Text(run.name), run.state, f"{run.recorded_steps:,}", verdict, Text(first))
    return table


def _settings(comparison: Comparison) -> Table:
    table = _table("Settings that differ", "setting", *(run.name for run in comparison.runs))
    for difference in comparison.differences[:_MOST_SETTINGS]:
        table.add_row(Text(difference.key), *(Text(_short(value)) for value in difference.values))
    if len(comparison.differences) > _MOST_SETTINGS:
        table.add_row(Text(f"and {len(comparison.differences) - _MOST_SETTINGS} more", style="dim"))
    return table


def _outcomes(comparison: Comparison) -> Table:
    title = "Last values" + ("; 95 % intervals of the mean over seeds" if comparison.groups else "")
    table = _table(title, "measure", *(entry.label for entry in comparison.entries))
    for measure, cells in outcome_rows(comparison):
        table.add_row(Text(measure.name), *(f"{value}\n{interval}".rstrip() for value, interval in cells))
    return table


def _partings(comparison: Comparison) -> Table:
    table = _table(
        f"Apart for good from {comparison.runs[0].name}", "run", "from step", "in", "first difference"
    )
    for parting in comparison.partings:
        if parting.apart_from is not None:
            steps = f"{parting.apart_from:,}", f"{parting.first_difference:,}"
            table.add_row(Text(parting.run), steps[0], Text(parting.measure), steps[1])
    return table


def _short(value: str | None) -> str:
    text = value if value is not None else "–"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

"""What a diagnosis and a log look like in a terminal."""

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from diag.diagnosis import Diagnosis, Finding
from diag.log import Log

COLOURS = {
    "healthy": "green",
    "note": "blue",
    "warning": "yellow",
    "fault": "red",
    "not_assessable": "magenta",
}
WORDS = {
    "healthy": "healthy",
    "warning": "warning",
    "fault": "fault",
    "not_assessable": "cannot be assessed",
}

# What fits a screen; the report has all.
_AT_LENGTH, _AT_MOST = 3, 8


def verdict(diagnosis: Diagnosis, title: str) -> RenderableType:
    """A panel of one screen with the status and the findings, causes first; only the first few at length."""
    parts: list[RenderableType] = [Text(WORDS[diagnosis.status], style=f"bold {COLOURS[diagnosis.status]}")]
    parts += [_finding(number, finding) for number, finding in enumerate(diagnosis.findings[:_AT_LENGTH], 1)]
    if len(diagnosis.findings) > _AT_LENGTH:
        parts += [Text(), *in_short(diagnosis, _AT_MOST, after=_AT_LENGTH)]
    if diagnosis.not_assessed:
        parts.append(Text(f"\nNot assessed: {_lacking(diagnosis)}", style="dim"))
    return Panel(Group(*parts), title=escape(title), border_style=COLOURS[diagnosis.status], box=box.ROUNDED)


def in_short(diagnosis: Diagnosis, most: int, after: int = 0) -> list[RenderableType]:
    """A line for each finding after so many, and how many are left out.

    Args:
        diagnosis: Of a run.
        most: How many lines for findings.
        after: How many findings have been told before.

    Returns:
        Nothing where there is no finding.
    """
    left = list(enumerate(diagnosis.findings, 1))[after:]
    lines: list[RenderableType] = [_headline(number, finding) for number, finding in left[:most]]
    if len(left) > most:
        lines.append(Text(f"and {len(left) - most} more; `diag report` tells of all", style="dim"))
    return lines


def _lacking(diagnosis: Diagnosis) -> str:
    """Which rules could not look, and what for where they are few."""
    reasons = [f"{rule}: {reason}" for rule, reason in diagnosis.not_assessed.items()]
    if len(reasons) <= _AT_MOST:
        return "; ".join(reasons)
    return f"{', '.join(diagnosis.not_assessed)}; the report says what they lack"


def _headline(number: int, finding: Finding) -> Text:
    place = "" if finding.layer is None else f", layer {finding.layer}"
    since = "" if finding.onset_step is None else f", since step {finding.onset_step}"
    text = Text(f"{number}. ")
    text.append(f"{finding.severity}: {finding.rule}", style=f"bold {COLOURS[finding.severity]}")
    return text.append(f"{place}{since}", style="bold")


def _finding(number: int, finding: Finding) -> RenderableType:
    text = Text("\n").append_text(_headline(number, finding)).append("\n")
    text.append(f"   {finding.evidence}\n")
    text.append(f"   {finding.why}\n", style="dim")
    text.append("   What to do: ", style="bold")
    text.append(finding.fix)
    return text


def overview(log: Log) -> RenderableType:
    """A table of what a log holds."""
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    ended = f" ({log.end_reason})" if log.end_reason else ""
    span = f", {log.steps[0]} to {log.steps[-1]}" if len(log.steps) else ""
    table.add_row("Run", escape(str(log.path)))
    table.add_row("State", escape(f"{log.state}{ended}"))
    table.add_row("Recorded steps", f"{len(log.steps)}{span}")
    table.add_row("Layers", escape(", ".join(f"{layer.name} ({layer.kind})" for layer in log.model.layers)))
    table.add_row("Parameters", str(len(log.model.parameters)))
    for axis, names in log.names.items():
        if names:
            table.add_row(f"Series of {axis}", escape(", ".join(names)))
    for happening in log.happenings[:20]:
        table.add_row(
            f"Step {happening.step}", escape(f"{happening.kind} {happening.subject}: {happening.message}")
        )
    return table

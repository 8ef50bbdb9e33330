"""One page for several runs: what became of each, and the way to its own report."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diag.diagnosis.findings import Diagnosis
from diag.log import Log
from diag.reporting.evidence import exhibits
from diag.reporting.exhibit import Exhibit
from diag.reporting.facts import STATUS_WORDS, Facts, gather
from diag.reporting.forms import ENVIRONMENT, write_whole
from diag.reporting.survey import Survey

# What tells most of a run at a glance.
_FIGURES = ("loss", "dead-units")


@dataclass(frozen=True)
class _Chapter:
    """One run on the page."""

    story: str
    status: str
    facts: Facts
    figures: tuple[Exhibit, ...]
    link: str


def write_overview(runs: Sequence[tuple[Log, Diagnosis, str]], path: str | os.PathLike[str]) -> Path:
    """Writes one self-contained page that puts several runs beneath each other.

    Args:
        runs: At least one: the log, its diagnosis, and what the run was about. A link leads to
            ``report.html`` in the run's folder, where `write_report` puts it.
        path: Of the page; missing folders are made.

    Returns:
        The path.

    Raises:
        ValueError: If there are no runs.
        OSError: If the file cannot be written.
    """
    if not runs:
        raise ValueError("write_overview needs at least one run, got none")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    chapters = [_chapter(log, diagnosis, story, path.parent) for log, diagnosis, story in runs]
    write_whole(path, ENVIRONMENT.get_template("overview.html.jinja").render(chapters=chapters))
    return path


def _chapter(log: Log, diagnosis: Diagnosis, story: str, folder: Path) -> _Chapter:
    survey = Survey.of(log)
    figures = tuple(
        _renamed(exhibit, log.path.name) for exhibit in exhibits(survey, diagnosis) if exhibit.key in _FIGURES
    )
    report = (log.path if log.path.is_dir() else log.path.parent) / "report.html"
    link = Path(os.path.relpath(report, folder)).as_posix()
    return _Chapter(story, STATUS_WORDS[diagnosis.status], gather(survey, diagnosis), figures, link)


def _renamed(exhibit: Exhibit, run: str) -> Exhibit:
    """The exhibit with ids of its own, for every run has the same figures."""
    own = re.sub(r"[^\w-]", "-", f"{run}-{exhibit.key}")
    return replace(exhibit, svg=re.sub(rf"\b{exhibit.key}-(title|desc)\b", rf"{own}-\1", exhibit.svg))

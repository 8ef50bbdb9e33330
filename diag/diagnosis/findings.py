"""What a diagnosis says: findings, each with the numbers that it rests on."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

Severity = Literal["note", "warning", "fault"]
Status = Literal["healthy", "warning", "fault", "not_assessable"]

SEVERITIES: tuple[Severity, ...] = ("note", "warning", "fault")


@dataclass(frozen=True)
class Evidence:
    """The numbers behind a finding.

    Attributes:
        series: The series of the log that the rule read.
        value: What it measured; NaN where the fact is not a number.
        band: The healthy band in words, such as ``"at most 0.5"``.
        readings: How many recorded steps lie outside the band.
        last_healthy_step: The last recorded step inside the band before the onset; None if there is none.
        text: The same as one sentence for a person.
    """

    series: str
    value: float
    band: str
    readings: int
    last_healthy_step: int | None
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Finding:
    """One thing that a rule found.

    Attributes:
        rule: Stable id of the rule, such as ``"dead_units"``.
        severity: ``"note"`` (worth knowing), ``"warning"`` or ``"fault"`` (the run is hurt by it).
        layer: Dotted name of the layer, or None where the whole network is meant.
        onset_step: The recorded step at which it began; None where it has no beginning.
        evidence: The numbers that it rests on.
        why: What it means.
        fix: What to do about it.
        confidence: In [0, 1]: how sure the rule is of the cause that it names.
        references: Where the criterion comes from.
        caused_by: Rule id of the finding, earlier in the diagnosis, that may have brought this one about;
            None where nothing that was found explains it.
    """

    rule: str
    severity: Severity
    layer: str | None
    onset_step: int | None
    evidence: Evidence
    why: str
    fix: str
    confidence: float
    references: tuple[str, ...] = ()
    caused_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data, which JSON can carry; see `plain_number` for a value that is not finite."""
        plain = asdict(self)
        plain["evidence"]["value"] = plain_number(self.evidence.value)
        return plain


def plain_number(value: float) -> float | str | None:
    """A number as JSON can carry it: NaN as None, an infinity as ``"Infinity"`` or ``"-Infinity"``."""
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


@dataclass(frozen=True)
class Diagnosis:
    """What the rules say of a run, causes before their consequences.

    Attributes:
        status: The worst severity among the findings; ``"healthy"`` where none is above a note,
            ``"not_assessable"`` where no rule had what it needs.
        findings: Causes first.
        not_assessed: Rule id and what it lacked, for every rule that could not look.
    """

    status: Status
    findings: tuple[Finding, ...]
    not_assessed: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as plain data, with the same keys."""
        return {
            "status": self.status,
            "findings": [finding.to_json() for finding in self.findings],
            "not_assessed": dict(self.not_assessed),
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: the status, and each finding with its advice to unfold."""
        findings = "".join(f"<li>{_unfolding(finding)}</li>" for finding in self.findings)
        lacking = "; ".join(f"{rule}: {reason}" for rule, reason in self.not_assessed.items())
        return (
            f'<div><strong style="color: {_COLOURS[self.status]}">{self.status.replace("_", " ")}</strong>'
            + (f"<ol>{findings}</ol>" if findings else "")
            + (f"<p><small>Not assessed: {escape(lacking)}</small></p>" if lacking else "")
            + "</div>"
        )


# Each has a contrast of at least 3:1 on white and on near-black: a notebook may be either.
_COLOURS: Mapping[Status, str] = {
    "healthy": "#2b9a70",
    "warning": "#b8860b",
    "fault": "#e0524a",
    "not_assessable": "#858b93",
}


def _unfolding(finding: Finding) -> str:
    place = "" if finding.layer is None else f", layer {finding.layer}"
    since = "" if finding.onset_step is None else f", since step {finding.onset_step}"
    head = f"<strong>{escape(f'{finding.severity}: {finding.rule}')}</strong>{escape(place + since)}"
    advice = "<br>".join(map(escape, (finding.evidence.text, finding.why, f"What to do: {finding.fix}")))
    return f"<details><summary>{head}</summary>{advice}</details>"

"""What a diagnosis says: findings, each with the numbers that it rests on."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
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

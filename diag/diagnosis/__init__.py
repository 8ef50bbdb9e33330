"""From a log to a diagnosis: rules by subject, their findings, and what caused what."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from diag.diagnosis import (
    classes,
    criterion,
    data,
    finite,
    generalization,
    gradients,
    head,
    initialization,
    labels,
    learning_rate,
    loss_curve,
    modes,
    noise,
    optimizer,
    precision,
    progress,
    ranks,
    regularization,
    representation,
    stability,
    structure,
    units,
    weights,
    wiring,
)
from diag.diagnosis.causes import GAINS_AND_LOSSES, in_causal_order
from diag.diagnosis.findings import SEVERITIES, Diagnosis, Evidence, Finding, Severity, Status
from diag.diagnosis.pairs import PairLog, pairs_of
from diag.diagnosis.rules import NotAssessableError, Rule, rule
from diag.diagnosis.thresholds import Replaced, Threshold, read_thresholds
from diag.log import Log

__all__ = [
    "RULES",
    "Diagnosis",
    "Evidence",
    "Finding",
    "NotAssessableError",
    "Rule",
    "Severity",
    "Status",
    "Threshold",
    "diagnose",
    "rule",
]

RULES: tuple[Rule, ...] = tuple(
    thing
    for module in (
        data,
        criterion,
        classes,
        labels,
        head,
        structure,
        wiring,
        modes,
        initialization,
        finite,
        precision,
        ranks,
        units,
        representation,
        gradients,
        weights,
        regularization,
        learning_rate,
        optimizer,
        noise,
        stability,
        loss_curve,
        generalization,
        progress,
    )
    for thing in vars(module).values()
    if isinstance(thing, Rule)
)
"""The rules that come with diag, by subject."""

LEAST_STEPS = 5
# How it is told that nothing is lacking in the log, but something wrong with the rule.
FAILED = "the rule itself failed"


def diagnose(
    log: Log, rules: Sequence[Rule] = (), *, thresholds: str | Path | Replaced | None = None
) -> Diagnosis:
    """Judges a run by its log alone.

    Several pairs that were watched under names of their own are judged one by one. The log is only read,
    so a stored run can be judged again under other thresholds.

    Args:
        log: Of a run that is going on, finished or killed.
        rules: Rules of your own, judged beside ours.
        thresholds: Numbers to decide by in place of ours: a TOML file, or the same as a mapping, with a table
            for each rule, such as ``{"dead_units": {"most_dead": 0.3}}``.

    Returns:
        The findings, causes first, and the rules that could not look.

    Raises:
        OSError: If the file of thresholds cannot be read.
        ValueError: If it names a rule or a threshold that there is not; the message lists those there are.

    Example:
        >>> import diag  # doctest: +SKIP
        >>> diag.diagnose(diag.Log("runs/mlp")).status  # doctest: +SKIP
        'healthy'
    """
    every = (*RULES, *rules)
    replaced = read_thresholds(thresholds, {each.id: each.thresholds for each in every})
    not_assessed: dict[str, str] = {}
    pairs = pairs_of(log)
    judged = [_judge_pair(pair, every, replaced, not_assessed) for pair in pairs]
    findings = _side_by_side(judged)
    return Diagnosis(
        _status(findings, assessed=len(not_assessed) < len(every) * len(pairs)), findings, not_assessed
    )


def _judge_pair(
    pair: PairLog, rules: Iterable[Rule], replaced: Replaced, not_assessed: dict[str, str]
) -> tuple[Finding, ...]:
    """Findings of one pair, causes first; tells what could not be assessed."""
    findings: list[Finding] = []
    prefix = f"{pair.name}." if pair.name else ""
    for each in rules:
        try:
            findings += _findings(each, pair, replaced.get(each.id, {}))
        except NotAssessableError as reason:
            not_assessed[prefix + each.id] = str(reason)
        except Exception as error:  # noqa: BLE001 - what fails in one rule must not cost what the others find
            why = f"{type(error).__name__}: {error}"
            not_assessed[prefix + each.id] = f"{FAILED}: {why}"
            warnings.warn(f"the rule {each.id} failed: {why}; the others go on without it", stacklevel=3)
    return tuple(_as_told(finding, pair) for finding in in_causal_order(findings, pair))


def _findings(each: Rule, pair: PairLog, replaced: Mapping[str, float]) -> list[Finding]:
    if lacking := each.lacks(pair):
        raise NotAssessableError(f"the log has no {', no '.join(lacking)}")
    if len(pair.steps) < LEAST_STEPS:
        raise NotAssessableError(f"the log has {len(pair.steps)} recorded steps, fewer than {LEAST_STEPS}")
    return each.findings(pair, replaced)


def _as_told(finding: Finding, pair: PairLog) -> Finding:
    """A finding of a pair that has a name, told so that one sees which is meant."""
    if not pair.name:
        return finding
    evidence = finding.evidence
    text = evidence.text if finding.layer else f"In {pair.name!r}: {evidence.text}"
    named = replace(evidence, series=pair.full_name(evidence.series, finding.layer), text=text)
    is_game = pair.has_others and finding.rule in GAINS_AND_LOSSES
    severity = SEVERITIES[0] if is_game else finding.severity
    return replace(finding, evidence=named, severity=severity)


def _side_by_side(judged: Sequence[tuple[Finding, ...]]) -> tuple[Finding, ...]:
    """The findings of all pairs: what hurts first, and of that the pair in which it began first."""

    def began(findings: tuple[Finding, ...]) -> int:
        onsets = (finding.onset_step for finding in findings if finding.severity != SEVERITIES[0])
        return min((onset for onset in onsets if onset is not None), default=0)

    ordered = (finding for findings in sorted(judged, key=began) for finding in findings)
    return tuple(sorted(ordered, key=lambda finding: finding.severity == SEVERITIES[0]))


def _status(findings: Sequence[Finding], assessed: bool) -> Status:
    severities = {finding.severity for finding in findings}
    if "fault" in severities:
        return "fault"
    if "warning" in severities:
        return "warning"
    return "healthy" if assessed else "not_assessable"

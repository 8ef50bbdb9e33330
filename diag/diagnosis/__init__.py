"""From a log to a diagnosis: rules by subject, their findings, and what caused what."""

from collections.abc import Sequence

from diag.diagnosis import finite, gradients, learning_rate, progress, units
from diag.diagnosis.causes import in_causal_order
from diag.diagnosis.findings import Diagnosis, Evidence, Finding, Severity, Status
from diag.diagnosis.rules import Rule, rule
from diag.log import Log

__all__ = ["RULES", "Diagnosis", "Evidence", "Finding", "Rule", "Severity", "Status", "diagnose", "rule"]

RULES: tuple[Rule, ...] = tuple(
    thing
    for module in (finite, units, gradients, learning_rate, progress)
    for thing in vars(module).values()
    if isinstance(thing, Rule)
)
"""The rules that come with diag, by subject."""

LEAST_STEPS = 5


def diagnose(log: Log, rules: Sequence[Rule] = ()) -> Diagnosis:
    """Judges a run by its log alone.

    Args:
        log: Of a run that is going on, finished or killed.
        rules: Rules of your own, judged beside ours.

    Returns:
        The findings, causes first, and the rules that could not look.

    Example:
        >>> import diag  # doctest: +SKIP
        >>> diag.diagnose(diag.Log("runs/mlp")).status  # doctest: +SKIP
        'healthy'
    """
    findings: list[Finding] = []
    not_assessed: dict[str, str] = {}
    is_short = len(log.steps) < LEAST_STEPS
    for each in (*RULES, *rules):
        lacking = each.lacks(log)
        if lacking:
            not_assessed[each.id] = f"the log has no {', no '.join(lacking)}"
        elif is_short:
            not_assessed[each.id] = f"the log has {len(log.steps)} recorded steps, fewer than {LEAST_STEPS}"
        else:
            findings += each.judge(log)
    ordered = in_causal_order(findings, log)
    return Diagnosis(
        _status(ordered, assessed=len(not_assessed) < len(RULES) + len(rules)), ordered, not_assessed
    )


def _status(findings: Sequence[Finding], assessed: bool) -> Status:
    severities = {finding.severity for finding in findings}
    if "fault" in severities:
        return "fault"
    if "warning" in severities:
        return "warning"
    return "healthy" if assessed else "not_assessable"

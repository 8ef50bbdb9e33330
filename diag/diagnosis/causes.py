"""Which finding comes first, and which says nothing once another is known."""

from collections.abc import Iterable

from diag.diagnosis.findings import SEVERITIES, Finding
from diag.log import Log

# At one and the same step the earlier of these brings about the later.
PRECEDENCE = (
    "learning_rate_too_high",
    "non_finite",
    "dead_units",
    "exploding_gradients",
    "vanishing_gradients",
    "learning_rate_too_low",
)
OUTCOMES = frozenset({"slow_convergence"})

# What a finding makes pointless to say.
SUPPRESSES = {
    "converged": frozenset({"vanishing_gradients", "learning_rate_too_low", "slow_convergence"}),
}


def in_causal_order(findings: Iterable[Finding], log: Log) -> tuple[Finding, ...]:
    """Findings with causes first: what hurts before what is merely worth knowing, outcomes after their causes.

    Among the rest the earlier onset comes first; at one step the order of `PRECEDENCE`, then of execution.
    """
    given = list(findings)
    present = {finding.rule for finding in given}
    pointless = {name for state in present for name in SUPPRESSES.get(state, ())}
    depth = {layer.name: position for position, layer in enumerate(log.model.layers)}

    def key(finding: Finding) -> tuple[object, ...]:
        order = PRECEDENCE.index(finding.rule) if finding.rule in PRECEDENCE else len(PRECEDENCE)
        return (
            finding.severity == SEVERITIES[0],
            finding.rule in OUTCOMES,
            -1 if finding.onset_step is None else finding.onset_step,
            order,
            depth.get(finding.layer or "", -1),
        )

    return tuple(sorted((f for f in given if f.rule not in pointless), key=key))

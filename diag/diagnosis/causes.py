"""Which finding comes first, what brought it about, and which says nothing once another is known."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from diag.diagnosis.findings import SEVERITIES, Finding
from diag.log import Log

# At one and the same step the earlier of these brings about the later: data, wiring, the start, the
# optimiser, and what becomes of the units, gradients and weights.
PRECEDENCE = (
    "constant_input",
    "missing_zero_grad",
    "wrong_update_direction",
    "head_loss_mismatch",
    "redundant_softmax",
    "sum_reduction",
    "softmax_inside",
    "missing_nonlinearity",
    "narrow_layer",
    "unshuffled_data",
    "repeated_batches",
    "unscaled_input",
    "unscaled_target",
    "symmetric_initialization",
    "bad_initialization",
    "frozen_parameters",
    "disconnected_parameters",
    "train_eval_mode",
    "label_corruption",
    "class_imbalance",
    "over_regularized",
    "wrong_initial_loss",
    "learning_rate_too_high",
    "attention_collapse",
    "non_finite",
    "skipped_steps",
    "dead_units",
    "saturated_units",
    "dormant_units",
    "rank_collapse",
    "exploding_gradients",
    "vanishing_gradients",
    "weight_blow_up",
    "logit_drift",
    "input_ignored",
    "constant_output",
    "epsilon_dominates",
    "clipping_always_active",
    "noisy_gradients",
    "learning_rate_too_low",
)
OUTCOMES = frozenset({"slow_convergence", "oscillation", "loss_spike", "overfitting", "underfitting"})

# Whatever keeps steps small may be behind it, and it has no beginning of its own.
SLOWNESS = frozenset({"learning_rate_too_low", "too_few_steps"})

# What says little where two train against each other, for one's gain is the other's loss.
GAINS_AND_LOSSES = OUTCOMES | {"wrong_update_direction"}

# What a finding makes pointless to say.
SUPPRESSES = {
    "converged": frozenset(
        {
            "vanishing_gradients",
            "slow_convergence",
            "epsilon_dominates",
            "oscillation",
            "saturated_units",
            "noisy_gradients",
        }
    ),
    "neural_collapse": frozenset({"rank_collapse"}),
    "edge_of_stability": frozenset({"oscillation"}),
    "constant_output": frozenset({"input_ignored"}),
}
_DEATHS = frozenset(
    {
        "dead_units",
        "saturated_units",
        "dormant_units",
        "rank_collapse",
        "attention_collapse",
        "vanishing_gradients",
        "constant_output",
        "input_ignored",
    }
)
_BLASTS = frozenset({"exploding_gradients", "weight_blow_up", "non_finite", "logit_drift", "loss_spike"})
_STALLS = frozenset({"slow_convergence", "underfitting", "noisy_gradients"})
_TROUBLE = _DEATHS | _BLASTS | _STALLS | {"oscillation", "clipping_always_active"}

# What each may bring about, if that begins no earlier.
LEADS_TO = {
    "constant_input": _DEATHS | _STALLS,
    "unscaled_input": _TROUBLE | {"wrong_initial_loss", "learning_rate_too_high", "learning_rate_too_low"},
    "unscaled_target": _TROUBLE | {"learning_rate_too_high", "learning_rate_too_low"},
    "missing_zero_grad": _TROUBLE | {"learning_rate_too_high"},
    "wrong_update_direction": _BLASTS | _STALLS | {"learning_rate_too_high", "dead_units", "saturated_units"},
    "head_loss_mismatch": _DEATHS | _STALLS | {"learning_rate_too_high", "logit_drift", "weight_blow_up"},
    "redundant_softmax": _STALLS | {"vanishing_gradients"},
    "sum_reduction": _TROUBLE | {"learning_rate_too_high"},
    "softmax_inside": _DEATHS | _STALLS | {"learning_rate_too_low"},
    "missing_nonlinearity": _STALLS,
    "narrow_layer": _DEATHS | _STALLS,
    "unshuffled_data": _STALLS | {"oscillation", "loss_spike", "overfitting"},
    "repeated_batches": _STALLS | {"overfitting", "label_corruption"},
    "too_few_steps": _STALLS | {"learning_rate_too_low"},
    "symmetric_initialization": _DEATHS | _STALLS | {"disconnected_parameters"},
    "bad_initialization": _TROUBLE
    | {"wrong_initial_loss", "learning_rate_too_high", "learning_rate_too_low", "disconnected_parameters"},
    "frozen_parameters": _STALLS,
    "disconnected_parameters": _STALLS,
    "train_eval_mode": frozenset({"overfitting"}) | _STALLS,
    "label_corruption": frozenset({"overfitting"}) | _STALLS,
    "class_imbalance": frozenset({"constant_output"}) | _STALLS,
    "over_regularized": _DEATHS
    | _STALLS
    | {"disconnected_parameters", "learning_rate_too_high", "epsilon_dominates"},
    "wrong_initial_loss": _STALLS,
    "learning_rate_too_high": _TROUBLE,
    "learning_rate_too_low": _STALLS,
    "epsilon_dominates": _STALLS | {"learning_rate_too_low"},
    "clipping_always_active": _STALLS | {"learning_rate_too_low"},
    "non_finite": _STALLS | {"skipped_steps"},
    "skipped_steps": _STALLS,
    "dead_units": _STALLS
    | {
        "dormant_units",
        "rank_collapse",
        "vanishing_gradients",
        "constant_output",
        "input_ignored",
        "disconnected_parameters",
        "loss_spike",
    },
    "saturated_units": _STALLS | {"rank_collapse", "vanishing_gradients", "constant_output"},
    "dormant_units": _STALLS | {"rank_collapse"},
    "rank_collapse": _STALLS | {"vanishing_gradients", "constant_output", "input_ignored"},
    "attention_collapse": _BLASTS | _STALLS | {"rank_collapse"},
    "noisy_gradients": frozenset({"slow_convergence", "underfitting"}),
    "exploding_gradients": _TROUBLE - {"exploding_gradients"},
    "vanishing_gradients": _STALLS | {"learning_rate_too_low"},
    "weight_blow_up": _STALLS | {"non_finite", "logit_drift", "saturated_units", "dead_units"},
    "logit_drift": _STALLS | {"non_finite", "loss_spike"},
    "constant_output": _STALLS,
    "input_ignored": _STALLS,
    "oscillation": _STALLS,
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
            finding.rule in SLOWNESS,
            -1 if finding.onset_step is None else finding.onset_step,
            order,
            depth.get(finding.layer or "", -1),
        )

    return tuple(_linked(sorted((f for f in given if f.rule not in pointless), key=key)))


def _linked(ordered: list[Finding]) -> Iterator[Finding]:
    """Each finding with the rule of the first before it that may have brought it about."""
    for index, finding in enumerate(ordered):
        causes = (
            cause.rule
            for cause in ordered[:index]
            if cause.severity != SEVERITIES[0] and finding.rule in LEADS_TO.get(cause.rule, ())
        )
        yield replace(finding, caused_by=next(causes, None))

"""Units that have stopped working."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diag.diagnosis.findings import Evidence, Finding, Severity
from diag.diagnosis.outcome import Outcome
from diag.diagnosis.persistence import begins_to_last, last_healthy
from diag.diagnosis.rules import rule
from diag.log import Log

MOST_DEAD = 0.5
ALL_DEAD = 0.99


@rule("dead_unit_rate_pooled", "dead_unit_rate")
def dead_units(log: Log) -> Iterator[Finding]:
    """Units of a rectifying layer that no example of the last thousand makes fire."""
    pooled, batch = log.series("dead_unit_rate_pooled"), log.series("dead_unit_rate")
    outcome = Outcome.of(log)
    for column, layer in enumerate(pooled.columns):
        rate = pooled.values[:, column]
        alarm = begins_to_last(rate > MOST_DEAD)
        if alarm is None:
            continue
        onset = _onset(batch.values[:, batch.columns.index(layer)], float(rate[alarm:].min()))
        step = int(pooled.steps[onset])
        healthy = last_healthy(pooled.steps, onset)
        since = (
            "from the first recorded step"
            if healthy is None
            else f"since step {step}, not yet at step {healthy}"
        )
        yield Finding(
            rule="dead_units",
            severity=_severity(outcome, step, float(rate[-1])),
            layer=layer,
            onset_step=step,
            evidence=Evidence(
                series="dead_unit_rate_pooled",
                value=float(rate[-1]),
                band=f"at most {MOST_DEAD:g}",
                readings=len(rate) - alarm,
                last_healthy_step=healthy,
                text=(
                    f"{rate[-1]:.0%} of the units of layer {layer!r} fire for none of the last "
                    f"1,000 examples, {since}."
                ),
            ),
            why=(
                "A rectified unit that is zero for every example passes no gradient back: "
                "neither it nor what feeds it alone learns again."
            ),
            fix=(
                "Lower the learning rate (or warm it up), check the layer's biases and its initialisation "
                "(He for ReLU), or use a nonlinearity that does not die, such as leaky ReLU or GELU."
            ),
            confidence=0.9,
            references=(
                "Lu et al., Dying ReLU and Initialization, 2019, arXiv:1903.06733",
                "Threshold: more than half of a layer's units, as in Amazon SageMaker Debugger's DeadRelu",
            ),
        )


def _onset(batch_rate: NDArray[np.float64], pooled_rate: float) -> int:
    """Index of the first step of the unbroken run, up to the end, in which each batch shows as many dead.

    The pooled rate lags by its window; each single batch of the window shows at least the pooled rate.
    """
    start = begins_to_last(batch_rate >= pooled_rate - 1e-9, least=1)
    return len(batch_rate) - 1 if start is None else start


def _severity(outcome: Outcome | None, step: int, rate: float) -> Severity:
    if rate >= ALL_DEAD:
        # Nothing passes such a layer, forward or back, whatever the loss says.
        return "fault"
    if outcome is None:
        return "warning"
    return "fault" if outcome.has_learned_little() or outcome.is_hurt_after(step) else "note"
